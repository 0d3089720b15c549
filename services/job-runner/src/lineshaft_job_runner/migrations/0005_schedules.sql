-- Jobs that start by the clock, and the ledger of their fires.

CREATE TABLE job_schedules (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant text NOT NULL,
    name text NOT NULL,
    schedule jsonb NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    next_fire_at timestamptz,                -- NULL: paused, deleted, or nothing follows
    last_fire_at timestamptz,
    last_job_id uuid,
    deleted_at timestamptz,                  -- its ledger goes in batches, then the row
    CHECK (deleted_at IS NULL OR next_fire_at IS NULL)
);
CREATE UNIQUE INDEX job_schedules_named ON job_schedules (tenant, name) WHERE deleted_at IS NULL;
CREATE INDEX job_schedules_due ON job_schedules (next_fire_at) WHERE next_fire_at IS NOT NULL;
CREATE INDEX job_schedules_deleted ON job_schedules (deleted_at) WHERE deleted_at IS NOT NULL;

-- A fire happens once: its row, its job and the schedule's next fire are one transaction.
CREATE TABLE job_fires (
    schedule_id uuid NOT NULL,
    fire_at timestamptz NOT NULL,
    outcome text NOT NULL
        CHECK (outcome IN ('submitted', 'skipped_missed', 'skipped_busy', 'refused')),
    job_id uuid,
    decided_at timestamptz NOT NULL DEFAULT now(),
    detail text NOT NULL DEFAULT '',
    PRIMARY KEY (schedule_id, fire_at)
);
CREATE INDEX job_fires_decided ON job_fires (decided_at);
