"""Routers of domains: what all their routes have in common."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from slipway.http.openapi import COMMON_PROBLEMS
from slipway.http.problems import AppException, responses

# FastAPI looks of each model whether it is one of pydantic's version 1, and loads that to know (1.4 MiB); where it
# can't be imported, as in Pythons to come, there is none.
sys.modules.setdefault("pydantic.v1", None)  # type: ignore[arg-type] # what the import system takes for "not there"


class Route(APIRoute):
    """One that needs nothing but the request and what coroutines make of it is run without FastAPI's solver.

    That takes a third of such a request's time, for parameters that aren't there.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        asked: list[tuple[str, Any]] = [
            (below.name or "", below.call) for below in self.dependant.dependencies if _takes_the_request(below)
        ]
        simple = len(asked) == len(self.dependant.dependencies) and _takes_nothing_else(self.dependant)
        if not (simple and self.body_field is None and _gives_a_reply(self.endpoint)):
            return super().get_route_handler()
        endpoint, request_name = self.endpoint, self.dependant.request_param_name

        async def handle(request: Request) -> Response:
            values: dict[str, Any] = {name: await call(request) for name, call in asked}
            if request_name is not None:
                values[request_name] = request
            reply: Response = await endpoint(**values)
            return reply

        return handle


def _takes_nothing_else(dependant: Dependant) -> bool:
    parameters = (
        dependant.path_params, dependant.query_params, dependant.header_params, dependant.cookie_params,
        dependant.body_params, dependant.websocket_param_name, dependant.http_connection_param_name,
        dependant.response_param_name, dependant.background_tasks_param_name, dependant.security_scopes_param_name,
    )  # fmt: skip
    return not any(parameters)


def _takes_the_request(dependant: Dependant) -> bool:
    call: Any = dependant.call
    return (
        dependant.request_param_name is not None
        and dependant.name is not None
        and not dependant.dependencies
        and _takes_nothing_else(dependant)
        and (inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__))
    )


def _gives_a_reply(endpoint: Callable[..., Any]) -> bool:
    given = inspect.signature(endpoint, eval_str=True).return_annotation
    return inspect.iscoroutinefunction(endpoint) and inspect.isclass(given) and issubclass(given, Response)


def domain_router(prefix: str, tag: str, *problems: type[AppException]) -> APIRouter:
    """A router whose routes document what any route may answer and `problems`; operations are named as functions."""
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        route_class=Route,
        responses=responses(*COMMON_PROBLEMS, *problems),
        generate_unique_id_function=lambda route: route.name,
    )


def add_routes(api: FastAPI, router: APIRouter) -> None:
    """Add the routes themselves: `include_router` matches each request twice, by router and then by route."""
    api.router.routes.extend(router.routes)
