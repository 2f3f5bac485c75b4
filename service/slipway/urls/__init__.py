"""Addresses of servers, as people write them."""
