"""How long a query may run, whoever asks and by whatever page: Superset's own limit needs a process without threads.

DuckDB ends an interrupted query between two chunks of rows. A single call of a function over one long text is no chunk
and goes on, so a query that does not end in spite of the interrupt ends the process; the server starts another.
"""

import logging
import os
import re
import threading
import time
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


def require_outside(statement: str) -> None:
    """Raise duckdb.PermissionException for a statement that names a function which reaches into this process."""
    if found := INTO_THE_PROCESS.search(statement):
        raise duckdb.PermissionException(f"The function {found[1] or found[2]} is switched off.")


@dataclass(eq=False)
class _Running:
    """A statement or a fetch, and when it is due to end."""

    connection: duckdb.DuckDBPyConnection
    due: float
    grace: float
    is_interrupted: bool = False

    def stop_when_due(self) -> None:
        late = time.monotonic() - self.due
        if late < 0:
            return
        if self.is_interrupted and late > self.grace:
            logger.critical("A query could not be stopped %.0f s after it was due; this process ends.", late)
            os._exit(COULD_NOT_BE_STOPPED)
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

    def begin(self, statement: _Running) -> None:
        self._running.add(statement)
        self._begins.set()
        # Not before: a process that is forked has no threads but the one that forked.
        if self._thread is None:
            with self._start:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._look, daemon=True)
                    self._thread.start()

    def end(self, statement: _Running) -> None:
        self._running.discard(statement)

    def _look(self) -> None:
        while True:
            self._begins.wait()
            self._begins.clear()
            while running := list(self._running):
                for statement in running:
                    statement.stop_when_due()
                time.sleep(LOOK_SECONDS)


_watch = _Watch()


class LimitedConnection(ConnectionWrapper):
    """A connection whose statements and fetches may run `seconds` together; what runs longer is stopped."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, seconds: float, grace: float = GRACE_SECONDS) -> None:
        super().__init__(connection)
        self._connection = connection
        self._limit = seconds
        self._left = seconds
        self._grace = grace

    def cursor(self) -> "LimitedCursor":
        """A cursor under the same limit."""
        return LimitedCursor(self._connection, self)

    def execute(self, *query: Any) -> Any:
        """Run a statement without a cursor, under the same limit."""
        require_outside(query[0])
        with self.running():
            return self._connection.execute(*query)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Watch what runs within.

        Raises duckdb.InterruptException, with what to do, when it is stopped or nothing is left of the time.
        """
        if self._left <= 0:
            raise self._stopped()
        started = time.monotonic()
        statement = _Running(self._connection, started + self._left, self._grace)
        _watch.begin(statement)
        try:
            yield
        except duckdb.Error:
            # Between two chunks of rows an interrupt shows as a result that is closed, not as an interrupt.
            if not statement.is_interrupted:
                raise
            raise self._stopped() from None
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
        require_outside(statement)
        with self._owner.running():
            super().execute(statement, parameters, context)

    def executemany(self, statement: str, parameters: Any = None, context: Any = None) -> None:
        require_outside(statement)
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
