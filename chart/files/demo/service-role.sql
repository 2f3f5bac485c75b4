-- The service's role: it may log in, and gets its rights from the migration. It can't change the schema.
\set password `cat /var/run/secrets/slipway/service/password`
CREATE ROLE slipway_app LOGIN PASSWORD :'password';
