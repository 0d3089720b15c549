-- A worker claims per type: a backlog of a type that it does not serve costs it nothing.
DROP INDEX jobs_ready;
CREATE INDEX jobs_ready_by_type ON jobs (type, rank, id) WHERE state = 'queued';

-- Pages of the jobs in one state, newest first.
CREATE INDEX jobs_listed_by_state ON jobs (tenant, state, id DESC);
