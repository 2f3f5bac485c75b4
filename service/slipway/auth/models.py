"""The tables `users` and `email_changes`."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, LargeBinary, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, query_expression, validates

from slipway.auth.addresses import address_key
from slipway.storage.models import Base, new_id


class User(Base):
    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    email: Mapped[str]
    email_key: Mapped[str | None]
    """What the address is told apart by. It counts where `email_keyed` is `email`: earlier releases write neither."""
    email_keyed: Mapped[str | None]
    display_name: Mapped[str] = mapped_column(default="")
    password_hash: Mapped[str]
    permissions: Mapped[list[str]] = mapped_column(default=list)
    is_active: Mapped[bool] = mapped_column(default=True)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    pending_email: Mapped[str | None] = query_expression()
    """What they asked for and haven't confirmed; filled in by the queries that are for showing users."""

    @validates("email")
    def _make_key(self, _: str, email: str) -> str:
        self.email_key, self.email_keyed = address_key(email), email
        return email


class EmailChange(Base):
    """An address that a user asked for, instead of `email_before`. A token is added by each mail that is tried."""

    __tablename__ = "email_changes"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    email: Mapped[str]
    email_before: Mapped[str]
    token_hashes: Mapped[list[bytes]] = mapped_column(ARRAY(LargeBinary()), server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
