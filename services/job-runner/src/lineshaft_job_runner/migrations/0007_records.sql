-- What attempts record before and after an effect outside: durable when the attempt goes on.
CREATE TABLE job_records (
    job_id uuid NOT NULL,
    key text COLLATE "C" NOT NULL,           -- pages go by the order of code points
    value jsonb NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, key)
);
