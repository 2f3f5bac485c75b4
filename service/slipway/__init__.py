"""Slipway: users, sessions and items behind an API that may change under load without failing a request."""
