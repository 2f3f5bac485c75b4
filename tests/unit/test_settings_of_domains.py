"""Settings that domains declare: read, listed and refused as all others are; no two have one of the same name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import Field, SecretStr

from slipway.domain import Domain, composed
from slipway.domains import SETTINGS
from slipway.settings import Settings
from slipway.settings import sources as settings_sources
from slipway.settings.sources import SettingsError, load_settings
from slipway.settings.table import env_example, settings_table


class BoatSettings(Settings):
    boat_length: int = Field(12, ge=3, le=400, description="Metres of a boat.")
    boat_code: SecretStr | None = Field(None, description="What opens a boat.")

    def faults(self) -> list[str]:
        told = "SLIPWAY_BOAT_LENGTH is no length of a boat on SLIPWAY_PORT."
        return [*super().faults(), *([told] if self.boat_length == self.port else [])]


class CrewSettings(Settings):
    crew: int = Field(3, ge=1, description="People on board.")


BOATS = Domain(tags={}, settings=BoatSettings)
CREWS = Domain(tags={}, settings=CrewSettings)
BOTH = composed([BOATS, Domain(tags={}), CREWS])


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("SLIPWAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings_sources, "ENV_FILE", Path(".env"))


def refused(kind: type[Settings]) -> list[str]:
    with pytest.raises(SettingsError) as error:
        load_settings(kind)
    assert "hidden" not in str(error.value)
    return error.value.faults


def test_a_domain_finds_its_settings_beside_those_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_BOAT_LENGTH", "30")
    Path(".env").write_text("SLIPWAY_CREW=7\nSLIPWAY_BOAT_LENGTH=31\n")
    settings = load_settings(BOTH)
    assert isinstance(settings, BoatSettings)
    assert isinstance(settings, CrewSettings)
    assert (settings.boat_length, settings.crew, settings.port) == (30, 7, 8000)
    with pytest.raises(ValueError, match="frozen"):
        settings.crew = 8


def test_they_are_listed_with_their_bounds_in_the_order_of_domains() -> None:
    rows = settings_table(BOTH).splitlines()[-3:]
    assert rows[0] == "| `SLIPWAY_BOAT_LENGTH` | `12` | Metres of a boat. At least 3, at most 400. |"
    assert [row.split("`")[1] for row in rows[1:]] == ["SLIPWAY_BOAT_CODE", "SLIPWAY_CREW"]
    assert "# People on board. At least 1.\n#SLIPWAY_CREW=3\n" in env_example(BOTH)
    assert len(BOTH.model_fields) == len(Settings.model_fields) + 3


def test_what_is_wrong_of_them_is_told_at_once_with_all_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BOAT_LENGTH": "hidden", "CREW": "0", "PORT": "hidden", "CORS_ORIGINS": "null"}.items():
        monkeypatch.setenv(f"SLIPWAY_{name}", value)
    Path(".env").write_text("SLIPWAY_BOAT_LENGHT=hidden\n")
    told = refused(BOTH)
    assert [fault.split(":")[0].split(" ")[0] for fault in told] == [
        "SLIPWAY_BOAT_LENGHT", "SLIPWAY_PORT", "SLIPWAY_BOAT_LENGTH", "SLIPWAY_CREW", "SLIPWAY_CORS_ORIGINS",
    ]  # fmt: skip


def test_what_a_domain_says_can_not_hold_together_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_PORT", "12")
    assert refused(BOTH) == ["SLIPWAY_BOAT_LENGTH is no length of a boat on SLIPWAY_PORT."]
    assert load_settings(composed([CREWS])).port == 12, "without its domain nobody minds"


def test_a_secret_of_a_domain_may_come_from_a_file_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "slipway_boat_code").write_text("hidden\n")
    monkeypatch.setenv("SLIPWAY_SECRETS_DIR", str(tmp_path))
    settings = load_settings(BOTH)
    assert isinstance(settings, BoatSettings)
    assert settings.boat_code is not None
    assert settings.boat_code.get_secret_value() == "hidden"
    assert "hidden" not in f"{settings!r} {settings.model_dump()}"
    (tmp_path / "slipway_boat_coed").write_text("hidden")
    assert [fault.split(" ")[0] for fault in refused(BOTH)] == ["slipway_boat_coed"]


def test_a_process_without_domains_leaves_alone_what_they_may_know(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`slipway db` reads the same `.env` and the same folder as `slipway serve`."""
    (tmp_path / "slipway_boat_code").write_text("hidden")
    Path(".env").write_text("SLIPWAY_CREW=0\nSLIPWAY_PORT=1\n")
    monkeypatch.setenv("SLIPWAY_SECRETS_DIR", str(tmp_path))
    assert load_settings(Settings).port == 1
    assert len(refused(composed([]))) == 2, "a service without domains knows that it has none"


@pytest.mark.parametrize(("name", "owner"), [("port", "Settings"), ("crew", "CrewSettings")])
def test_a_name_that_is_taken_is_refused_when_domains_come_together(name: str, owner: str) -> None:
    thief = type("ThiefSettings", (Settings,), {"__annotations__": {name: int}, name: 1})
    with pytest.raises(TypeError, match=f"ThiefSettings claims SLIPWAY_{name.upper()}, which {owner} has"):
        composed([CREWS, Domain(tags={}, settings=thief)])


def test_two_domains_may_share_one_class() -> None:
    assert "crew" in composed([CREWS, Domain(tags={}, settings=CrewSettings)]).model_fields


def test_the_service_has_some() -> None:
    assert {"audit_retention", "export_ttl"} <= SETTINGS.model_fields.keys() - Settings.model_fields.keys()


def test_a_gate_reads_its_settings_without_any_domain() -> None:
    loaded = "import sys, slipway.migrations.cli; print([name for name in sys.modules if name.endswith('.domain')])"
    told = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True, timeout=30)
    assert told.stdout.strip() == "[]"
