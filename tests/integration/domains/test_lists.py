"""Every list in pages: by number and by cursor each row once, the total true at once, and nobody else's rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import pytest

from integration.conftest import PASSWORD, Person
from integration.domains.kept import KEPT, Kept, each_kept

ROWS = 5
Make = Callable[[Person, int], Awaitable[object]]


def making(kept: Kept) -> Make:
    async def make(person: Person, number: int) -> object:
        return await person.client.post(kept.at, json=kept.saying(f"Hull {number}"))

    return make


async def make_export(person: Person, number: int) -> object:
    del number
    return await person.client.post("/api/v1/exports", json={"format": "csv"})


async def make_session(person: Person, number: int) -> object:
    if number == 0:  # there is one from signing in
        return None
    return await person.client.post("/api/v1/auth/token", data={"username": person.email, "password": PASSWORD})


async def make_user(person: Person, number: int) -> object:
    if number < 2:  # there are two already
        return None
    document = {"email": f"{number}@example.com", "password": PASSWORD}
    return await person.client.post("/api/v1/users", json=document)


LISTS: list[tuple[str, Make]] = [
    *((kept.at, making(kept)) for kept in KEPT),
    *((f"{kept.at}?q=hull", making(kept)) for kept in KEPT if kept.searched),
    ("/api/v1/exports", make_export),
    ("/api/v1/auth/sessions", make_session),
    ("/api/v1/users", make_user),
]


async def listed(person: Person, path: str, **query: object) -> httpx.Response:
    separator = "&" if "?" in path else "?"
    words = "&".join(f"{name}={value}" for name, value in query.items())
    return await person.client.get(f"{path}{separator}{words}")


@pytest.mark.parametrize(("path", "make"), LISTS, ids=[path for path, _ in LISTS])
async def test_each_row_is_met_once_by_number_and_by_cursor_and_all_are_counted(
    user: Person, admin: Person, path: str, make: Make
) -> None:
    for person in (admin, user) if make is not make_user else (admin,):
        for number in range(ROWS):
            await make(person, number)
    by_number = [(await listed(admin, path, per_page=2, page=page)).json() for page in (1, 2, 3, 4)]
    assert [len(page["items"]) for page in by_number] == [2, 2, 1, 0]
    assert [page["total"] for page in by_number] == [ROWS] * 4
    assert [page["page"] for page in by_number] == [1, 2, 3, 4]
    assert [page["next_cursor"] is not None for page in by_number] == [True, True, False, False]
    ids = [row["id"] for page in by_number for row in page["items"]]
    assert len(set(ids)) == ROWS

    met, page = by_number[0]["items"], by_number[0]
    while page["next_cursor"]:
        page = (await listed(admin, path, per_page=2, cursor=page["next_cursor"])).json()
        assert (page["total"], page["page"], page["per_page"]) == (None, None, 2)
        met += page["items"]
    assert [row["id"] for row in met] == ids
    whole = (await listed(admin, path, per_page=ROWS)).json()
    assert ([row["id"] for row in whole["items"]], whole["next_cursor"]) == (ids, None)


@each_kept
async def test_a_total_is_true_as_soon_as_one_is_made_or_deleted(user: Person, kept: Kept) -> None:
    async def total() -> int:
        return int((await listed(user, kept.at, per_page=1, page=2)).json()["total"])

    for number in range(3):
        await making(kept)(user, number)
    assert await total() == 3
    made = await user.client.post(kept.at, json=kept.body)
    assert await total() == 4
    await user.client.delete(made.headers["Location"])
    assert await total() == 3
    first = (await listed(user, kept.at, per_page=1)).json()["items"][0]
    await user.client.patch(f"{kept.at}/{first['id']}", json={kept.texts[-1]: "changed"})
    assert await total() == 3


@pytest.mark.parametrize("query", [{"page": 0}, {"page": 10_001}, {"per_page": 0}, {"per_page": 101}, {"cursor": "x"}])
async def test_a_page_that_can_not_be_is_refused(admin: Person, query: dict[str, object]) -> None:
    for path, _ in LISTS:
        reply = await listed(admin, path, **query)
        assert reply.status_code == 422
        assert [detail["location"] for detail in reply.json()["details"]] == [f"query.{next(iter(query))}"]


@pytest.mark.parametrize("query", [{"page": 10_000}, {"per_page": 100}])
async def test_the_last_page_that_can_be_is_given(admin: Person, query: dict[str, object]) -> None:
    assert (await listed(admin, "/api/v1/items", **query)).status_code == 200
