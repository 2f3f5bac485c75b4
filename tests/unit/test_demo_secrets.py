"""Production refuses the demo's login and signing key also where they come from mounted files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway.auth.keys import KeysError, keys_from_files, to_jwk
from slipway.auth.keys import _generate as generate
from slipway.resources import open_database, open_keys
from slipway.settings import Settings
from slipway.storage.files import Files
from slipway.storage.login import LoginError, login_from_contents

DEMO_JWKS = Path(__file__).parents[2] / "chart/files/demo/jwks.json"
DEVELOPMENT, PRODUCTION = Settings(environment="development"), Settings(environment="production")


def _login(password: str) -> dict[str, bytes]:
    return {"host": b"db", "database": b"slipway", "username": b"slipway_app", "password": password.encode()}


def _keys(*, own: bool, signing: str) -> dict[str, bytes]:
    listed = json.loads(DEMO_JWKS.read_text())["keys"]
    if own:
        listed.append(to_jwk(generate("EdDSA"), "EdDSA") | {"kid": "own", "alg": "EdDSA", "use": "sig"})
        listed[-1].pop("key_ops", None)
    return {"jwks.json": json.dumps({"keys": listed}).encode(), "signing": signing.encode()}


def test_production_refuses_a_demo_password_in_mounted_credentials() -> None:
    with pytest.raises(LoginError, match="demo password"):
        login_from_contents(PRODUCTION, _login("slipway-demo"))
    assert login_from_contents(DEVELOPMENT, _login("slipway-demo")).username == "slipway_app"
    assert login_from_contents(PRODUCTION, _login("kq93-long-and-random")).username == "slipway_app"


@pytest.mark.parametrize("signing", ["demo-key-known-to-everyone", "own"])
def test_production_refuses_the_demo_key_whether_it_signs_or_only_verifies(signing: str) -> None:
    files = _keys(own=True, signing=signing)
    with pytest.raises(KeysError, match="demo-key-known-to-everyone is the demo's"):
        keys_from_files(PRODUCTION, files)
    assert keys_from_files(DEVELOPMENT, files).signing.id == signing


def _write(folder: Path, files: Files) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_a_production_process_opens_neither_the_demos_keys_nor_its_login(tmp_path: Path) -> None:
    keys = _write(tmp_path / "keys", _keys(own=False, signing="demo-key-known-to-everyone"))
    login = _write(tmp_path / "login", _login("slipway-demo"))
    given = {"signing_keys_dir": keys, "database_credentials_dir": login}
    with pytest.raises(KeysError, match="is the demo's"):
        open_keys(Settings(environment="production", **given))
    with pytest.raises(LoginError, match="demo password"):
        open_database(Settings(environment="production", **given))
    store, _ = open_keys(Settings(environment="development", **given))
    assert store.current.signing.id == "demo-key-known-to-everyone"


def test_production_knows_the_demo_key_under_any_name() -> None:
    files = _keys(own=False, signing="renamed")
    files["jwks.json"] = files["jwks.json"].replace(b"demo-key-known-to-everyone", b"renamed")
    with pytest.raises(KeysError, match="renamed is the demo's"):
        keys_from_files(PRODUCTION, files)
