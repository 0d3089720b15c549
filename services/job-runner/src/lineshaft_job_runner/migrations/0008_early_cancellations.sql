-- Cancellations that came before their jobs: the two travel through queues of their own.
CREATE TABLE job_cancellations (
    job_id uuid NOT NULL,
    tenant text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, tenant)
);
CREATE INDEX job_cancellations_asked ON job_cancellations (asked_at);
