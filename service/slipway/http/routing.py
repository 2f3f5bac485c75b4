"""Routers of domains: what all their routes have in common."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

from slipway.http.openapi import COMMON_PROBLEMS
from slipway.http.problems import AppException, responses


def domain_router(prefix: str, tag: str, *problems: type[AppException]) -> APIRouter:
    """A router whose routes document what any route may answer and `problems`; operations are named as functions."""
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        responses=responses(*COMMON_PROBLEMS, *problems),
        generate_unique_id_function=lambda route: route.name,
    )


def add_routes(api: FastAPI, router: APIRouter) -> None:
    """Add the routes themselves: `include_router` matches each request twice, by router and then by route."""
    api.router.routes.extend(router.routes)
