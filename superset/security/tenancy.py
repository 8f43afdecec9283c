"""Which tenant is asking, and which file answers: the boundary that row filters cannot give.

Every user carries exactly one role `tenant:<tenant_id>`. Whoever carries none, or two, gets an error
and never a file. Nothing here needs Superset, so the rule is tested by itself.
"""

import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

OPERATOR = "operator"
ROLE_PREFIX = "tenant:"
TENANT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
ENGINE = {"memory_limit": "1GB", "threads": "2", "temp_directory": ""}
# A file stays open for so long after it was asked, unless more than this of it is held in memory.
KEPT_SECONDS = 600
KEPT_BYTES = 64 * 2**20
LOOK_THROUGH_SECONDS = 5
# Links to a file that is about to be shown, and to one of which all that people ask was answered ahead.
NEXT, ANSWERED = "next", "answered"
# The one schema of each file, and so where a name without one is looked for.
SCHEMA = "main"
# By which table of a file its tenants are known.
TENANTS_IN = {"snapshot": "dim_tenants", "records": "data_state"}
# All tables of the records, which are written anew with each act and each run.
RECORDS = (
    "audit_events", "data_state", "loads", "quality_cases", "quality_findings", "quality_record", "quality_results",
    "quality_verdicts", "rejected_rows_summary",
)  # fmt: skip
# read_only alone still lets SQL read any file of the server, attach others and write new ones.
LOCK_DOWN = "set enable_external_access = false; set lock_configuration = true"


class NoData(Exception):
    """Why this caller gets no file. No OSError: file caches take those for a miss and go on."""


class UnknownCaller(NoData):
    """Nobody, or somebody who does not belong to exactly one tenant."""


class NothingPublished(NoData):
    """The caller's tenant has no snapshot yet."""


@dataclass(frozen=True)
class Snapshot:
    """The files that a tenant sees now: its data, and its records once there are any.

    Before the first publication there may be records alone. `version` differs between any two states of them, even
    of the same names.
    """

    tenant_id: str
    path: Path | None
    records: Path | None
    version: str

    def of_data(self) -> "Snapshot":
        """The same without the records: its version stays when only they are written anew."""
        return replace(self, records=None, version=_version(self.path))


def tenant_of(roles: Iterable[str]) -> str:
    """The one tenant that these roles name.

    Raises UnknownCaller when they name none, several, or something that cannot be a tenant.
    """
    tenants = {role.removeprefix(ROLE_PREFIX) for role in roles if role.startswith(ROLE_PREFIX)}
    if len(tenants) != 1:
        raise UnknownCaller(
            "This log-in does not belong to exactly one tenant, so there is no data to show. "
            "Ask your administrator to give it one."
        )
    (tenant_id,) = tenants
    if not TENANT_ID.fullmatch(tenant_id):
        raise UnknownCaller("This log-in's tenant is not a valid key. Ask your administrator to correct it.")
    return tenant_id


def roles_of(user: Any) -> list[str]:
    """Names of a user's own roles and those of its groups; guests carry theirs in the same way."""
    own = list(getattr(user, "roles", None) or [])
    grouped = [role for group in getattr(user, "groups", None) or [] for role in group.roles]
    return [role.name for role in own + grouped]


def tenant_of_user(user: Any) -> str:
    """The one tenant of a logged-in user or guest.

    Raises UnknownCaller for nobody, the anonymous user, and whoever has not exactly one tenant.
    """
    if user is None or (getattr(user, "is_anonymous", False) and not getattr(user, "is_guest_user", False)):
        raise UnknownCaller("Nobody is logged in, so there is no data to show. Log in first.")
    return tenant_of(roles_of(user))


def snapshot_of(home: Path, tenant_id: str) -> Snapshot:
    """The tenant's current snapshot.

    Raises NothingPublished when there is none, UnknownCaller when the link leads out of the tenant's folder.
    """
    found = files_of(home, tenant_id)
    if found.path is None:
        raise _nothing_published(tenant_id)
    return found


def files_of(home: Path, tenant_id: str) -> Snapshot:
    """What there is of the tenant's files; only its records while its first batch is withheld.

    Raises what `snapshot_of` raises, NothingPublished when there is neither.
    """
    folder = (home / "serving").resolve() / tenant_id
    path = _linked(folder, tenant_id)
    records = _linked(folder / "records", tenant_id)
    files = [file for file in (path, records) if file]
    if not files:
        raise _nothing_published(tenant_id)
    return Snapshot(tenant_id, path, records, "-".join(map(_version, files)))


def upcoming(home: Path, tenant_id: str) -> Snapshot | None:
    """The snapshot that the tenant is about to be shown, with its records of now; None when there is none.

    Raises UnknownCaller as `snapshot_of` does. What it is asked is kept under what will be its version.
    """
    folder = (home / "serving").resolve() / tenant_id
    path = _linked(folder, tenant_id, NEXT) or _linked(folder, tenant_id, ANSWERED)
    if path is None:
        return None
    records = _linked(folder / "records", tenant_id)
    return Snapshot(tenant_id, path, records, "-".join(_version(file) for file in (path, records) if file))


def _nothing_published(tenant_id: str) -> NothingPublished:
    return NothingPublished(
        f"Nothing has been published for {tenant_id} yet. Run `fleetmart run`; "
        "its data appears here as soon as it has passed the gate."
    )


def _linked(folder: Path, tenant_id: str, link: str = "current") -> Path | None:
    """The file that this link of the folder leads to; None when there is none.

    The folder itself is not resolved: where it is a link to another tenant's, the file lies outside of it.
    """
    try:
        path = (folder / link).resolve(strict=True)
    except FileNotFoundError:
        return None
    if path.parent != folder or not path.is_file():
        raise UnknownCaller(f"What {tenant_id} sees lies outside its own folder and was refused.")
    return path


def _version(path: Path) -> str:
    """The same before and after the file gets its name: before, it is `.v7.duckdb.part`."""
    facts = path.stat()
    name = path.name.removeprefix(".").split(".")[0]
    return f"{name}-{facts.st_ino:x}-{facts.st_mtime_ns:x}"


def fleetmart_home() -> Path:
    """Where all data lives; the same default as the command line's."""
    default = Path(__file__).resolve().parents[2] / "var"
    return Path(os.environ.get("FLEETMART_HOME") or default).expanduser().absolute()


def current_user() -> Any:
    """Whoever makes this request; None outside of one."""
    from flask import g, has_app_context

    return getattr(g, "user", None) if has_app_context() else None


def caller_tenant() -> str:
    """The tenant of whoever makes this request; raises what `tenant_of_user` raises."""
    return tenant_of_user(current_user())


def caller_snapshot() -> Snapshot:
    """The snapshot of whoever makes this request; raises what `tenant_of_user` and `snapshot_of` raise.

    It stays the same until the request ends: rows are kept under the snapshot that they were read from, whatever is
    published meanwhile.
    """
    from flask import g, has_request_context

    tenant_id = caller_tenant()
    found = g.setdefault("snapshots", {}) if has_request_context() else {}
    if tenant_id not in found:
        found[tenant_id] = snapshot_of(fleetmart_home(), tenant_id)
    return found[tenant_id]


@contextmanager
def of_data_alone() -> Iterator[None]:
    """Within, the caller's snapshot is that of its data, without the records; raises what `caller_snapshot` raises."""
    from flask import g

    snapshot = caller_snapshot()
    g.snapshots[snapshot.tenant_id] = snapshot.of_data()
    try:
        yield
    finally:
        g.snapshots[snapshot.tenant_id] = snapshot


def connection_to(snapshot: Snapshot) -> Any:
    """A connection to a tenant's files, read-only, locked down and limited; tables of both go by their names alone.

    Raises UnknownCaller when a file holds rows of another tenant, as a copy that was put in the wrong place would.
    """
    from query_limits import LimitedConnection, longest_seconds

    connection = _opened.connection_to(snapshot)
    connection.execute(f"set search_path = '{','.join(f'{name}.{SCHEMA}' for name in _files(snapshot))}'")
    return LimitedConnection(connection, snapshot.tenant_id, longest_seconds())


class _Opened:
    """Files that this process has open, each tenant's newest: to open them takes twenty times as long as to ask them.

    They do not change, and whoever asks has a connection of its own, with whatever it makes there; so connections
    share nothing but what was read of a file and the limit of memory.
    """

    def __init__(self) -> None:
        # A lock for each tenant: while one's files are opened after a publish, others are not kept waiting.
        self._locks: dict[str, threading.Lock] = {}
        self._kept: dict[str, _Open] = {}
        self._looked_through = 0.0

    def connection_to(self, snapshot: Snapshot) -> Any:
        """A new connection; raises what opening raises."""
        now = time.monotonic()
        if now - self._looked_through > LOOK_THROUGH_SECONDS:
            self._looked_through = now
            self._look_through(now)
        with self._locks.setdefault(snapshot.tenant_id, threading.Lock()):
            kept = self._kept.get(snapshot.tenant_id)
            if kept is None or kept.version != snapshot.version:
                kept = self._kept[snapshot.tenant_id] = _Open(snapshot.version, _open(snapshot))
            kept.asked = now
            return kept.database.cursor()

    def _look_through(self, now: float) -> None:
        """Whoever still asks a file that is not worth keeping keeps it open; with the last of them it is closed."""
        for tenant_id, one in list(self._kept.items()):
            with self._locks[tenant_id]:
                if self._kept.get(tenant_id) is one and not one.is_worth_keeping(now):
                    del self._kept[tenant_id]


@dataclass
class _Open:
    """The files of one snapshot, and when they were last asked."""

    version: str
    database: Any
    asked: float = 0.0

    def is_worth_keeping(self, now: float) -> bool:
        held = self.database.execute("select coalesce(sum(memory_usage_bytes), 0) from duckdb_memory()").fetchone()[0]
        return now - self.asked < KEPT_SECONDS and held <= KEPT_BYTES


_opened = _Opened()


def _files(snapshot: Snapshot) -> dict[str, Path]:
    return {name: path for name, path in (("snapshot", snapshot.path), ("records", snapshot.records)) if path}


def _open(snapshot: Snapshot) -> Any:
    """A database that consists of the tenant's files and can be written nowhere, locked down."""
    import duckdb

    connection = duckdb.connect(config=ENGINE)
    for name, path in _files(snapshot).items():
        connection.execute(f"attach {_literal(path)} as {name} (read_only)")
        _require_own(connection, f"{name}.{SCHEMA}.{TENANTS_IN[name]}", snapshot.tenant_id)
    # What one caller would write into memory, others would see.
    connection.execute(f"use {next(iter(_files(snapshot)))}; detach memory")
    connection.execute(LOCK_DOWN)
    return connection


def _require_own(connection: Any, table: str, tenant_id: str) -> None:
    """The operator's files hold all tenants, everybody else's one."""
    others = f"select exists (from {table} where tenant_id <> ?)"
    if tenant_id != OPERATOR and connection.execute(others, [tenant_id]).fetchone()[0]:
        connection.close()
        raise UnknownCaller(f"What {tenant_id} sees holds another tenant's rows and was refused.")


def _literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def route_to_own_snapshot(
    uri: Any, params: dict[str, Any], username: str | None, security_manager: Any, source: Any
) -> tuple[Any, dict[str, Any]]:
    """Superset's DB_CONNECTION_MUTATOR: every connection opens the caller's own files, locked down.

    The stored address and options are re-applied at each import, so nothing of them is relied on.
    """
    from sqlalchemy.pool import NullPool

    snapshot = caller_snapshot()
    # Nothing is to be rolled back of a connection that ends with its question.
    own = {"creator": lambda: connection_to(snapshot), "poolclass": NullPool, "pool_reset_on_return": None}
    return uri.set(drivername="duckdb", database=":memory:", query={}), {**params, "connect_args": {}, **own}
