"""How long a query may run, whoever asks and by whatever page: Superset's own limit needs a process without threads.

DuckDB ends an interrupted query between two chunks of rows. A single call of a function over one long text is no chunk
and goes on, so a query that does not end in spite of the interrupt ends the process; the server starts another.
"""

import logging
import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
from duckdb_engine import ConnectionWrapper, CursorWrapper

LONGEST_SECONDS = 30.0
# So long an interrupted query may still take before it takes the process with it.
GRACE_SECONDS = 15.0
COULD_NOT_BE_STOPPED = 70
LOOK_SECONDS = 0.1

# Of the threads that answer in a process, a tenant's statements that take so long may hold this share where no more
# than that share is left. Where they held more, so many may run at all for a while: otherwise the same people would
# soon hold all of them again.
LONG_SECONDS, STRICT_SECONDS = 10.0, 60.0
SHARE_OF_THREADS = 1 / 4

# What somebody may have run: an attached or detached database would be so for all who ask the same file.
MAY_RUN = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.SET}

# Functions that reach into the server's process, whatever may be read: a log that is told to lie in a file ends the
# process with the next statement, and the scans take addresses of its memory. No name can be written in another way,
# except within the text that the last two run as a statement.
INTO_THE_PROCESS = re.compile(
    r"\b((?:enable|disable)_(?:logging|profiling)|truncate_duckdb_logs|write_log|arrow_scan\w*|pandas_scan|seq_scan"
    r'|python_map_function|json_execute_serialized_sql)\b|\b(query)"?(?:\s|/\*.*?\*/|--[^\n]*\n)*\(',
    re.IGNORECASE | re.DOTALL,
)

logger = logging.getLogger(__name__)


def longest_seconds() -> float:
    """Seconds that the statements of one connection may run together."""
    return float(os.environ.get("FLEETMART_QUERY_SECONDS") or LONGEST_SECONDS)


def threads() -> int:
    """Threads that answer in this process."""
    return int(os.environ.get("FLEETMART_SERVER_THREADS") or 8)


def most_long() -> int:
    """Statements of one tenant that may take long at the same time in this process while it is busy."""
    return max(1, int(threads() * SHARE_OF_THREADS))


def require_reading(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    """Raise duckdb.PermissionException for a statement that does more than read, or names a function which reaches into
    this process.
    """
    # What the engine itself puts before a pivot has no text.
    kinds = {one.type for one in connection.extract_statements(statement) if one.query.strip()}
    if not kinds <= MAY_RUN:
        raise duckdb.PermissionException(
            "Only statements that read may run: SELECT, FROM, WITH, PIVOT, DESCRIBE, SHOW, SUMMARIZE and EXPLAIN."
        )
    if found := INTO_THE_PROCESS.search(statement):
        raise duckdb.PermissionException(f"The function {found[1] or found[2]} is switched off.")


@dataclass(eq=False)
class _Running:
    """A statement or a fetch of a tenant's, since when its question runs, and when it is due to end."""

    connection: duckdb.DuckDBPyConnection
    tenant_id: str
    since: float
    due: float
    grace: float
    is_interrupted: bool = False
    is_one_too_many: bool = False

    def stop_when_due(self) -> None:
        late = time.monotonic() - self.due
        if late < 0:
            return
        if self.is_interrupted and late > self.grace:
            logger.critical("A query could not be stopped %.0f s after it was due; this process ends.", late)
            os._exit(COULD_NOT_BE_STOPPED)
        self.stop()

    def stop(self) -> None:
        self.is_interrupted = True
        # More than once: an interrupt that comes between two of a script's statements stops neither.
        self.connection.interrupt()


class _Watch:
    """One thread looks after all that runs in this process: a question has a dozen statements and fetches, and to start
    a thread for each of them took a tenth of its time.
    """

    def __init__(self) -> None:
        self._running: set[_Running] = set()
        self._begins = threading.Event()
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None
        self._strict_until: dict[str, float] = {}

    def begin(self, statement: _Running) -> bool:
        """Look after it; False when its tenant may have nothing more run now."""
        if time.monotonic() < self._strict_until.get(statement.tenant_id, 0):
            of_tenant = [one for one in list(self._running) if one.tenant_id == statement.tenant_id]
            if len(of_tenant) >= most_long():
                return False
        self._running.add(statement)
        self._begins.set()
        # Not before: a process that is forked has no threads but the one that forked.
        if self._thread is None:
            with self._start:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._look, daemon=True)
                    self._thread.start()
        return True

    def end(self, statement: _Running) -> None:
        self._running.discard(statement)

    def _look(self) -> None:
        while True:
            self._begins.wait()
            self._begins.clear()
            while running := list(self._running):
                for statement in running:
                    statement.stop_when_due()
                self._share(running)
                time.sleep(LOOK_SECONDS)

    def _share(self, running: list[_Running]) -> None:
        """Where few threads are left, stop what a tenant has run for long beyond its share."""
        if len(running) < threads() - most_long():
            return
        now, of_tenants = time.monotonic(), defaultdict(list)
        for one in sorted(running, key=lambda one: one.since):
            if now - one.since > LONG_SECONDS:
                of_tenants[one.tenant_id].append(one)
        for tenant_id, long in of_tenants.items():
            for one in long[most_long() :]:
                self._strict_until[tenant_id] = now + STRICT_SECONDS
                one.is_one_too_many = True
                one.stop()


_watch = _Watch()


def _one_too_many() -> duckdb.InterruptException:
    return duckdb.InterruptException(
        f"Too many long queries of your organisation run at once: {most_long()} may while much is asked. "
        "Wait until one has ended, and ask for a shorter span or fewer devices."
    )


class LimitedConnection(ConnectionWrapper):
    """A connection whose statements and fetches may run `seconds` together; what runs longer is stopped."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, tenant_id: str, seconds: float, grace: float = GRACE_SECONDS
    ) -> None:
        super().__init__(connection)
        self._connection = connection
        self._tenant_id = tenant_id
        self._limit = seconds
        self._left = seconds
        self._grace = grace

    def cursor(self) -> "LimitedCursor":
        """A cursor under the same limit."""
        return LimitedCursor(self._connection, self)

    def execute(self, *query: Any) -> Any:
        """Run a statement without a cursor, under the same limit."""
        require_reading(self._connection, query[0])
        with self.running():
            return self._connection.execute(*query)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Watch what runs within.

        Raises duckdb.InterruptException, with what to do, when it is stopped, nothing is left of the time, or the
        tenant's long statements hold their share of this process.
        """
        if self._left <= 0:
            raise self._stopped()
        started = time.monotonic()
        since, due = started - (self._limit - self._left), started + self._left
        statement = _Running(self._connection, self._tenant_id, since, due, self._grace)
        if not _watch.begin(statement):
            raise _one_too_many()
        try:
            yield
        except duckdb.Error:
            # Between two chunks of rows an interrupt shows as a result that is closed, not as an interrupt.
            if not statement.is_interrupted:
                raise
            raise (_one_too_many() if statement.is_one_too_many else self._stopped()) from None
        finally:
            _watch.end(statement)
            self._left -= time.monotonic() - started

    def _stopped(self) -> duckdb.InterruptException:
        return duckdb.InterruptException(
            f"The query was stopped: it may run for {self._limit:g} seconds. "
            "Ask for a shorter span or fewer devices, or ask a cube instead of single readings."
        )


class LimitedCursor(CursorWrapper):
    """Rows come while they are fetched, so fetching counts as running."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, owner: LimitedConnection) -> None:
        super().__init__(connection, owner)
        self._connection = connection
        self._owner = owner

    def execute(self, statement: str, parameters: Any = None, context: Any = None) -> None:
        require_reading(self._connection, statement)
        with self._owner.running():
            super().execute(statement, parameters, context)

    def executemany(self, statement: str, parameters: Any = None, context: Any = None) -> None:
        require_reading(self._connection, statement)
        with self._owner.running():
            super().executemany(statement, parameters, context)

    def fetchone(self) -> Any:
        with self._owner.running():
            return self._connection.fetchone()

    def fetchmany(self, size: int | None = None) -> list:
        with self._owner.running():
            return super().fetchmany(size)

    def fetchall(self) -> list:
        with self._owner.running():
            return self._connection.fetchall()
