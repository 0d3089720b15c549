-- Which worker serves which job types, for as long as its announcement or offer holds.
CREATE TABLE served_types (
    worker text NOT NULL,
    type text NOT NULL,
    built_in boolean NOT NULL,               -- by a job-runner itself, not by a worker over AMQP
    view jsonb NOT NULL,                     -- as clients see it: JobTypeView of the contracts
    since timestamptz NOT NULL DEFAULT now(),-- when it was first served with this view
    seen_at timestamptz NOT NULL DEFAULT now(),
    until timestamptz NOT NULL,
    PRIMARY KEY (worker, type)
);
