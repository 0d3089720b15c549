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
CREATE TABLE IF NOT EXISTS lines (
    line text PRIMARY KEY,
    ideal_cycle_seconds integer NOT NULL
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
-- Why pieces were scrapped; NULL when none were.
ALTER TABLE production ADD COLUMN IF NOT EXISTS defect text;
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
-- What the planner works with.
CREATE TABLE IF NOT EXISTS order_options (
    order_id text PRIMARY KEY REFERENCES orders,
    finish text NOT NULL,
    priority integer NOT NULL
);
CREATE TABLE IF NOT EXISTS machines (
    machine text PRIMARY KEY,
    calendar text NOT NULL,
    slots integer NOT NULL,
    efficiency double precision NOT NULL,
    changeover text
);
CREATE TABLE IF NOT EXISTS routing_steps (
    product text NOT NULL,
    position integer NOT NULL,
    operation text NOT NULL,
    machine text NOT NULL REFERENCES machines,
    setup_minutes double precision NOT NULL,
    seconds_per_piece double precision NOT NULL,
    interruptible boolean NOT NULL,
    PRIMARY KEY (product, position, machine)
);
CREATE TABLE IF NOT EXISTS working_shifts (
    calendar text NOT NULL,
    weekday integer NOT NULL,
    starts text NOT NULL,
    ends text NOT NULL,
    break_starts text,
    break_ends text,
    PRIMARY KEY (calendar, weekday, starts)
);
CREATE TABLE IF NOT EXISTS holidays (
    calendar text NOT NULL,
    day date NOT NULL,
    PRIMARY KEY (calendar, day)
);
CREATE TABLE IF NOT EXISTS changeovers (
    matrix text NOT NULL,
    from_group text NOT NULL,
    to_group text NOT NULL,
    minutes double precision NOT NULL,
    PRIMARY KEY (matrix, from_group, to_group)
);
