-- Who wants which events, and how far each is.
CREATE TABLE subscriptions (
    tenant text NOT NULL,
    id text NOT NULL,
    version bigint NOT NULL,
    replays bigint NOT NULL DEFAULT 0,
    body text NOT NULL,
    secrets text[] NOT NULL,
    state text NOT NULL DEFAULT 'active',
    state_reason text,
    position bigint NOT NULL,
    lag_messages bigint NOT NULL DEFAULT 0,
    oldest_at timestamptz,
    missed bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, id)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02);

-- One row that every change locks: who reads its number has seen all changes before it.
CREATE TABLE subscriptions_version (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version bigint NOT NULL
);
INSERT INTO subscriptions_version (version) VALUES (0);

-- Events of keys whose first one failed: waiting for another attempt, or given up.
CREATE TABLE subscription_held (
    tenant text NOT NULL,
    subscription text NOT NULL,
    "offset" bigint NOT NULL,
    key text NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    message_id text NOT NULL,
    body bytea NOT NULL,
    priority text NOT NULL,
    expires_at timestamptz,
    traceparent text,
    tracestate text,
    attempts integer NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT '',
    first_failed_at timestamptz,
    due_at timestamptz NOT NULL DEFAULT now(),
    parked_at timestamptz,
    PRIMARY KEY (tenant, subscription, "offset"),
    FOREIGN KEY (tenant, subscription) REFERENCES subscriptions (tenant, id) ON DELETE CASCADE
);
CREATE INDEX subscription_held_key ON subscription_held (tenant, subscription, key, "offset");

-- The latest attempts of each subscription.
CREATE TABLE subscription_deliveries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL,
    subscription text NOT NULL,
    at timestamptz NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    key text NOT NULL,
    "offset" bigint NOT NULL,
    attempt integer NOT NULL,
    outcome text NOT NULL,
    status integer,
    milliseconds double precision,
    detail text NOT NULL
);
CREATE INDEX subscription_deliveries_of ON subscription_deliveries (tenant, subscription, id);

CREATE TABLE subscription_audit (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    tenant text NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subscription text NOT NULL,
    details json NOT NULL
);
CREATE INDEX subscription_audit_of ON subscription_audit (tenant, id);

-- Queues of subscriptions that are gone; whoever delivers removes them once nothing is sent there.
CREATE TABLE subscription_queues_left (
    queue text PRIMARY KEY
);
