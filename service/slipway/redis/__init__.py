"""The gateway to Redis, and the cache in it."""
