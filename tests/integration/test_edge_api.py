"""The edge around the real API: who asks, what is allowed, what a fault of the database means."""

from __future__ import annotations

import httpx
import pytest

from integration.conftest import Person
from slipway.app import openapi_document
from slipway.settings import Settings
from slipway.telemetry.registry import REGISTRY

ME = "/api/v1/users/me"
NOBODY = "01980d5e-2c5b-7f20-8000-000000000000"


def _rejections() -> float:
    return sum(
        sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "slipway_token_rejections_total"
    )


async def test_a_wrong_token_is_counted_once(anonymous: httpx.AsyncClient) -> None:
    before = _rejections()
    assert (await anonymous.get(ME, headers={"Authorization": "Bearer wrong"})).status_code == 401
    assert _rejections() == before + 1


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
async def test_the_case_of_the_scheme_means_nothing_neither_for_a_right_token_nor_for_a_wrong_one(
    anonymous: httpx.AsyncClient, user: Person, scheme: str
) -> None:
    token = user.client.headers["authorization"].removeprefix("Bearer ")
    assert (await anonymous.get(ME, headers={"Authorization": f"{scheme}  {token}"})).status_code == 200
    wrong = await anonymous.get(ME, headers={"Authorization": f"{scheme} wrong"})
    assert (wrong.status_code, wrong.headers["www-authenticate"]) == (
        401,
        'Bearer realm="slipway", error="invalid_token"',
    )
    assert wrong.json()["message"].startswith("This access token is not valid")


async def test_only_the_first_authorization_header_is_looked_at(anonymous: httpx.AsyncClient, user: Person) -> None:
    bearer = ("Authorization", user.client.headers["authorization"])
    basic = ("Authorization", "Basic YTpi")
    assert (await anonymous.get(ME, headers=[bearer, basic])).status_code == 200
    assert (await anonymous.get(ME, headers=[basic, bearer])).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/api/v1/items", "GET, HEAD, OPTIONS, POST"),
        ("HEAD", "/api/v1/auth/token", "OPTIONS, POST"),
        ("POST", f"/api/v1/items/{NOBODY}", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
    ],
)
async def test_a_405_names_every_method_of_the_address(
    anonymous: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    reply = await anonymous.request(method, path)
    assert (reply.status_code, reply.headers["allow"]) == (405, allow)
    asked = await anonymous.options(path)
    assert (asked.status_code, asked.headers["allow"], asked.content) == (204, allow, b"")


async def test_nobody_is_told_what_an_unknown_address_takes(anonymous: httpx.AsyncClient) -> None:
    assert (await anonymous.options("/nowhere")).status_code == 404


def _lasting(reply: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in reply.headers.items() if name not in ("x-request-id", "ratelimit")}


async def test_head_works_wherever_get_does(admin: Person) -> None:
    paths = [path for path, of_path in openapi_document(Settings())["paths"].items() if "get" in of_path]
    assert len(paths) > 10
    item = (await admin.client.post("/api/v1/items", json={"title": "x"})).json()["id"]
    export = (await admin.client.post("/api/v1/exports", json={"format": "csv"})).json()["id"]
    for path in [*paths, f"/api/v1/users/{NOBODY}"]:
        address = path.format(item_id=item, user_id=admin.id, export_id=export)
        get, head = await admin.client.get(address), await admin.client.head(address)
        assert (head.status_code, head.content) == (get.status_code, b""), path
        assert _lasting(head) == _lasting(get), path
        assert int(head.headers["content-length"]) == len(get.content) > 0, path


async def test_every_read_with_an_etag_is_left_out_when_it_is_known_until_it_changes(admin: Person) -> None:
    item = (await admin.client.post("/api/v1/items", json={"title": "x"})).headers["Location"]
    known: dict[str, str] = {}
    for path in (item, ME, f"/api/v1/users/{admin.id}", "/.well-known/jwks.json", "/.well-known/openid-configuration"):
        known[path] = (await admin.client.get(path)).headers["ETag"]
        again = await admin.client.get(path, headers={"If-None-Match": f'W/{known[path]}, "other"'})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", known[path]), path
    changed = await admin.client.patch(item, json={"body": "y"}, headers={"If-Match": f"W/{known[item]}"})
    assert changed.status_code == 200
    fresh = await admin.client.get(item, headers={"If-None-Match": known[item]})
    assert (fresh.status_code, fresh.headers["ETag"]) == (200, changed.headers["ETag"])


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (['"1"'], 200), (['W/"1"'], 200), (['"1-gzip"'], 200), (['"7", W/"1"'], 200), (['"7"', '"1"'], 200),
        (["*"], 200),
        (['"2"'], 412), (['W/"2"'], 412), (['"7"', '"8"'], 412), (['""'], 412),
        (["1"], 422), ([""], 422), (['"1"', "*"], 422), (['"1'], 422),
    ],
)  # fmt: skip
async def test_a_write_takes_its_own_etag_in_every_form_and_no_other(
    user: Person, sent: list[str], status: int
) -> None:
    item = (await user.client.post("/api/v1/items", json={"title": "x"})).headers["Location"]
    headers = [("If-Match", line) for line in sent]
    assert (await user.client.put(item, json={"title": "y"}, headers=headers)).status_code == status


@pytest.mark.parametrize(
    ("sent", "status"),
    [('"2"', 200), ('"1"', 412), ('W/"1"', 412), ('"7", "1"', 412), ("*", 412), ("1", 422), ('"1', 422)],
)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_write_replaces_no_version_that_it_must_not(user: Person, method: str, sent: str, status: int) -> None:
    item = (await user.client.post("/api/v1/items", json={"title": "x"})).headers["Location"]
    reply = await user.client.request(method, item, json={"title": "y"}, headers={"If-None-Match": sent})
    assert reply.status_code == status
    assert (await user.client.get(item)).json()["title"] == ("y" if status == 200 else "x")
