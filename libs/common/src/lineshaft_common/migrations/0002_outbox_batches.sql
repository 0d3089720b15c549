-- The messages of one transaction in one row: element n of each array belongs to message n.
CREATE TABLE outbox_batches (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    messages integer NOT NULL,
    body_bytes bigint NOT NULL,
    exchange text[] NOT NULL,
    routing_key text[] NOT NULL,
    type text[] NOT NULL,
    message_id text[] NOT NULL,
    priority text[] NOT NULL,
    tenant text[] NOT NULL,
    traceparent text[] NOT NULL,
    time_to_live_milliseconds integer[] NOT NULL,
    body bytea[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- A replica of the release before may still write to the old table during an upgrade: what it
-- writes goes to the new one, so that the old stays empty and needs nobody who reads it.
CREATE FUNCTION outbox_into_batches() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox_batches (messages, body_bytes, exchange, routing_key, type, message_id,
        priority, tenant, traceparent, time_to_live_milliseconds, body)
    VALUES (1, octet_length(NEW.body), ARRAY[NEW.exchange], ARRAY[NEW.routing_key],
        ARRAY[NEW.type], ARRAY[NEW.message_id], ARRAY[NEW.priority], ARRAY[NEW.tenant],
        ARRAY[NEW.traceparent], ARRAY[NEW.time_to_live_milliseconds], ARRAY[NEW.body]);
    RETURN NULL;
END
$$;

CREATE TRIGGER outbox_into_batches BEFORE INSERT ON outbox
    FOR EACH ROW EXECUTE FUNCTION outbox_into_batches();

INSERT INTO outbox_batches (messages, body_bytes, exchange, routing_key, type, message_id,
    priority, tenant, traceparent, time_to_live_milliseconds, body)
SELECT count(*), sum(octet_length(body)), array_agg(exchange ORDER BY id),
    array_agg(routing_key ORDER BY id), array_agg(type ORDER BY id),
    array_agg(message_id ORDER BY id), array_agg(priority ORDER BY id),
    array_agg(tenant ORDER BY id), array_agg(traceparent ORDER BY id),
    array_agg(time_to_live_milliseconds ORDER BY id), array_agg(body ORDER BY id)
FROM (SELECT *, (row_number() OVER (ORDER BY id) - 1) / 100 AS batch FROM outbox) AS numbered
GROUP BY batch
ORDER BY batch;

DELETE FROM outbox;
