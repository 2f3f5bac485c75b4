"""`slipway keys generate`: what a production install's Secret is made from."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from slipway.auth.keys import keys_from_files
from slipway.cli import root
from slipway.settings import Settings
from slipway.storage.files import read_folder


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
def test_a_new_key_set_is_one_that_production_takes_and_only_its_owner_reads(tmp_path: Path, algorithm: str) -> None:
    folder = tmp_path / "keys"
    done = CliRunner().invoke(root, ["keys", "generate", str(folder), "--algorithm", algorithm])
    assert done.exit_code == 0, done.output
    keys = keys_from_files(Settings(environment="production"), read_folder(folder))
    assert keys.algorithms() == [algorithm]
    assert done.output == f"{folder}: signs with {keys.signing.id}\n"
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_key_set_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    assert CliRunner().invoke(root, ["keys", "generate", str(tmp_path)]).exit_code == 0
    before = (tmp_path / "jwks.json").read_bytes()
    again = CliRunner().invoke(root, ["keys", "generate", str(tmp_path)])
    assert again.exit_code == 1
    assert "holds a key set already: name another folder" in again.output
    assert (tmp_path / "jwks.json").read_bytes() == before


def test_a_folder_that_can_not_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = CliRunner().invoke(root, ["keys", "generate", str(tmp_path / "file" / "keys")])
    assert done.exit_code == 1
    assert "can't be used: Not a directory. Name a new folder." in done.output
