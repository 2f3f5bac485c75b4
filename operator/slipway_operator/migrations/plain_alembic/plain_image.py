"""The image's alembic.ini, env.py and revisions, and the login that they get."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter
from io import StringIO
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.engine import URL

from plain_decisions import Revision
from plain_errors import describe
from plain_login import CREDENTIALS, read_login
from plain_output import Failure


class Image:
    """alembic.ini and the revisions it leads to. Raises Failure when they can't be read or have several heads."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.owner: URL | None = None
        try:
            Path(path).open("rb").close()  # Alembic takes one that can't be read for an empty one
        except OSError as error:
            message = f"{path} can't be read: {error.strerror}. Name the image's alembic.ini."
            raise Failure("RevisionsUnreadable", message, lasting=True) from None
        try:
            self.owner = read_login(os.environ.get(CREDENTIALS), Config(path))
            self._script = ScriptDirectory.from_config(self._config())
            found = {script.revision: read_revision(script) for script in self._script.walk_revisions()}
            heads = sorted(self._script.get_heads())
            order = TopologicalSorter({id_: found[id_].parents for id_ in sorted(found)}).static_order()
            self.chain = tuple(found[id_] for id_ in order)
        except Failure:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the revisions are code, too
            said = error if isinstance(error, (CommandError, CycleError)) else describe(error)
            raise Failure("RevisionsUnreadable", f"{path}: {said}", lasting=True) from None
        if len(heads) > 1:
            message = (
                f"The revisions have {len(heads)} heads ({', '.join(heads)}): let them follow each other, or merge."
            )
            raise Failure("MultipleHeads", message, lasting=True)

    def _config(self, output: Any = sys.stdout) -> Config:
        config = Config(self._path, output_buffer=output)
        if self.owner is not None:
            url = self.owner.render_as_string(hide_password=False)
            config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
        return config

    def run(self, work: Callable[[Any], str], **options: Any) -> str:
        """Run env.py, with `work` before it runs a revision: the one that `work` answers. Returns SQL when offline.

        Raises Failure where env.py runs none at all, and what it raises itself.
        """
        written, chosen, asked = StringIO(), [""], [False]
        steps = lambda heads, _: self._script._upgrade_revs(chosen[0], heads)  # noqa: E731, SLF001 - as Alembic's command
        environment = EnvironmentContext(
            self._config(written), self._script, fn=steps, destination_rev="head", **options
        )
        run_revisions = environment.run_migrations

        def work_and_run(**kw: Any) -> None:
            asked[0] = True
            try:
                chosen[0] = work(environment.get_context())
                if chosen[0]:
                    run_revisions(**kw)
            finally:
                # Out of whatever pool it is of: the lock must end with env.py's use of the session.
                with contextlib.suppress(Exception):
                    environment.get_context().connection.detach()  # type: ignore[union-attr]

        # On the instance: Alembic's module `context` speaks to no class but EnvironmentContext itself.
        environment.run_migrations = work_and_run  # type: ignore[method-assign]
        with environment:
            self._script.run_env()
        if not asked[0]:
            raise Failure("MigrationFailed", "env.py ended without context.run_migrations().")
        return written.getvalue().strip()

    def sql(self, revision: Revision) -> str | None:
        """None when it reads the database, or is another each time, and so can't be told beforehand."""
        start = ",".join(revision.parents) or None
        try:
            first, second = (self.run(lambda _: revision.id, as_sql=True, starting_rev=start) for _ in range(2))
        except (Exception, SystemExit):  # noqa: BLE001 - a revision's own code, whatever it stumbles on
            return None
        return first if first == second else None


def digest(sql: str | None) -> str | None:
    return None if sql is None else hashlib.sha256(sql.encode()).hexdigest()


def read_revision(script: Any) -> Revision:
    kind = getattr(script.module, "kind", "expand")
    if kind not in ("expand", "contract"):
        raise CommandError(f"revision {script.revision}: kind is {kind!r}, must be 'expand' or 'contract'")
    message = " ".join((script.module.__doc__ or "").partition("Revision ID:")[0].split())
    return Revision(script.revision, kind, message, tuple(script._all_down_revisions))  # noqa: SLF001 - with depends_on
