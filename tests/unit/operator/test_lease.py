"""One Lease: who may have it when, counted on whose clock, and what may be done with it for how long."""

from __future__ import annotations

import pytest

from slipway_operator.clock import ServerClock
from slipway_operator.cluster import UnreachableError
from slipway_operator.lease import Lease, LostError, Times
from unit.operator.lease_server import LeaseApi, LeaseServer

TIMES = Times(duration=15.0, deadline=10.0, retry=2.0)
PLACE = "shop", "slipway-operator"


class Operator:
    """One that is tried to be at work; its clock shows something else than any other's, and runs as fast."""

    def __init__(self, server: LeaseServer, identity: str, ahead: float = 0.0, gone: str = "") -> None:
        self.api = LeaseApi(server)
        self.lease = Lease(
            self.api, *PLACE, identity, TIMES, clock=lambda: server.now + ahead, gone=lambda holder: holder == gone
        )


@pytest.fixture
def server() -> LeaseServer:
    return LeaseServer()


@pytest.fixture
def one(server: LeaseServer) -> Operator:
    return Operator(server, "one")


@pytest.fixture
def two(server: LeaseServer) -> Operator:
    return Operator(server, "two", ahead=-720.0)


def spec(server: LeaseServer) -> dict[str, object]:
    return dict(server.leases[PLACE]["spec"])


async def test_who_comes_first_has_it_and_what_it_tells_is_as_client_go_has_it(
    server: LeaseServer, one: Operator, two: Operator
) -> None:
    assert await one.lease.attempt()
    assert not await two.lease.attempt()
    found = spec(server)
    assert (found["holderIdentity"], found["leaseDurationSeconds"], found["leaseTransitions"]) == ("one", 15, 0)
    assert found["acquireTime"] == found["renewTime"]
    assert (two.lease.holder, two.lease.held, two.lease.left()) == ("one", False, 0.0)


async def test_while_it_is_renewed_nobody_else_gets_it_however_long_they_wait(
    server: LeaseServer, one: Operator, two: Operator
) -> None:
    await one.lease.attempt()
    for _ in range(20):
        server.now += 9.0
        await one.lease.renew()
        assert not await two.lease.attempt()
    assert spec(server)["leaseTransitions"] == 0


async def test_a_challenger_counts_from_when_it_saw_a_change_and_takes_over_after_what_the_lease_names(
    server: LeaseServer, one: Operator, two: Operator
) -> None:
    await one.lease.attempt()
    server.now += 100  # nobody looked meanwhile: what it says of times is no evidence
    assert not await two.lease.attempt()
    server.now += 14.9
    assert not await two.lease.attempt()
    assert two.lease.due() == pytest.approx(0.1)
    server.now += 0.1
    assert await two.lease.attempt()
    assert (spec(server)["holderIdentity"], spec(server)["leaseTransitions"]) == ("two", 1)
    assert (two.lease.transitions, two.lease.former) == (1, "one")


async def test_without_a_renewal_an_effect_begins_for_ten_seconds_and_is_over_before_another_may_take_over(
    server: LeaseServer, one: Operator
) -> None:
    await one.lease.attempt()
    for age, left in ((0.0, 14.0), (9.0, 5.0), (9.9, 4.1), (10.0, 0.0), (300.0, 0.0)):
        server.now = 1000.0 + age
        assert one.lease.left() == pytest.approx(left)
        assert one.lease.age() == pytest.approx(age)


async def test_who_could_not_renew_for_ten_seconds_gives_up_though_it_might_yet(
    server: LeaseServer, one: Operator
) -> None:
    await one.lease.attempt()
    one.api.cut_off = True
    server.now += 9.9
    with pytest.raises(UnreachableError):
        await one.lease.renew()
    one.api.cut_off = False
    server.now += 0.1
    with pytest.raises(LostError, match="wasn't renewed for 10 s"):
        await one.lease.renew()


async def test_a_renewal_is_as_old_as_when_it_was_sent(
    server: LeaseServer, one: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one.lease.attempt()
    real = one.api.replace

    async def slow(*args: object, **options: float) -> dict[str, object]:
        server.now += 4
        return await real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(one.api, "replace", slow)
    await one.lease.renew()
    assert one.lease.age() == 4


async def test_a_renewal_whose_answer_was_lost_is_found_and_counts_only_when_heard(
    server: LeaseServer, one: Operator
) -> None:
    await one.lease.attempt()
    server.now += 3
    one.api.answers_lost = True
    with pytest.raises(UnreachableError):
        await one.lease.renew()
    one.api.answers_lost = False
    assert one.lease.age() == 3
    server.now += 2
    await one.lease.renew()
    assert one.lease.age() == 0


async def test_one_that_was_taken_is_lost_whoever_took_it_by_force(server: LeaseServer, one: Operator) -> None:
    await one.lease.attempt()
    server.force(*PLACE, "former-release")
    with pytest.raises(LostError, match="taken by former-release"):
        await one.lease.renew()
    assert (one.lease.held, one.lease.left()) == (False, 0.0)


async def test_of_two_who_read_the_same_version_one_gets_it(server: LeaseServer, one: Operator, two: Operator) -> None:
    server.force(*PLACE, "", seconds=1)
    stale = server.leases[PLACE]
    assert await one.lease.attempt()
    real = two.api.get

    async def late(*args: object, **options: float) -> dict[str, object] | None:
        await real(*args, **options)  # type: ignore[arg-type]
        return dict(stale)

    two.api.get = late  # type: ignore[method-assign,assignment]
    assert not await two.lease.attempt()
    assert spec(server)["holderIdentity"] == "one"


async def test_a_released_one_is_free_at_once_and_counts_on(server: LeaseServer, one: Operator, two: Operator) -> None:
    await one.lease.attempt()
    assert not await two.lease.attempt()
    await one.lease.release()
    assert (spec(server)["holderIdentity"], spec(server)["leaseDurationSeconds"]) == ("", 1)
    assert await two.lease.attempt()
    assert (two.lease.transitions, spec(server)["leaseDurationSeconds"]) == (1, 15)


async def test_one_that_is_released_after_a_renewal_whose_answer_was_lost_is_free_too(
    server: LeaseServer, one: Operator
) -> None:
    await one.lease.attempt()
    one.api.answers_lost = True
    with pytest.raises(UnreachableError):
        await one.lease.renew()
    one.api.answers_lost = False
    await one.lease.release()
    assert spec(server)["holderIdentity"] == ""


async def test_another_s_is_never_released(server: LeaseServer, one: Operator) -> None:
    await one.lease.attempt()
    server.force(*PLACE, "two")
    await one.lease.release()
    assert spec(server)["holderIdentity"] == "two"


async def test_a_deleted_one_is_made_anew_by_its_holder_with_a_greater_number(
    server: LeaseServer, one: Operator, two: Operator
) -> None:
    await one.lease.attempt()
    del server.leases[PLACE]
    await one.lease.renew()
    assert (spec(server)["holderIdentity"], one.lease.transitions) == ("one", 1)
    del server.leases[PLACE]
    assert await two.lease.attempt()
    with pytest.raises(LostError):
        await one.lease.renew()


async def test_one_that_was_deleted_under_its_holder_is_left_to_it(
    server: LeaseServer, one: Operator, two: Operator
) -> None:
    await one.lease.attempt()
    assert not await two.lease.attempt()
    del server.leases[PLACE]
    server.now += 2
    assert not await two.lease.attempt()
    await one.lease.renew()
    assert spec(server)["holderIdentity"] == "one"


async def test_one_that_was_deleted_and_is_not_made_anew_is_had_when_its_time_is_over(
    server: LeaseServer, one: Operator, two: Operator
) -> None:
    await one.lease.attempt()
    await two.lease.attempt()
    del server.leases[PLACE]
    server.now += 15
    assert await two.lease.attempt()


async def test_a_number_that_somebody_remembers_is_outnumbered_by_the_next_renewal(
    server: LeaseServer, one: Operator
) -> None:
    await one.lease.attempt()
    one.lease.outnumber(7)
    assert one.lease.transitions == 0
    await one.lease.renew()
    assert (one.lease.transitions, spec(server)["leaseTransitions"]) == (8, 8)


async def test_what_it_tells_people_of_times_is_the_api_server_s_clock(server: LeaseServer, one: Operator) -> None:
    one.api.clock = ServerClock(monotonic=lambda: 0.0)
    one.api.clock.heard("Mon, 04 May 2026 03:02:01 GMT", 0.0)
    await one.lease.attempt()
    assert spec(server)["renewTime"] == "2026-05-04T03:02:02.000000Z"


async def test_what_others_wrote_into_it_stays(server: LeaseServer, one: Operator) -> None:
    server.force(*PLACE, "", seconds=1)
    server.leases[PLACE]["metadata"]["labels"] = {"team": "ships"}
    server.leases[PLACE]["spec"]["preferredHolder"] = "x"
    await one.lease.attempt()
    assert server.leases[PLACE]["metadata"]["labels"] == {"team": "ships"}
    assert spec(server)["preferredHolder"] == "x"


async def test_the_holder_of_the_release_before_is_waited_for_as_long_as_its_pod_is_there(
    server: LeaseServer, one: Operator
) -> None:
    # It renews once a minute, takes no notice of others, and doesn't give it back.
    server.force(*PLACE, "slipway-operator-abc")
    server.pods.add(("shop", "slipway-operator-abc"))
    for _ in range(3):
        assert not await one.lease.attempt()
        server.now += 59
    server.pods.clear()
    assert await one.lease.attempt()


async def test_it_is_waited_for_by_time_where_its_pod_never_goes(server: LeaseServer, one: Operator) -> None:
    server.force(*PLACE, "slipway-operator-abc")
    server.pods.add(("shop", "slipway-operator-abc"))
    await one.lease.attempt()
    server.now += 179
    assert not await one.lease.attempt()
    server.now += 1
    assert await one.lease.attempt()


async def test_a_pod_that_is_gone_is_no_reason_to_hurry_where_its_lease_is_short(
    server: LeaseServer, one: Operator
) -> None:
    server.force(*PLACE, "slipway-operator-abc_1234", seconds=15)
    assert not await one.lease.attempt()
    assert "list" not in one.api.calls


@pytest.mark.parametrize("seconds", [1, 14, 180])
async def test_a_duration_that_a_hand_wrote_lets_nobody_in_while_its_holder_is_at_work(
    server: LeaseServer, one: Operator, two: Operator, seconds: int
) -> None:
    identity = "slipway-operator-abc_1234"
    holder = Operator(server, identity)
    await holder.lease.attempt()
    server.force(*PLACE, identity, seconds=seconds)
    assert not await two.lease.attempt()
    server.now += 2.4
    assert not await two.lease.attempt()
    await holder.lease.renew()
    assert (spec(server)["leaseDurationSeconds"], holder.lease.held) == (15, True)
    assert not await one.lease.attempt()


async def test_of_a_holder_that_acts_no_more_it_is_had_at_once(server: LeaseServer) -> None:
    heir = Operator(server, "heir", gone="dead")
    server.force(*PLACE, "dead", seconds=60)
    assert await heir.lease.attempt()


async def test_a_namespace_that_goes_takes_its_lease_with_it_and_that_is_no_loss_to_another(
    server: LeaseServer, one: Operator
) -> None:
    await one.lease.attempt()
    server.closing.add("shop")
    del server.leases[PLACE]
    with pytest.raises(Exception, match="not found"):
        await one.lease.renew()
    assert not one.lease.held
