"""The commands of `slipway-operator` that need no cluster, and the parts of its start and end."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import aiohttp
import pytest
from click.testing import CliRunner

from slipway_operator import main as operator
from slipway_operator import watch
from slipway_operator.leases import Leases
from slipway_operator.main import main
from slipway_operator.named_secrets import NamedSecrets
from unit.operator.memory_api import MemoryApi

PROJECT = Path(__file__).parents[3] / "pyproject.toml"


def test_the_version_is_the_projects() -> None:
    ended = CliRunner().invoke(main, ["version"])
    assert (ended.exit_code, ended.output) == (0, tomllib.loads(PROJECT.read_text())["project"]["version"] + "\n")


def test_a_wrong_setting_ends_it_with_what_to_write() -> None:
    ended = CliRunner().invoke(main, ["run"], env={"SLIPWAY_OPERATOR_LOG_LEVEL": "loud"})
    assert ended.exit_code == 1
    assert "SLIPWAY_OPERATOR_LOG_LEVEL" in ended.output


async def forever() -> None:
    await asyncio.Event().wait()


async def test_what_ends_before_the_stop_lets_the_operator_go_on_and_leaves_nothing_running() -> None:
    async def soon() -> None:
        await asyncio.sleep(0)

    before = asyncio.all_tasks()
    assert await operator._until(soon(), asyncio.Event())  # noqa: SLF001 - what it waits for needs a cluster
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_what_a_stop_overtakes_is_broken_off() -> None:
    stop = asyncio.Event()
    stop.set()
    before = asyncio.all_tasks()
    assert not await operator._until(forever(), stop)  # noqa: SLF001
    assert asyncio.all_tasks() == before


async def test_what_fails_before_the_stop_fails_the_operator() -> None:
    async def fails() -> None:
        raise operator.OperatorError("out of order")

    with pytest.raises(operator.OperatorError, match="out of order"):
        await operator._until(fails(), asyncio.Event())  # noqa: SLF001


async def test_leases_are_given_back_once_nothing_renews_them_any_more() -> None:
    order: list[str] = []

    async def keep() -> None:
        try:
            await forever()
        finally:
            order.append("kept")

    async def release() -> None:
        order.append("released")

    keeping = asyncio.create_task(keep())
    await asyncio.sleep(0)
    await operator._give_back(cast("Leases", SimpleNamespace(release=release)), keeping)  # noqa: SLF001
    assert (order, keeping.cancelled()) == (["kept", "released"], True)


def test_every_kind_has_its_reconciler_and_a_login_s_change_excludes_a_migration_s_job() -> None:
    api, http, secrets = MemoryApi(), cast("aiohttp.ClientSession", None), cast("NamedSecrets", None)
    found = operator.reconcilers(api, http, secrets)
    assert found.keys() == watch.KINDS.keys()
    shared = {id(vars(one)["_exclusion"]) for kind, one in found.items() if kind != watch.KEY_RING}
    assert len(shared) == 1
