-- The tables of the MES. Times are instants; quantities of pieces are whole numbers.
CREATE TABLE IF NOT EXISTS shifts (
    started_at timestamptz PRIMARY KEY,
    finished_at timestamptz NOT NULL,
    published_at timestamptz
);
CREATE TABLE IF NOT EXISTS orders (
    order_id text PRIMARY KEY,
    product text NOT NULL,
    line text NOT NULL,
    quantity integer NOT NULL,
    due_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('planned', 'released', 'running', 'completed')),
    started_at timestamptz,
    finished_at timestamptz
);
CREATE TABLE IF NOT EXISTS operations (
    order_id text NOT NULL REFERENCES orders,
    segment_id text NOT NULL,
    work_unit text NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (order_id, segment_id)
);
CREATE TABLE IF NOT EXISTS production (
    order_id text NOT NULL REFERENCES orders,
    work_unit text NOT NULL,
    produced_at timestamptz NOT NULL,
    good integer NOT NULL,
    scrap integer NOT NULL,
    rework integer NOT NULL,
    PRIMARY KEY (order_id, work_unit, produced_at)
);
CREATE INDEX IF NOT EXISTS production_by_time ON production (produced_at);
CREATE TABLE IF NOT EXISTS lots (
    lot_id text PRIMARY KEY,
    material text NOT NULL,
    location text NOT NULL,
    quantity numeric NOT NULL,
    uom text NOT NULL,
    status text NOT NULL DEFAULT 'available',
    order_id text REFERENCES orders,
    created_at timestamptz NOT NULL
);
CREATE TABLE IF NOT EXISTS stock (
    material text NOT NULL,
    location text NOT NULL,
    on_hand numeric NOT NULL,
    uom text NOT NULL,
    PRIMARY KEY (material, location)
);
-- What the ERP says about spare parts, in its own words: a copy that it delivers.
CREATE TABLE IF NOT EXISTS erp_stock (
    article text NOT NULL,
    storage text NOT NULL,
    quantity numeric NOT NULL,
    unit text NOT NULL,
    PRIMARY KEY (article, storage)
);
CREATE TABLE IF NOT EXISTS measurements (
    characteristic text NOT NULL,
    batch text NOT NULL,
    subgroup integer NOT NULL,
    sequence integer NOT NULL,
    value double precision NOT NULL,
    trial boolean NOT NULL,
    PRIMARY KEY (characteristic, batch, subgroup, sequence)
);
CREATE TABLE IF NOT EXISTS downtime (
    line text NOT NULL,
    work_unit text NOT NULL,
    reason text NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (work_unit, started_at)
);
