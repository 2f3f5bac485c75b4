"""DatabaseLogin: two roles of PostgreSQL that take turns, so that a password changes while everything runs on."""
