"""The two roles in PostgreSQL: what they are, who uses them, and their making, mending and passwords.

The admin's login needs CREATEROLE, ADMIN on `memberOf` and the sight of other roles' sessions; no superuser.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from slipway_operator.logins import queries
from slipway_operator.logins.address import LoginData
from slipway_operator.logins.connecting import TroubleError, connected
from slipway_operator.logins.model import RoleSeen, Session, Trouble

_MARK = re.compile(
    r"slipway-operator: for the DatabaseLogin (?P<owner>\S+), term (?P<term>\d{1,18})\."
    r"|Made by slipway-operator for the DatabaseLogin (?P<former>\S+)\."
)
"""Comment on each role: whose it is, because roles are the whole server's, and two logins may name the same; and the
term of the operator that was the last to look after it. Releases that knew no terms wrote the second, and mend any
other comment of a role that is a member."""
MOST_TERMS = 1_000_000_000
"""No Lease came so far: it ends at twice that, and one that was to outnumber a hand's could never be renewed again."""
MOST_SESSIONS = 100
CHANGE_SECONDS = 8.0
"""A change takes no longer, or as long as the Lease may be relied on if that is less."""
_ATTRIBUTES = {
    "rolsuper": "SUPERUSER",
    "rolcreaterole": "CREATEROLE",
    "rolcreatedb": "CREATEDB",
    "rolreplication": "REPLICATION",
    "rolbypassrls": "BYPASSRLS",
}


@dataclass(frozen=True, slots=True)
class Pair:
    """The wish: two roles, what both act as, and how many connections each may hold; None: any number.

    `owner`: namespace and name of the DatabaseLogin. `term`: of the operator that holds its namespace's Lease.
    `left`: seconds that a change may take that begins now; what it raises passes through.
    """

    roles: tuple[str, str]
    member_of: str
    owner: str
    connection_limit: int | None = None
    term: int = 0
    left: Callable[[], float] = field(default=lambda: CHANGE_SECONDS, compare=False)

    @property
    def mark(self) -> str:
        return f"slipway-operator: for the DatabaseLogin {self.owner}, term {self.term}."


@dataclass(frozen=True, slots=True)
class Seen:
    """Both roles, and the first sessions of both, oldest first; `server` tells which one it is."""

    roles: tuple[RoleSeen, ...]
    sessions: tuple[Session, ...]
    server: str


async def look(admin: LoginData, pair: Pair) -> Seen:
    """Roles and their sessions. Raises TroubleError when it can't be seen, or isn't safe to go on with."""
    async with connected(admin) as connection, connection.transaction(readonly=True):
        await _check(connection, pair, admin.user)
        roles = [await _role(connection, name, pair) for name in pair.roles]
        found = await connection.fetch(queries.SESSIONS, list(pair.roles), MOST_SESSIONS)
        told = await connection.fetchval(queries.TELLS_SERVER)
        server = await connection.fetchval(queries.SERVER if told else queries.OBJECT_ID)
    return Seen(tuple(roles), tuple(_session(row) for row in found), server)


async def prepare(admin: LoginData, pair: Pair, roles: Sequence[str]) -> None:
    """Make what lacks, mend what doesn't fit, leave the passwords of roles that are there. Raises TroubleError."""
    async with _changing(admin, pair) as connection:
        await _check(connection, pair, admin.user)
        modern = connection.get_server_version().major >= queries.GRANTS_HAVE_OPTIONS
        for name in roles:
            row = await connection.fetchrow(queries.ROLE, name, pair.member_of)
            for statement in _statements(name, pair, row, modern=modern):
                await connection.execute(statement)


async def set_password(admin: LoginData, pair: Pair, role: str, verifier: str) -> None:
    """Raises TroubleError. `verifier` is what the statement, and a server that logs it, hold."""
    async with _changing(admin, pair) as connection:
        await connection.execute(f"ALTER ROLE {quoted(role)} PASSWORD {literal(verifier)}")


async def fence(admin: LoginData, pair: Pair) -> None:
    """From now on no operator of an earlier term changes these roles, whatever it was about to do."""
    async with _changing(admin, pair):
        pass


@asynccontextmanager
async def _changing(admin: LoginData, pair: Pair) -> AsyncIterator[Any]:
    """A transaction that changes the pair: one at a time, and none of an earlier term than the roles know of."""
    async with connected(admin) as connection:
        seconds = min(CHANGE_SECONDS, pair.left())
        async with asyncio.timeout(seconds), connection.transaction():
            locked = f"slipway-operator {' '.join(sorted(pair.roles))}"
            await connection.execute(queries.LOCK, locked, f"{seconds * 1000:.0f}ms")
            await _advance(connection, pair)
            yield connection


async def _advance(connection: Any, pair: Pair) -> None:
    """Raises TroubleError where the roles know of a later term."""
    for name in pair.roles:
        row = await connection.fetchrow(queries.ROLE, name, pair.member_of)
        owner, term = _marked(row and row["comment"])
        if owner == pair.owner and term > pair.term:
            text = f"An operator that came later (term {term}) looks after {name}; this one has term {pair.term}."
            raise TroubleError(Trouble("NewerOperator", text))
        if owner == pair.owner and term < pair.term:
            await connection.execute(f"COMMENT ON ROLE {quoted(name)} IS {literal(pair.mark)}")


def _marked(comment: str | None) -> tuple[str, int]:
    """Whose a role is, and the term in which that was written; ("", 0): nobody's of us."""
    found = _MARK.fullmatch(comment or "")
    return (found["owner"] or found["former"], int(found["term"] or 0)) if found else ("", 0)


def quoted(name: str) -> str:
    """An identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string in SQL; ValueError for a backslash, whose meaning depends on a setting."""
    if "\\" in text:
        raise ValueError("A backslash has no place in what is written here.")
    return "'" + text.replace("'", "''") + "'"


async def _check(connection: Any, pair: Pair, admin: str) -> None:
    row = await connection.fetchrow(queries.ROLE, pair.member_of, pair.member_of)
    if row is None:
        text = f"There is no role {pair.member_of}: CREATE ROLE {quoted(pair.member_of)}; with the service's rights."
        raise TroubleError(Trouble("MemberOfMissing", text))
    strong = [text for column, text in _ATTRIBUTES.items() if row[column]]
    strong += [found["rolname"] for found in await connection.fetch(queries.STRONG_GROUPS, pair.member_of)]
    if strong:
        text = f"memberOf {pair.member_of} has more rights than a service may have: {', '.join(strong)}."
        raise TroubleError(Trouble("MemberOfTooStrong", text, lasting=True))
    for name in pair.roles:
        await _check_ours(connection, pair, name, admin)
    rights = await connection.fetchrow(queries.ADMIN)
    if rights["rolsuper"]:
        return
    if not rights["rolcreaterole"]:
        raise _lacks(admin, f"ALTER ROLE {quoted(admin)} CREATEROLE;")
    # Before PostgreSQL 16 CREATEROLE was enough to alter and to grant any role that isn't a superuser.
    modern = connection.get_server_version().major >= queries.GRANTS_HAVE_OPTIONS
    if modern and not await connection.fetchval(queries.MAY_GRANT, pair.member_of):
        raise _lacks(admin, f"GRANT {quoted(pair.member_of)} TO {quoted(admin)} WITH ADMIN OPTION;")
    for name in pair.roles:
        await _check_rights(connection, pair, name, admin, modern=modern)


async def _check_ours(connection: Any, pair: Pair, name: str, admin: str) -> None:
    """Nobody else's password is changed, whatever the admin may do."""
    if name == admin:
        text = f"spec.roles has {name}, the admin's own login. Name two roles that nobody else uses."
        raise TroubleError(Trouble("RoleNotOurs", text, lasting=True))
    role = await connection.fetchrow(queries.ROLE, name, pair.member_of)
    owner, term = _marked(role and role["comment"])
    if owner == pair.owner and term > max(pair.term, MOST_TERMS):
        text = (
            f"The role {name} tells of term {term}, and none comes so far. Run: COMMENT ON ROLE {quoted(name)} IS NULL;"
        )
        raise TroubleError(Trouble("RoleNotOurs", text, lasting=True))
    if role is None or owner == pair.owner:
        return
    if owner:
        text = (
            f"The role {name} is for another DatabaseLogin (its comment: {role['comment']}). Name other roles in"
            f" spec.roles; or, if that one is gone: COMMENT ON ROLE {quoted(name)} IS NULL;"
        )
        raise TroubleError(Trouble("RoleNotOurs", text, lasting=True))
    if not role["member"]:
        text = (
            f"There is a role {name} that is no member of {pair.member_of}: drop it, or, if it is meant to be used,"
            f" GRANT {quoted(pair.member_of)} TO {quoted(name)};"
        )
        raise TroubleError(Trouble("RoleNotOurs", text, lasting=True))


async def _check_rights(connection: Any, pair: Pair, name: str, admin: str, *, modern: bool) -> None:
    if await connection.fetchrow(queries.ROLE, name, pair.member_of) is None:
        return
    if modern and not await connection.fetchval(queries.MAY_GRANT, name):
        raise _lacks(admin, f"GRANT {quoted(name)} TO {quoted(admin)} WITH ADMIN OPTION;")
    if not await connection.fetchval(queries.SEES, name):
        text = (
            f"PostgreSQL hides from {admin} what sessions of {name} do and since when."
            f" Run: GRANT pg_read_all_stats TO {quoted(admin)};"
        )
        raise TroubleError(Trouble("SessionsHidden", text, lasting=True))


def _lacks(admin: str, statement: str) -> TroubleError:
    text = f"The admin's login {admin} lacks a right. Run: {statement}"
    return TroubleError(Trouble("AdminLacksRights", text, lasting=True))


async def _role(connection: Any, name: str, pair: Pair) -> RoleSeen:
    row = await connection.fetchrow(queries.ROLE, name, pair.member_of)
    if row is None:
        return RoleSeen(name, exists=False)
    lacking = [text for text, _ in _mending(row, name, pair)]
    owner, term = _marked(row["comment"])
    known = term if owner == pair.owner else None
    return RoleSeen(name, exists=True, fit=not lacking, unfit=", ".join(lacking), term=known)


def _mending(row: Any, name: str, pair: Pair) -> list[tuple[str, str]]:
    """What doesn't fit, and the statement that mends it: so what is called unfit is what will be mended."""
    limit = -1 if pair.connection_limit is None else pair.connection_limit
    role, group = quoted(name), quoted(pair.member_of)
    found = [(f"has {text}", f"ALTER ROLE {role} NO{text}") for column, text in _ATTRIBUTES.items() if row[column]]
    if not row["rolcanlogin"]:
        found.append(("may not log in", f"ALTER ROLE {role} LOGIN"))
    if not row["rolinherit"]:
        found.append(("doesn't inherit", f"ALTER ROLE {role} INHERIT"))
    if row["rolconnlimit"] != limit:
        found.append((f"may hold {row['rolconnlimit']} connections", f"ALTER ROLE {role} CONNECTION LIMIT {limit}"))
    if row["ends"]:
        found.append(("its password ends", f"ALTER ROLE {role} VALID UNTIL 'infinity'"))
    if not row["member"] or not row["whole"]:
        options = " WITH INHERIT TRUE, SET TRUE" if row["member"] else ""
        found.append((f"is no full member of {pair.member_of}", f"GRANT {group} TO {role}{options}"))
    if _marked(row["comment"])[0] != pair.owner:
        found.append(("isn't marked as ours", f"COMMENT ON ROLE {role} IS {literal(pair.mark)}"))
    if f"role={pair.member_of}" not in (row["rolconfig"] or ()):
        found.append((f"doesn't act as {pair.member_of}", f"ALTER ROLE {role} SET role = {literal(pair.member_of)}"))
    return found


def _statements(name: str, pair: Pair, row: Any, *, modern: bool) -> list[str]:
    role, group = quoted(name), quoted(pair.member_of)
    if row is not None:
        return [statement for _, statement in _mending(row, name, pair)]
    limit = -1 if pair.connection_limit is None else pair.connection_limit
    options = " WITH INHERIT TRUE, SET TRUE" if modern else ""
    return [
        # Without a password nobody can log in: it gets its first when it takes over.
        f"CREATE ROLE {role} LOGIN INHERIT CONNECTION LIMIT {limit}",
        f"COMMENT ON ROLE {role} IS {literal(pair.mark)}",
        f"GRANT {group} TO {role}{options}",
        f"ALTER ROLE {role} SET role = {literal(pair.member_of)}",
    ]


def _session(row: Any) -> Session:
    return Session(row["pid"], row["usename"], row["application_name"] or "", row["state"] or "", row["started"])
