"""Real servers for tests: PostgreSQL, Redis and Slipway itself, on free loopback ports."""
