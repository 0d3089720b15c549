#!/bin/bash
# One database and one role per service, at the first start of the volume.
set -euo pipefail
for name in gateway job_runner event_router monitor plant; do
  variable="${name^^}_DATABASE_PASSWORD"
  psql --set ON_ERROR_STOP=1 --set name="$name" --set password="${!variable:?is not set}" \
    --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
done
# Its backups are proven by restoring them into databases that exist for a moment.
psql --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres \
  --command 'ALTER ROLE plant CREATEDB'
