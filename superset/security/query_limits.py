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
from typing import Any

import duckdb
from duckdb_engine import ConnectionWrapper, CursorWrapper

LONGEST_SECONDS = 30.0
# So long an interrupted query may still take before it takes the process with it.
GRACE_SECONDS = 15.0
COULD_NOT_BE_STOPPED = 70

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
        ended, interrupted, started = threading.Event(), threading.Event(), time.monotonic()
        watch = threading.Thread(target=self._stop_when_due, args=(ended, interrupted, self._left), daemon=True)
        watch.start()
        try:
            yield
        except duckdb.Error:
            # Between two chunks of rows an interrupt shows as a result that is closed, not as an interrupt.
            if not interrupted.is_set():
                raise
            raise self._stopped() from None
        finally:
            ended.set()
            self._left -= time.monotonic() - started

    def _stop_when_due(self, ended: threading.Event, interrupted: threading.Event, seconds: float) -> None:
        if ended.wait(seconds):
            return
        interrupted.set()
        due = time.monotonic() + self._grace
        # More than once: an interrupt that comes between two of a script's statements stops neither.
        while time.monotonic() < due:
            self._connection.interrupt()
            if ended.wait(0.2):
                return
        logger.critical("A query ran %.0f s and could not be stopped; this process ends.", seconds + self._grace)
        os._exit(COULD_NOT_BE_STOPPED)

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
