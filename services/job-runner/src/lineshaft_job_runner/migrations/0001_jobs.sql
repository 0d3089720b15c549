CREATE TYPE job_state AS ENUM (
    'scheduled', 'queued', 'running', 'retrying', 'succeeded', 'failed', 'cancelled', 'quarantined'
);

CREATE TABLE jobs (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    type text NOT NULL,
    state job_state NOT NULL,
    priority smallint NOT NULL,              -- 0 critical, 1 high, 2 normal, 3 low
    parameters jsonb NOT NULL,
    idempotency_key text,
    submitted_at timestamptz NOT NULL DEFAULT now(),
    run_at timestamptz,                      -- not before: asked for, or the end of a back-off
    rank timestamptz NOT NULL,               -- claim order: when it became ready, plus its priority's allowance
    attempt smallint NOT NULL DEFAULT 0,
    attempts_max smallint NOT NULL,
    timeout_seconds real NOT NULL,
    losses smallint NOT NULL DEFAULT 0,      -- attempts whose worker died under them
    lease_token uuid,
    lease_until timestamptz,
    worker text,
    cancel_requested boolean NOT NULL DEFAULT false,
    progress_done bigint NOT NULL DEFAULT 0,
    progress_total bigint NOT NULL DEFAULT 0,
    progress_message text NOT NULL DEFAULT '',
    started_at timestamptz,
    finished_at timestamptz,
    result jsonb,
    error jsonb,
    traceparent text,
    CHECK ((state = 'running') = (lease_token IS NOT NULL)),
    CHECK ((state IN ('succeeded', 'failed', 'cancelled', 'quarantined')) = (finished_at IS NOT NULL))
) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

CREATE UNIQUE INDEX jobs_idempotency ON jobs (tenant, type, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_ready ON jobs (rank, id) WHERE state = 'queued';
CREATE INDEX jobs_due ON jobs (run_at) WHERE state IN ('scheduled', 'retrying');
CREATE INDEX jobs_leases ON jobs (lease_until) WHERE state = 'running';
CREATE INDEX jobs_listed ON jobs (tenant, id DESC);
CREATE INDEX jobs_ended ON jobs (tenant, finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE job_attempts (
    job_id uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    number smallint NOT NULL,
    lease_token uuid NOT NULL,
    worker text NOT NULL,
    ready_at timestamptz NOT NULL,           -- since when it could have started
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    outcome text,
    error jsonb,
    PRIMARY KEY (job_id, lease_token)
);
CREATE INDEX job_attempts_ended ON job_attempts (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE job_artifacts (
    job_id uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    name text NOT NULL,
    object_key text NOT NULL,
    media_type text NOT NULL,
    bytes bigint NOT NULL,
    sha256 text NOT NULL,
    rows bigint,
    pages integer,
    PRIMARY KEY (job_id, name)
);
