-- Messages that announce a change, written with the change and relayed to the broker afterwards.
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    exchange text NOT NULL,
    routing_key text NOT NULL,
    type text NOT NULL,
    message_id text NOT NULL,
    priority text NOT NULL,
    tenant text NOT NULL,
    traceparent text,
    time_to_live_milliseconds integer,
    body bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
