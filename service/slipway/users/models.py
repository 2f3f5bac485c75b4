"""The `users` table."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column, validates

from slipway.storage.models import Base, new_id
from slipway.users.addresses import address_key


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

    @validates("email")
    def _make_key(self, _: str, email: str) -> str:
        self.email_key, self.email_keyed = address_key(email), email
        return email
