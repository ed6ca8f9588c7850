#!/bin/sh
# Run once by the Postgres image, on an empty volume: a database and a role for each server, which see no others.
set -eu
for server in prefect mlflow; do
  password=$(printenv "$(echo "$server" | tr a-z A-Z)_DB_PASSWORD")
  psql --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres \
    --set role="$server" --set password="$password" <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password';
CREATE DATABASE :"role" OWNER :"role";
REVOKE CONNECT ON DATABASE :"role" FROM PUBLIC;
SQL
done
# Users and permissions of MLflow, whose tables would meet those of its runs.
psql --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
CREATE DATABASE mlflow_auth OWNER mlflow;
REVOKE CONNECT ON DATABASE mlflow_auth FROM PUBLIC;
SQL
