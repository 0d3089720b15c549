-- Samples: one row per source and tick. A source is a process or a collector; its dictionary
-- says which metric stands at which position of the array. Positions are only ever appended,
-- so a short array, like NULL, means "not collected".
CREATE TABLE sources (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    last_seen_on date NOT NULL DEFAULT current_date
);

CREATE TABLE series (
    source_id integer NOT NULL REFERENCES sources ON DELETE CASCADE,
    position integer NOT NULL,
    name text NOT NULL,
    labels jsonb NOT NULL,
    PRIMARY KEY (source_id, position),
    UNIQUE (source_id, name, labels)
);
CREATE INDEX series_by_name ON series (name);

CREATE TABLE samples (
    source_id integer NOT NULL,
    at timestamptz NOT NULL,
    values float8[] NOT NULL
) PARTITION BY RANGE (at);
CREATE INDEX samples_by_source ON samples (source_id, at);

-- Spans are partitioned by when they came, so that no clock of a sender decides about retention.
CREATE TABLE spans (
    received_at timestamptz NOT NULL,
    trace_id bytea NOT NULL,
    span_id bytea NOT NULL,
    parent_id bytea,
    service text NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    started_at timestamptz NOT NULL,
    seconds float8 NOT NULL,
    status text NOT NULL,
    attributes jsonb NOT NULL
) PARTITION BY RANGE (received_at);
CREATE INDEX spans_by_trace ON spans (trace_id);

CREATE FUNCTION ensure_partition(parent text, day date) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'CREATE TABLE IF NOT EXISTS %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
        parent || '_' || to_char(day, 'YYYYMMDD'), parent,
        day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC'
    );
END
$$;

CREATE FUNCTION drop_partitions(parent text, before date) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    partition text;
    dropped integer := 0;
BEGIN
    FOR partition IN
        SELECT child.relname FROM pg_inherits
        JOIN pg_class child ON child.oid = inhrelid
        JOIN pg_class parents ON parents.oid = inhparent
        WHERE parents.relname = parent
          AND to_date(right(child.relname, 8), 'YYYYMMDD') < before
    LOOP
        EXECUTE format('DROP TABLE %I', partition);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;

-- Alerts. `evaluations` is what a rule remembers about labels: how long a threshold has been
-- exceeded, so that a restart in the middle of `for_seconds` loses nothing, and of which event
-- the value was, so that an event delivered again after a crash is known as an old one.
CREATE TABLE alerts (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    state text NOT NULL,
    level text NOT NULL,
    rule text NOT NULL,
    fingerprint text NOT NULL,
    labels jsonb NOT NULL,
    value float8,
    summary text NOT NULL,
    sequence integer NOT NULL,
    started_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    resolved_at timestamptz,
    reason text
);
CREATE UNIQUE INDEX alerts_open ON alerts (fingerprint) WHERE state = 'firing';
CREATE INDEX alerts_by_tenant ON alerts (tenant, id DESC);

CREATE TABLE alert_history (
    alert_id uuid NOT NULL REFERENCES alerts ON DELETE CASCADE,
    sequence integer NOT NULL,
    event text NOT NULL,
    level text NOT NULL,
    value float8,
    reason text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (alert_id, sequence)
);

CREATE TABLE evaluations (
    fingerprint text PRIMARY KEY,
    rule text NOT NULL,
    labels jsonb NOT NULL,
    level text,
    held_seconds jsonb NOT NULL,
    cleared_seconds float8,
    value float8,
    event_at timestamptz
);

-- Processes that have reported, so that one that died while the monitor was away is missed.
CREATE TABLE processes (
    service text NOT NULL,
    instance text NOT NULL,
    region text,
    version text NOT NULL,
    state text NOT NULL,
    since timestamptz NOT NULL,
    last_report_at timestamptz NOT NULL,
    interval_seconds float8 NOT NULL,
    checks jsonb NOT NULL,
    up_seconds float8 NOT NULL,
    down_seconds float8 NOT NULL,
    PRIMARY KEY (service, instance)
);
