"""What is shown of the audit log."""

from __future__ import annotations

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from slipway.http.openapi_examples import ID


class AuditEntry(BaseModel):
    """One write that was committed, or a sign-in that was refused."""

    model_config = ConfigDict(from_attributes=True)

    attempt: UUID = Field(description="The entry's own id.")
    kind: Literal["work", "given up"] = Field(
        description="`work` stands beside what was done; `given up` says that the attempt never will be.",
        examples=["work"],
    )
    action: str | None = Field(description="What was done, and with what kind of thing.", examples=["items.create"])
    resource: str | None = Field(
        description="With which one; it may be gone by now. null where there is none.", examples=[f"items/{ID}"]
    )
    actor: UUID | None = Field(description="Who did it. null for jobs, commands and strangers.")
    session: UUID | None = Field(description="In which of their sessions.")
    address: IPv4Address | IPv6Address | None = Field(description="From where.", examples=["192.0.2.7"])
    request_id: str | None = Field(
        description="`X-Request-ID` of the request, also in logs; a job has that of the request which asked for it.",
        examples=["01980d5e2c5b7f20"],
    )
    at: datetime = Field(description="When, by the database's clock.")
