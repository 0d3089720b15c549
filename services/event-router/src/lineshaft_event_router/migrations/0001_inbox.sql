-- Which events were accepted, so that a repeated one is passed on once.
CREATE TABLE inbox (
    tenant text NOT NULL,
    source text NOT NULL,
    id text NOT NULL,
    accepted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, source, id)
);
CREATE INDEX inbox_accepted_at ON inbox USING brin (accepted_at);
