"""What Slipway is compared with besides: the stack that guides lay out, built as their readers would.

Two middlewares of Starlette's base class (a JSON line for each request, a limit that Redis counts), a token and its
user's row in dependencies, an AsyncSession for each request, and the instrumentators as they come. It works on
Slipway's tables as Slipway's role. Argument: the port to listen on (loopback); the rest comes from the environment.
"""

import json
import logging
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated

import jwt
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import OAuth2PasswordBearer
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from prometheus_fastapi_instrumentator import Instrumentator
from pydantic import BaseModel, ConfigDict, Field
from redis.asyncio import Redis
from sqlalchemy import DateTime, Text, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint

SECRET = os.environ["PLAIN_SECRET"]
LIMIT, WINDOW = 100_000_000, 60
SAMPLED = 0.1

logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
logger = logging.getLogger("plain")

provider = TracerProvider(
    sampler=ParentBased(TraceIdRatioBased(SAMPLED)), resource=Resource.create({SERVICE_NAME: "plain"})
)
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(os.environ["PLAIN_OTLP_ENDPOINT"] + "/v1/traces")))
trace.set_tracer_provider(provider)

engine = create_async_engine(os.environ["PLAIN_DATABASE_URL"], pool_size=10, max_overflow=20, pool_pre_ping=True)
new_session = async_sessionmaker(engine, expire_on_commit=False)
RedisInstrumentor().instrument()
redis = Redis.from_url(os.environ["PLAIN_REDIS_URL"], decode_responses=True)


class Base(DeclarativeBase):
    type_annotation_map = {str: Text(), datetime: DateTime(timezone=True), list[str]: ARRAY(Text())}  # noqa: RUF012 - SQLAlchemy's own protocol


class User(Base):
    __tablename__ = "users"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    display_name: Mapped[str]
    permissions: Mapped[list[str]]
    is_active: Mapped[bool]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Item(Base):
    __tablename__ = "items"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    owner_id: Mapped[uuid.UUID]
    title: Mapped[str]
    body: Mapped[str]
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class UserOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    email: str
    display_name: str
    permissions: list[str]
    is_active: bool
    created_at: datetime
    updated_at: datetime


class ItemIn(BaseModel):
    title: str = Field(min_length=1, max_length=200)
    body: str = Field("", max_length=10_000)


class ItemOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    owner_id: uuid.UUID
    title: str
    body: str
    created_at: datetime
    updated_at: datetime


class RateLimit(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        key = f"plain:rate:{request.client.host if request.client else 'unknown'}"
        used = await redis.incr(key)
        if used == 1:
            await redis.expire(key, WINDOW)
        if used > LIMIT:
            return JSONResponse({"detail": "Too many requests"}, 429, {"Retry-After": str(WINDOW)})
        return await call_next(request)


class RequestLog(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        began = time.perf_counter()
        request_id = request.headers.get("X-Request-ID") or str(uuid.uuid4())
        response = await call_next(request)
        response.headers["X-Request-ID"] = request_id
        line = {
            "request_id": request_id,
            "method": request.method,
            "path": request.url.path,
            "status": response.status_code,
            "duration_ms": round((time.perf_counter() - began) * 1000, 3),
        }
        logger.info(json.dumps(line))
        return response


app = FastAPI(title="plain")
app.add_middleware(RateLimit)
app.add_middleware(RequestLog)
Instrumentator().instrument(app).expose(app)
FastAPIInstrumentor.instrument_app(app)
SQLAlchemyInstrumentor().instrument(engine=engine.sync_engine)

bearer = OAuth2PasswordBearer(tokenUrl="token")


async def get_session() -> AsyncIterator[AsyncSession]:
    async with new_session() as session:
        yield session


Session = Annotated[AsyncSession, Depends(get_session)]


async def get_current_user(token: Annotated[str, Depends(bearer)], session: Session) -> User:
    try:
        claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    except jwt.PyJWTError:
        raise HTTPException(401, "Could not validate credentials", {"WWW-Authenticate": "Bearer"}) from None
    user = await session.get(User, uuid.UUID(claims["sub"]))
    if user is None or not user.is_active:
        raise HTTPException(401, "Could not validate credentials", {"WWW-Authenticate": "Bearer"})
    return user


CurrentUser = Annotated[User, Depends(get_current_user)]


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "healthy"}


@app.get("/api/v1/users/me", response_model=UserOut)
async def read_me(user: CurrentUser) -> User:
    return user


@app.post("/api/v1/items", status_code=201, response_model=ItemOut)
async def create_item(content: ItemIn, user: CurrentUser, session: Session) -> Item:
    item = Item(owner_id=user.id, title=content.title, body=content.body)
    session.add(item)
    await session.commit()
    await session.refresh(item)
    return item


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), http="httptools", loop="uvloop", access_log=False, log_level="warning")
