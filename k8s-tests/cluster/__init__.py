"""A real Kubernetes for the tests: one that is given, kind, or one made from nothing."""
