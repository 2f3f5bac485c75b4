"""Real Prometheus and Alertmanager over the cluster of the tests: what fires, what doesn't, and what ends it."""
