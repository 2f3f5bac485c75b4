"""What SREs look at, made from the objectives in the service: `make observability` writes it."""
