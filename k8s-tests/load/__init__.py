"""Load on the service from inside the cluster, counted request by request."""
