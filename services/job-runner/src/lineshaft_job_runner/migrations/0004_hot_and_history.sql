-- `jobs` keeps what has not ended and stays small; an ended job is one row of `job_history`.

CREATE TABLE job_history (
    id uuid NOT NULL,
    tenant text NOT NULL,
    type text NOT NULL,
    state job_state NOT NULL,
    priority smallint NOT NULL,
    attempt smallint NOT NULL,
    attempts_max smallint NOT NULL,
    timeout_seconds real NOT NULL,
    cancel_requested boolean NOT NULL,
    child_count integer NOT NULL,
    progress_done bigint NOT NULL,
    progress_total bigint NOT NULL,
    submitted_at timestamptz NOT NULL,
    run_at timestamptz,
    ready_at timestamptz NOT NULL,
    deadline_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz NOT NULL,
    parent_id uuid,
    worker text,                             -- of the last attempt; NULL when it ended before one
    idempotency_key text,
    unique_key text,
    order_key text,
    limit_key text NOT NULL,
    schedule text,
    traceparent text,
    progress_message text NOT NULL,
    parameters jsonb NOT NULL,
    result jsonb,
    error jsonb,
    attempts jsonb,                          -- those before the last one
    artifacts jsonb,
    PRIMARY KEY (id, finished_at),
    CHECK (state IN ('succeeded', 'failed', 'cancelled', 'quarantined'))
) PARTITION BY RANGE (finished_at);

CREATE INDEX job_history_listed ON job_history (tenant, id DESC);
CREATE INDEX job_history_ended ON job_history (tenant, finished_at);
CREATE INDEX job_history_children ON job_history (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX job_history_ordered ON job_history (tenant, order_key, id DESC)
    WHERE order_key IS NOT NULL;
CREATE INDEX job_history_failed ON job_history (tenant, finished_at) WHERE state <> 'succeeded';

-- Takes what no day was made for, so that no end is ever refused.
CREATE TABLE job_history_default PARTITION OF job_history DEFAULT;

CREATE FUNCTION job_history_make_day(day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    since timestamptz := day::timestamp AT TIME ZONE 'UTC';
    name text := 'job_history_' || to_char(day, 'YYYYMMDD');
BEGIN
    IF to_regclass(name) IS NULL AND NOT EXISTS (
        SELECT FROM job_history_default
        WHERE finished_at >= since AND finished_at < since + interval '1 day'
    ) THEN
        EXECUTE format('CREATE TABLE %I PARTITION OF job_history FOR VALUES FROM (%L) TO (%L)',
                       name, since, since + interval '1 day');
    END IF;
END $$;

SELECT job_history_make_day((now() AT TIME ZONE 'UTC')::date + days)
FROM generate_series(0, 2) AS days;

INSERT INTO job_history
SELECT id, tenant, type, state, priority, attempt, attempts_max, timeout_seconds,
       cancel_requested, 0, progress_done, progress_total, submitted_at, run_at,
       coalesce(run_at, submitted_at), NULL, started_at, finished_at, NULL, worker,
       idempotency_key, NULL, NULL, '', NULL, traceparent, progress_message, parameters, result,
       error,
       (SELECT jsonb_agg(jsonb_build_object(
                   'number', a.number, 'worker', a.worker, 'started_at', a.started_at,
                   'finished_at', a.finished_at, 'outcome', a.outcome, 'error', a.error)
                   ORDER BY a.started_at)
        FROM job_attempts a WHERE a.job_id = j.id AND a.started_at < j.started_at),
       (SELECT jsonb_agg(to_jsonb(f) - 'job_id' ORDER BY f.name)
        FROM job_artifacts f WHERE f.job_id = j.id)
FROM jobs j WHERE finished_at IS NOT NULL;

ALTER TABLE jobs
    ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY,
    ADD COLUMN ready_at timestamptz,         -- since when it could have started
    ADD COLUMN deadline_at timestamptz,
    ADD COLUMN blockers integer NOT NULL DEFAULT 0,      -- jobs that have to end before
    ADD COLUMN child_count integer NOT NULL DEFAULT 0,
    ADD COLUMN awaited boolean NOT NULL DEFAULT false,   -- others wait for its end
    ADD COLUMN turn boolean NOT NULL DEFAULT true,       -- its order key lets it run
    ADD COLUMN parent_id uuid,
    ADD COLUMN unique_key text,
    ADD COLUMN order_key text,
    ADD COLUMN limit_key text NOT NULL DEFAULT '',
    ADD COLUMN schedule text,
    ADD COLUMN attempts jsonb,               -- those that ended
    ADD COLUMN checkpoint jsonb;

UPDATE jobs SET ready_at = greatest(run_at, submitted_at),
       worker = CASE state WHEN 'running' THEN worker END,
       attempts = (SELECT jsonb_agg(jsonb_build_object(
                       'number', a.number, 'worker', a.worker, 'started_at', a.started_at,
                       'finished_at', a.finished_at, 'outcome', a.outcome, 'error', a.error)
                       ORDER BY a.started_at)
                   FROM job_attempts a WHERE a.job_id = jobs.id AND a.finished_at IS NOT NULL);
DROP TABLE job_attempts, job_artifacts;
DELETE FROM jobs WHERE finished_at IS NOT NULL;

DROP INDEX jobs_idempotency, jobs_ready_by_type, jobs_leases, jobs_listed_by_state, jobs_ended;
ALTER TABLE jobs
    ALTER COLUMN ready_at SET NOT NULL,
    DROP COLUMN finished_at,
    DROP COLUMN result,
    ADD CHECK (state IN ('waiting', 'scheduled', 'queued', 'running', 'retrying'));

-- What may be claimed, by the groups that limits and shares speak of.
CREATE INDEX jobs_candidates ON jobs (tenant, type, limit_key, rank, number, id)
    WHERE state = 'queued' AND turn;
CREATE INDEX jobs_running ON jobs (tenant, type, limit_key) WHERE state = 'running';
CREATE INDEX jobs_listed_by_state ON jobs (tenant, state, id DESC)
    WHERE state IN ('waiting', 'scheduled', 'retrying');
CREATE INDEX jobs_deadlines ON jobs (deadline_at) WHERE deadline_at IS NOT NULL;
CREATE INDEX jobs_ordered ON jobs (tenant, order_key, turn, ready_at, number)
    WHERE order_key IS NOT NULL;
CREATE INDEX jobs_children ON jobs (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX jobs_tried ON jobs (tenant) WHERE attempts IS NOT NULL;

CREATE TABLE job_keys (
    tenant text NOT NULL,
    type text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('idempotency', 'unique')),
    key text NOT NULL,
    job_id uuid NOT NULL,
    expires_at timestamptz,                  -- NULL: when the job has ended
    PRIMARY KEY (tenant, type, kind, key)
);
CREATE INDEX job_keys_expired ON job_keys (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX job_keys_of_live_jobs ON job_keys (job_id) WHERE expires_at IS NULL;

INSERT INTO job_keys (tenant, type, kind, key, job_id, expires_at)
SELECT tenant, type, 'idempotency', idempotency_key, id, now() + interval '30 days'
FROM (SELECT tenant, type, idempotency_key, id FROM jobs
      UNION ALL SELECT tenant, type, idempotency_key, id FROM job_history) AS keyed
WHERE idempotency_key IS NOT NULL;

CREATE TABLE job_dependencies (
    on_job_id uuid NOT NULL,
    job_id uuid NOT NULL,
    cancels boolean NOT NULL,                -- when that one does not succeed
    PRIMARY KEY (on_job_id, job_id)
);
CREATE INDEX job_dependencies_of ON job_dependencies (job_id);

CREATE TABLE job_limits (
    tenant text NOT NULL,                    -- '' for all tenants together
    name text NOT NULL,
    job_type text,
    limit_key text,
    running_max integer,
    starts_max integer,
    per_seconds double precision,
    paused boolean NOT NULL,
    note text NOT NULL,
    starts_left double precision,            -- at `counted_at`
    counted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, name)
);

CREATE TABLE job_audit (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    tenant text NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    details jsonb NOT NULL
);
CREATE INDEX job_audit_listed ON job_audit (tenant, id DESC);
