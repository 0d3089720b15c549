-- What came in, by type; one row is written again with every batch, so it gets room to stay put.
CREATE TABLE event_counts (
    tenant text NOT NULL,
    type text NOT NULL,
    priority text NOT NULL,
    accepted bigint NOT NULL,
    repeated bigint NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, type, priority)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- The latest refused events, for people to see why; the messages wait in the broker's quarantine.
CREATE TABLE quarantine (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    refused_at timestamptz NOT NULL DEFAULT now(),
    lane text NOT NULL,
    tenant text NOT NULL,
    code text NOT NULL,
    detail text NOT NULL,
    errors json NOT NULL,
    event_id text,
    source text,
    event_type text,
    body_bytes integer NOT NULL
);
CREATE INDEX quarantine_tenant ON quarantine (tenant, id);
