"""The owner's login of images with plain Alembic: Secrets of others, and no weaker than what was written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from alembic.config import Config

import plain_login
from plain_login import read_login
from plain_output import Failure

LIBPQ, ASYNCPG = "postgresql+psycopg2://nobody@nowhere/nothing", "postgresql+asyncpg://nobody@nowhere/nothing"
URI = "postgresql://app:s3cret@db/shop"
PLACE = "app:s3cret@db:5432/shop"
RDS = {"host": "db", "port": "5432", "dbname": "shop", "username": "app", "password": "s3cret", "engine": "postgres"}
ZALANDO = {"username": "app", "password": "s3cret"}


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIPWAY_DATABASE_URL", raising=False)
    monkeypatch.setenv("PGSSLROOTCERT", "")
    monkeypatch.setattr(plain_login.importlib.util, "find_spec", lambda name: name == "asyncpg")


def _url(folder: Path, members: Mapping[str, str], ini: str = LIBPQ) -> str:
    for name, text in members.items():
        (folder / name).write_text(text)
    config = Config()
    config.set_main_option("sqlalchemy.url", ini.replace("%", "%%"))
    url = read_login(str(folder), config)
    assert url is not None
    return url.render_as_string(hide_password=False)


@pytest.mark.parametrize(
    ("members", "address", "url"),
    [
        (RDS, "", "app:s3cret@db:5432/shop"),
        ({"user": "app", "password": "s3cret", "dbname": "shop", "host": "db"}, "", "app:s3cret@db:5432/shop"),
        ({**RDS, "uri": "postgresql://app:s3cret@db.ships:5432/shop"}, "", "app:s3cret@db:5432/shop"),
        ({"uri": URI}, "", "app:s3cret@db:5432/shop"),
        ({"uri": "postgres://app:s3cret@db:6432/shop?sslmode=require"}, "", "app:s3cret@db:6432/shop?sslmode=require"),
        ({"uri": f"{URI}?options=-cx%3D1"}, "", "app:s3cret@db:5432/shop?options=-cx%3D1"),
        (ZALANDO, "postgresql://db/shop?sslmode=require", "app:s3cret@db:5432/shop?sslmode=require"),
        (ZALANDO, "postgresql://db:6432/shop", "app:s3cret@db:6432/shop"),
        ({**RDS, "port": ""}, "postgresql://elsewhere:6432/other", "app:s3cret@db:5432/shop"),
        ({**RDS, "dbname": "*"}, "postgresql://elsewhere/shop", "app:s3cret@db:5432/shop"),
        ({**RDS, "host": "/run"}, "", "app:s3cret@/shop?host=%2Frun"),
        ({**RDS, "sslmode": "verify-full"}, "", "app:s3cret@db:5432/shop?sslmode=verify-full"),
        ({"uri": f"{URI}?sslmode=prefer"}, "postgresql://x/x?sslmode=verify-ca", f"{PLACE}?sslmode=verify-ca"),
    ],
)  # fmt: skip
def test_secrets_of_others_make_the_owners_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: dict[str, str], address: str, url: str
) -> None:
    monkeypatch.setenv("SLIPWAY_DATABASE_URL", address)
    assert _url(tmp_path, members) == f"postgresql+psycopg2://{url}"


def test_parameters_of_the_images_own_url_stay_and_weaken_nothing(tmp_path: Path) -> None:
    ini = "postgresql+psycopg2://nobody@nowhere:1/nothing?sslmode=verify-full&options=-cx%3D1"
    assert _url(tmp_path, {**RDS, "sslmode": "require"}, ini) == (
        "postgresql+psycopg2://app:s3cret@db:5432/shop?options=-cx%3D1&sslmode=verify-full"
    )


def test_asyncpg_is_told_in_its_own_words(tmp_path: Path) -> None:
    uri = f"{URI}?sslmode=verify-full&sslrootcert=/ca.pem&channel_binding=prefer"
    assert _url(tmp_path, {"uri": uri}, ASYNCPG) == "postgresql+asyncpg://app:s3cret@db:5432/shop?ssl=verify-full"
    assert os.environ["PGSSLROOTCERT"] == "/ca.pem"


def test_asyncpgs_own_words_in_alembic_ini_stay(tmp_path: Path) -> None:
    ini = f"{ASYNCPG}?ssl=require&prepared_statement_cache_size=0"
    found = _url(tmp_path, RDS, ini)
    assert found == "postgresql+asyncpg://app:s3cret@db:5432/shop?prepared_statement_cache_size=0&ssl=require"


@pytest.mark.parametrize(
    ("members", "ini", "said"),
    [
        ({**RDS, "uri": "postgresql://app:s3cret2@db/shop"}, LIBPQ, "password and uri say different things"),
        ({**RDS, "database": "other"}, LIBPQ, "database and dbname say different things"),
        ({**RDS, "sslmode": "s3cret"}, LIBPQ, "sslmode of the login is none of"),
        ({**RDS, "port": "s3cret"}, LIBPQ, "port in the Secret"),
        ({"uri": "mysql://app:s3cret@db/shop"}, LIBPQ, "none of PostgreSQL"),
        ({"uri": "postgresql://app:s3cret@a,b/shop"}, LIBPQ, "several hosts"),
        ({"uri": "postgresql://app:s3cret@db:s3cret/shop"}, LIBPQ, "none that can be read"),
        ({"uri": f"{URI}?sslmode=require&sslmode=disable"}, LIBPQ, "says sslmode twice"),
        ({"uri": f"{URI}?user=other"}, LIBPQ, "says user twice"),
        ({"uri": f"{URI}?channel_binding=require"}, ASYNCPG, "channel_binding, which asyncpg"),
        ({"uri": f"{URI}?sslrootcert=/s3cret"}, ASYNCPG, "sslrootcert, which asyncpg"),
        ({"uri": f"{URI}?sslcert=/s3cret"}, ASYNCPG, "sslcert, which asyncpg"),
        ({"uri": f"{URI}?options=s3cret"}, ASYNCPG, "options, which asyncpg"),
        (ZALANDO, LIBPQ, "lacks host"),
        ({**RDS, "password": ""}, LIBPQ, "lacks password"),
        ({"uri": ""}, LIBPQ, "lacks host"),
    ],
)
def test_what_can_not_be_taken_is_refused_by_name(tmp_path: Path, members: dict[str, str], ini: str, said: str) -> None:
    with pytest.raises(Failure, match=said) as refused:
        _url(tmp_path, members, ini)
    assert refused.value.reason == "LoginRefused"
    assert "s3cret" not in str(refused.value)
