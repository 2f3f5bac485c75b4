from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from slipway_operator import cluster
from slipway_operator.cluster import (
    Api,
    ApiError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    NotServedError,
    Resource,
    UnreachableError,
)
from slipway_operator.guard import Guard
from unit.operator.conftest import ScriptedServer

JOBS = Resource("batch", "v1", "jobs")
PODS = Resource("", "v1", "pods")


def status(code: int, reason: str, message: str = "no") -> tuple[int, dict[str, object]]:
    return code, {"kind": "Status", "code": code, "reason": reason, "message": message}


async def test_an_object_is_read_and_one_that_is_not_there_is_none(api: Api, server: ScriptedServer) -> None:
    server.answers = [(200, {"metadata": {"name": "a"}}), status(404, "NotFound")]
    assert await api.get(JOBS, "shop", "a") == {"metadata": {"name": "a"}}
    assert await api.get(PODS, "shop", "b") is None
    assert [asked.path for asked in server.asked] == [
        "/apis/batch/v1/namespaces/shop/jobs/a",
        "/api/v1/namespaces/shop/pods/b",
    ]
    assert server.asked[0].headers["Authorization"] == "Bearer first"


async def test_a_list_is_read_in_pages_from_the_quorum(api: Api, server: ScriptedServer) -> None:
    server.answers = [
        (200, {"metadata": {"continue": "more"}, "items": [{"n": 1}, {"n": 2}]}),
        (200, {"metadata": {}, "items": [{"n": 3}]}),
    ]
    assert await api.list(PODS, "shop", labels="app=x", fields="") == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert [asked.query for asked in server.asked] == [
        {"labelSelector": "app=x", "limit": "250"},
        {"labelSelector": "app=x", "limit": "250", "continue": "more"},
    ]  # no resourceVersion: a cache may lag


async def test_a_list_whose_pages_expire_is_read_once_more(api: Api, server: ScriptedServer) -> None:
    first = (200, {"metadata": {"continue": "more"}, "items": [{"n": 1}]})
    server.answers = [first, status(410, "Expired"), first, (200, {"metadata": {}, "items": [{"n": 2}]})]
    assert await api.list(PODS, "shop") == [{"n": 1}, {"n": 2}]
    server.asked.clear()
    server.answers = [first, status(410, "Expired"), first, status(410, "Expired")]
    with pytest.raises(ApiError):
        await api.list(PODS, "shop")


async def test_a_list_without_end_is_an_error(api: Api, server: ScriptedServer) -> None:
    server.answers = [(200, {"metadata": {"continue": "more"}, "items": []})]
    with pytest.raises(ApiError, match="more than 10000"):
        await api.list(PODS, "shop")
    assert len(server.asked) == cluster.MOST_PAGES


@pytest.mark.parametrize("fault", [status(500, "InternalError"), status(503, "ServiceUnavailable"), None])
async def test_a_read_is_tried_again(api: Api, server: ScriptedServer, fault: tuple[int, object] | None) -> None:
    server.answers = [fault, fault, (200, {"n": 1})]
    assert await api.get(JOBS, "shop", "a") == {"n": 1}


async def test_a_read_is_given_up_after_four_attempts(api: Api, server: ScriptedServer) -> None:
    server.answers = [status(500, "InternalError", "etcd is away")]
    with pytest.raises(ApiError, match="etcd is away"):
        await api.get(JOBS, "shop", "a")
    assert len(server.asked) == 4


@pytest.mark.parametrize("fault", [status(500, "InternalError"), None])
async def test_a_write_that_may_have_been_done_is_not_repeated(
    api: Api, server: ScriptedServer, fault: tuple[int, object] | None
) -> None:
    server.answers = [fault, (201, {"n": 1})]
    with pytest.raises(ApiError):
        await api.create(JOBS, "shop", {"metadata": {"name": "a"}})
    assert len(server.asked) == 1


async def test_a_write_that_was_turned_away_is_repeated(api: Api, server: ScriptedServer) -> None:
    server.answers = [(*status(429, "TooManyRequests"), {"Retry-After": "1"}), (201, {"n": 1})]
    assert await api.create(JOBS, "shop", {"metadata": {"name": "a"}}) == {"n": 1}


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (409, "AlreadyExists", ConflictError),
        (409, "Conflict", ConflictError),
        (403, "Forbidden", ForbiddenError),
        (422, "Invalid", ApiError),
    ],
)
async def test_a_refusal_tells_status_reason_and_message(
    api: Api, server: ScriptedServer, code: int, reason: str, kind: type[ApiError]
) -> None:
    server.answers = [status(code, reason, "because")]
    with pytest.raises(kind) as raised:
        await api.create(JOBS, "shop", {"metadata": {"name": "a"}})
    assert (raised.value.status, raised.value.reason, str(raised.value)) == (code, reason, "because")
    assert type(raised.value) is kind


async def test_no_error_tells_the_token_or_what_was_sent(server: ScriptedServer) -> None:
    async with Api(server.login) as api:
        for answer in (None, (500, "x" * 5000), status(403, "Forbidden")):
            server.answers = [answer]
            with pytest.raises(ApiError) as raised:
                await api.create(JOBS, "shop", {"metadata": {"name": "a"}, "env": "pa55word"})
            told = f"{raised.value!r} {raised.value.__cause__!r}"
            assert "first" not in told
            assert "pa55word" not in told
            assert len(told) < 2000
            assert raised.value.__suppress_context__ or raised.value.__context__ is None


async def test_a_rotated_token_is_read_anew_when_the_old_one_is_refused(api: Api, server: ScriptedServer) -> None:
    server.answers = [(200, {}), status(401, "Unauthorized"), (200, {"n": 1})]
    await api.get(JOBS, "shop", "a")
    server.token = "second"
    assert await api.get(JOBS, "shop", "a") == {"n": 1}
    assert [asked.headers["Authorization"] for asked in server.asked] == [
        "Bearer first",
        "Bearer first",
        "Bearer second",
    ]


async def test_a_token_that_stays_refused_is_not_tried_again(api: Api, server: ScriptedServer) -> None:
    server.answers = [status(401, "Unauthorized")]
    with pytest.raises(ApiError) as raised:
        await api.get(JOBS, "shop", "a")
    assert raised.value.status == 401
    assert len(server.asked) == 1


async def test_a_rotated_token_is_used_within_a_minute_unasked(
    api: Api, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [(200, {})]
    server.token = "second"
    await api.get(JOBS, "shop", "a")
    monkeypatch.setattr("slipway_operator.credentials.LIFETIME", 0.0)
    await api.get(JOBS, "shop", "a")
    assert [asked.headers["Authorization"] for asked in server.asked] == ["Bearer first", "Bearer second"]


class Held(Guard):
    """As what holds Leases says: `seconds` are left, for each answer one."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = list(seconds)
        self.asked: list[str] = []

    def left(self, namespace: str) -> float:
        self.asked.append(namespace)
        if (found := self.seconds.pop(0)) <= 0:
            raise NotServedError(namespace)
        return found


WRITES: list[Callable[[Api], Awaitable[object]]] = [
    lambda api: api.create(JOBS, "shop", {"metadata": {"name": "a"}}),
    lambda api: api.apply(JOBS, "shop", {"metadata": {"name": "a"}}),
    lambda api: api.apply_status(JOBS, "shop", {"metadata": {"name": "a"}}),
    lambda api: api.patch_status(PODS, "shop", "a", {}),
    lambda api: api.claim(JOBS, "shop", {"metadata": {"name": "a"}}, "me"),
    lambda api: api.replace(JOBS, "shop", {"metadata": {"name": "a"}}, seconds=5),
    lambda api: api.delete(JOBS, "shop", "a", uid="u"),
]


@pytest.mark.parametrize("write", WRITES)
async def test_no_write_is_sent_without_the_lease_and_none_outlasts_it(
    api: Api, server: ScriptedServer, write: Callable[[Api], Awaitable[object]]
) -> None:
    server.answers = [(200, {}), (429, {}), "slow"]
    api.guard = guard = Held(3.0, 0.0, 3.0, 0.0, 0.05)
    await write(api)
    with pytest.raises(NotServedError):
        await write(api)
    assert len(server.asked) == 1
    with pytest.raises(NotServedError):  # each attempt asks anew
        await write(api)
    assert len(server.asked) == 2
    with pytest.raises(UnreachableError, match="Timeout"):
        await write(api)
    assert set(guard.asked) == {"shop"}


async def test_a_read_needs_no_lease(api: Api, server: ScriptedServer) -> None:
    server.answers = [(200, {"metadata": {}})]
    api.guard = Held()
    await api.get(JOBS, "shop", "a")
    await api.list(JOBS, "shop")


async def test_what_is_made_by_its_name_takes_nothing_over(api: Api, server: ScriptedServer) -> None:
    server.answers = [(201, {})]
    await api.claim(JOBS, "shop", {"metadata": {"name": "a"}}, "pod_1")
    (asked,) = server.asked
    assert (asked.method, asked.path.rpartition("/")[2], asked.query) == ("PATCH", "a", {"fieldManager": "pod_1"})
    assert asked.headers["Content-Type"] == "application/apply-patch+yaml"


async def test_what_is_replaced_is_the_whole_object_in_the_version_that_it_has(
    api: Api, server: ScriptedServer
) -> None:
    server.answers = [(200, {}), status(409, "Conflict")]
    body = {"metadata": {"name": "a", "resourceVersion": "7"}}
    await api.replace(JOBS, "shop", body, seconds=5)
    assert (server.asked[0].method, server.asked[0].body) == ("PUT", body)
    with pytest.raises(ConflictError):
        await api.replace(JOBS, "shop", body, seconds=5)


async def test_an_apply_names_its_field_manager_and_takes_fields_over(api: Api, server: ScriptedServer) -> None:
    server.answers = [(200, {})]
    body = {"metadata": {"name": "a", "resourceVersion": "7"}, "status": {"phase": "Planning"}}
    await api.apply(JOBS, "shop", body)
    await api.apply_status(JOBS, "shop", body)
    assert [asked.path.rpartition("jobs/")[2] for asked in server.asked] == ["a", "a/status"]
    for asked in server.asked:
        assert asked.method == "PATCH"
        assert asked.query == {"fieldManager": "slipway-operator", "force": "true"}
        assert asked.headers["Content-Type"] == "application/apply-patch+yaml"
        assert asked.body == body


async def test_a_delete_is_of_that_very_object_and_one_that_is_gone_is_fine(api: Api, server: ScriptedServer) -> None:
    server.answers = [status(404, "NotFound"), status(409, "Conflict")]
    await api.delete(JOBS, "shop", "a", uid="u-1")
    assert server.asked[0].body["preconditions"] == {"uid": "u-1"}
    assert server.asked[0].body["propagationPolicy"] == "Background"
    with pytest.raises(ConflictError):
        await api.delete(JOBS, "shop", "a", uid="u-1")


async def test_a_log_is_bounded_and_its_bytes_need_not_be_text(api: Api, server: ScriptedServer) -> None:
    server.answers = [(200, "a" * 100)]
    assert await api.log("shop", "pod", container="main", tail=5, limit=10) == "a" * 10
    assert server.asked[0].path == "/api/v1/namespaces/shop/pods/pod/log"
    assert server.asked[0].query == {"container": "main", "tailLines": "5", "limitBytes": "10"}
    server.answers = [status(404, "NotFound")]
    with pytest.raises(NotFoundError):
        await api.log("shop", "pod", container="main", limit=10)


@pytest.mark.parametrize("answer", [(200, "not json"), (200, "[]")])
async def test_an_answer_that_is_no_object_is_no_answer(
    api: Api, server: ScriptedServer, answer: tuple[int, str]
) -> None:
    server.answers = [answer]
    with pytest.raises(UnreachableError):
        await api.get(JOBS, "shop", "a")


async def test_an_endless_answer_is_broken_off(
    api: Api, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway_operator.cluster.LONGEST_ANSWER", 1000)
    server.answers = [(200, "a" * 2000)]
    with pytest.raises(ApiError, match="larger than"):
        await api.get(JOBS, "shop", "a")


async def test_a_server_that_says_nothing_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway_operator.cluster.CALL_SECONDS", 0.1)
    held: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    address = silent.sockets[0].getsockname()
    scripted = ScriptedServer(url=f"http://127.0.0.1:{address[1]}")
    async with silent, Api(scripted.login) as api:
        with pytest.raises(UnreachableError) as raised:
            await api.create(JOBS, "shop", {"metadata": {"name": "a"}})
        assert raised.value.status == 0
        for writer in held:
            writer.close()


async def test_outside_of_its_block_it_refuses_to_work(server: ScriptedServer) -> None:
    with pytest.raises(RuntimeError, match="outside"):
        await Api(server.login).get(JOBS, "shop", "a")


@pytest.fixture
def kubeconfig(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def write(text: str) -> None:
        path = tmp_path_factory.mktemp("kube") / "config"
        path.write_text(text)
        monkeypatch.setenv("KUBECONFIG", str(path))

    return write


def test_a_developer_is_known_by_the_kubeconfig(kubeconfig: Callable[[str], None]) -> None:
    kubeconfig(
        "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
        "clusters: [{name: k, cluster: {server: 'https://there'}}]\nusers: [{name: u, user: {token: t}}]\n"
    )
    found = cluster.login()
    assert (found.server, found.token) == ("https://there", "t")
