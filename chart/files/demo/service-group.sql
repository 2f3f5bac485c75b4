-- The service's rights, which the migration gives to this role; the roles that the operator makes log in and act as it.
CREATE ROLE slipway_app NOLOGIN;
