-- The present state of orders, lots, quality alerts and equipment, one row each. Rows are written
-- again and again; the columns beside the cells are what lists filter by.
CREATE TABLE plant_views (
    tenant text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    state text NOT NULL,
    source text NOT NULL,
    material text,
    place text,
    job_order text,
    severity integer,
    finished boolean NOT NULL,
    changed_at timestamptz NOT NULL,
    heard_at timestamptz NOT NULL,
    cells json NOT NULL,
    PRIMARY KEY (tenant, kind, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX plant_views_state ON plant_views (tenant, kind, state, id);
CREATE INDEX plant_views_finished ON plant_views (heard_at) WHERE finished;

-- How far the events log has been read for views that are older than this table.
CREATE TABLE plant_views_replay (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    next_offset bigint NOT NULL DEFAULT 0,
    finished_at timestamptz
);
INSERT INTO plant_views_replay DEFAULT VALUES;
