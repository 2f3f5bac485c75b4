"""Names of permissions that code asks for."""

from __future__ import annotations

ADMIN = "admin:write"
"""Manage users, their permissions, sessions and items."""
