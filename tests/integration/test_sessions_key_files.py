"""Signing keys that change in their files take effect within two seconds, without a restart."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import jwt
import pytest

from integration.conftest import Person, enter
from servers.waiting import until
from slipway.auth.keys import generate_keys
from slipway.settings import Settings
from slipway.telemetry.registry import REGISTRY

PATIENCE = 5.0
"""Seconds, for a busy machine; test_credentials_change.py holds files to what is promised of them."""


@pytest.fixture
def key_folder(tmp_path: Path) -> Path:
    """A mounted Secret, as the kubelet lays it out."""
    generate_keys(tmp_path / "generated" / "old")
    generate_keys(tmp_path / "generated" / "new")
    folder = tmp_path / "mounted"
    folder.mkdir()
    mount(folder, "..1", ["old"], signing="old")
    return folder


@pytest.fixture
def app_settings(settings: Settings, key_folder: Path) -> Settings:
    # The interval of production: what is promised must hold with it.
    interval = Settings.model_fields["files_poll_interval"].default
    return settings.with_changes(signing_keys_dir=key_folder, files_poll_interval=interval, rate_limit=100_000)


def jwk(folder: Path, name: str) -> dict[str, str]:
    [key] = json.loads((folder.parent / "generated" / name / "jwks.json").read_text())["keys"]
    return key | {"kid": name}


def mount(folder: Path, generation: str, names: list[str], *, signing: str) -> None:
    (folder / generation).mkdir()
    (folder / generation / "jwks.json").write_text(json.dumps({"keys": [jwk(folder, name) for name in names]}))
    (folder / generation / "signing").write_text(signing)
    (folder / "..data_tmp").symlink_to(generation)
    (folder / "..data_tmp").rename(folder / "..data")
    for name in ("jwks.json", "signing"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")


def overwrite(folder: Path, names: list[str], *, signing: str) -> None:
    (folder / "jwks.json").write_text(json.dumps({"keys": [jwk(folder, name) for name in names]}))
    (folder / "signing").write_text(signing)


def key_id_of(person: Person) -> str:
    token = person.client.headers["authorization"].removeprefix("Bearer ")
    return str(jwt.get_unverified_header(token)["kid"])


def refusals() -> float:
    return REGISTRY.get_sample_value("slipway_file_reloads_total", {"set": "keys", "result": "refused"}) or 0.0


async def is_signed_in(person: Person) -> bool:
    return (await person.client.get("/api/v1/users/me")).status_code == 200


async def published(anonymous: httpx.AsyncClient) -> list[str]:
    return [key["kid"] for key in (await anonymous.get("/.well-known/jwks.json")).json()["keys"]]


async def test_a_key_added_to_the_files_signs_and_one_removed_verifies_no_more(
    anonymous: httpx.AsyncClient, user: Person, key_folder: Path
) -> None:
    assert key_id_of(user) == "old"
    mount(key_folder, "..2", ["old", "new"], signing="new")
    await until(lambda: _published(anonymous, ["old", "new"]), within=PATIENCE)
    newer = await enter(anonymous, user.id, user.email)
    assert key_id_of(newer) == "new"
    assert await is_signed_in(user), "its key is still listed"

    mount(key_folder, "..3", ["new"], signing="new")
    await until(lambda: _refused(user), within=PATIENCE)
    assert await is_signed_in(newer)
    assert await published(anonymous) == ["new"]


async def _published(anonymous: httpx.AsyncClient, ids: list[str]) -> bool:
    return await published(anonymous) == ids


async def _refused(person: Person) -> bool:
    return not await is_signed_in(person)


async def test_half_written_files_are_refused_and_then_the_whole_ones_taken(
    anonymous: httpx.AsyncClient, user: Person, key_folder: Path
) -> None:
    before = refusals()
    (key_folder / "jwks.json").unlink()
    (key_folder / "signing").unlink()
    (key_folder / "..data").unlink()
    whole = json.dumps({"keys": [jwk(key_folder, "new")]})
    (key_folder / "jwks.json").write_text(whole[: len(whole) // 2])
    await until(lambda: refusals() > before, within=PATIENCE)
    assert await is_signed_in(user)
    assert await published(anonymous) == ["old"]
    overwrite(key_folder, ["new"], signing="new")
    await until(lambda: _refused(user), within=PATIENCE)
    assert key_id_of(await enter(anonymous, user.id, user.email)) == "new"
