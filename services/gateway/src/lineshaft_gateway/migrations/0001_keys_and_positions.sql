-- API keys. Of the secret only a salted digest is kept.
CREATE TABLE api_key (
    prefix text PRIMARY KEY,
    tenant text NOT NULL,
    name text NOT NULL,
    scopes text[] NOT NULL,
    salt bytea NOT NULL,
    digest bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text,
    expires_at timestamptz,
    revoked_at timestamptz
);

CREATE INDEX api_key_by_tenant ON api_key (tenant, created_at DESC, prefix);

-- How far a retained log was seen, and the name of this incarnation of it: a log that was made
-- anew starts again at offset 0, and positions of the old one must not be taken for its own.
CREATE TABLE log_position (
    log text PRIMARY KEY,
    epoch text NOT NULL,
    log_offset bigint NOT NULL DEFAULT -1,
    event_id text,
    updated_at timestamptz NOT NULL DEFAULT now()
);
