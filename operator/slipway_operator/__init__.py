"""The Slipway operator: schema migrations, key rings and database logins as cluster resources."""
