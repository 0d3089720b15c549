-- Messages that could not be handled, taken out of the broker's queue so that people can look at
-- them and send them again as often as they like.
CREATE TABLE dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest bytea NOT NULL UNIQUE,
    came_at timestamptz NOT NULL DEFAULT now(),
    queue text NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    type text NOT NULL,
    message_id text NOT NULL,
    tenant text NOT NULL,
    exchange text NOT NULL,
    routing_key text NOT NULL,
    redrives integer NOT NULL,
    headers json NOT NULL,
    body bytea NOT NULL
);

-- Who sent dead letters again.
CREATE TABLE dead_letter_audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    tenant text NOT NULL,
    actor text NOT NULL,
    matching json NOT NULL,
    dry_run boolean NOT NULL,
    matched integer NOT NULL,
    redriven integer NOT NULL,
    failed integer NOT NULL
);
CREATE INDEX dead_letter_audit_tenant ON dead_letter_audit (tenant, id);
