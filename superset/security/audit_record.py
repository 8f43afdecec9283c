"""Who opened, queried, exported and embedded what, and when: rows that are added to, and never changed.

One small SQLite file of the home. It refuses to change or delete a row. Each row is written before the next thing is
done, and on the disk by then unless it is of something that was only looked at: a disk takes 15 ms to be sure of a row,
in which nobody else can write one, and a page looks at twenty things. It holds no data and no statement: of a statement
it holds a digest that only this server can make.
"""

import os
import sqlite3
import threading
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

FILE = "audit.sqlite"
BUSY_SECONDS = 10
LONGEST_TEXT = 200
# Of these a power failure may take along what the system has not put on the disk yet; no end of a process does.
LOOKS = {"open", "query"}
SCHEMA = """
create table if not exists events (
    event_id integer primary key autoincrement, happened_at text not null,
    tenant_id text, username text, role text,
    act text not null check (act in (
        'open', 'query', 'export', 'embed', 'log in', 'log out', 'create', 'change', 'delete'
    )),
    object_type text, object text, result text not null check (result in ('done', 'refused', 'failed')),
    duration_ms integer, row_count integer, statement_digest text
);
create index if not exists events_of_tenant on events (tenant_id, event_id);
create trigger if not exists events_are_not_changed before update on events
begin select raise(abort, 'the audit record is only added to'); end;
create trigger if not exists events_are_not_deleted before delete on events
begin select raise(abort, 'the audit record is only added to'); end;
"""


@dataclass(frozen=True)
class Event:
    """One act. `tenant_id` is None where nobody could tell whose it was; only the operator sees those."""

    act: str
    result: str
    tenant_id: str | None = None
    username: str | None = None
    role: str | None = None
    object_type: str | None = None
    object: str | None = None
    duration_ms: int | None = None
    row_count: int | None = None
    statement_digest: str | None = None


COLUMNS = [field.name for field in fields(Event)]


def append(home: Path, event: Event) -> None:
    """Add one event, now; when this returns, it is written, and on the disk with all before it unless it is a look.

    Raises sqlite3.Error or OSError when it could not be written.
    """
    happened_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    values = [value[:LONGEST_TEXT] if isinstance(value, str) else value for value in asdict(event).values()]
    placeholders = ", ".join("?" * (1 + len(values)))
    with _writing, _kept(home / FILE) as connection:
        connection.execute(f"pragma synchronous = {'normal' if event.act in LOOKS else 'full'}")
        connection.execute(
            f"insert into events (happened_at, {', '.join(COLUMNS)}) values ({placeholders})", [happened_at, *values]
        )


def found(
    home: Path,
    tenant_id: str | None,
    since: str = "",
    before: str = "",
    username: str = "",
    act: str = "",
    below: int | None = None,
    limit: int = 500,
) -> list[dict]:
    """The newest events of a tenant, or of all for None; from the day `since` to the day `before`, which is not in it.

    `below` is an event's number: events before it.
    """
    query = f"""
        select event_id, happened_at, {", ".join(COLUMNS)} from events
        where ($tenant_id is null or tenant_id = $tenant_id) and ($since = '' or happened_at >= $since)
        and ($before = '' or happened_at < $before) and ($username = '' or username = $username)
        and ($act = '' or act = $act) and ($below is null or event_id < $below)
        order by event_id desc limit $limit"""
    given = {
        "tenant_id": tenant_id, "since": since, "before": before, "username": username, "act": act, "below": below,
        "limit": limit,
    }  # fmt: skip
    with _writing:
        _kept(home / FILE)
    with closing(_opened(home / FILE)) as connection:
        return [dict(row) for row in connection.execute(query, given)]


_writing = threading.Lock()
_connections: dict[tuple[int, Path], tuple[int, sqlite3.Connection]] = {}


def _kept(path: Path) -> sqlite3.Connection:
    """This process's connection: to open and close the file for each row would take three times as long.

    Whoever moves the file away gets a new one made in its place.
    """
    key = (os.getpid(), path)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    number = path.stat().st_ino
    if key not in _connections or _connections[key][0] != number:
        connection = _opened(path)
        connection.execute("pragma journal_mode = wal")
        connection.executescript(SCHEMA)
        _connections[key] = (number, connection)
    return _connections[key][1]


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection
