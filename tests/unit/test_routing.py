"""Routes that need nothing but the request are run without FastAPI's solver; all others by it."""

from __future__ import annotations

from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, Query, Request, Response

from slipway.http.routing import add_routes, domain_router

router = domain_router("", "tried")


class Asker:
    async def __call__(self, request: Request) -> str:
        return request.headers["x-name"]


async def _paged(page: Annotated[int, Query()] = 1) -> str:
    return f"page {page}"


@router.get("/asked")
async def asked(name: Annotated[str, Depends(Asker())], at: Request) -> Response:
    return Response(f"{name} at {at.url.path}")


@router.get("/counted")
async def counted(name: Annotated[str, Depends(Asker())], number: int) -> Response:
    return Response(f"{name} {number + 1}")


@router.get("/paged")
async def paged(page: Annotated[str, Depends(_paged)]) -> Response:
    return Response(page)


@router.get("/shaped")
async def shaped(name: Annotated[str, Depends(Asker())]) -> dict[str, str]:
    return {"name": name}


@router.get("/headed")
async def headed(name: Annotated[str, Depends(Asker())], response: Response) -> Response:
    return Response(name, headers=response.headers)


REPLIES = {
    "/asked": "ada at /asked",
    "/counted?number=2": "ada 3",
    "/paged?page=4": "page 4",
    "/shaped": '{"name":"ada"}',
    "/headed": "ada",
}


async def get(path: str) -> httpx.Response:
    api = FastAPI()
    add_routes(api, router)
    transport = httpx.ASGITransport(api)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers={"x-name": "ada"}) as client:
        return await client.get(path)


@pytest.mark.parametrize(("path", "reply"), REPLIES.items())
async def test_whatever_a_route_asks_for_it_gets(path: str, reply: str) -> None:
    assert (await get(path)).text == reply


async def test_what_is_wrong_with_a_parameter_is_told_as_ever() -> None:
    assert (await get("/counted?number=two")).status_code == 422


async def test_only_those_that_ask_for_nothing_else_do_without_the_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(**_: object) -> None:
        raise RuntimeError("asked")

    monkeypatch.setattr("fastapi.routing.solve_dependencies", refuse)
    assert (await get("/asked")).text == REPLIES["/asked"]
    for path in REPLIES.keys() - {"/asked"}:
        with pytest.raises(RuntimeError, match="asked"):
            await get(path)
