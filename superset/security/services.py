"""Where Superset keeps its records, its caches and its counts: in the home, or in PostgreSQL and Redis by settings.

`FLEETMART_SUPERSET_DATABASE` and `FLEETMART_REDIS_URL` are addresses that may hold a password, so each can be given as
a file as well, `…_FILE`, which nobody but its owner may read. Needs Superset's environment, but not Superset.
"""

import os
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

DATABASE, REDIS = "FLEETMART_SUPERSET_DATABASE", "FLEETMART_REDIS_URL"
DRIVER = "postgresql+psycopg2"
PATIENCE_SECONDS = 5
RESULTS_KEPT = timedelta(days=1)


class ServiceError(Exception):
    """A setting that cannot be, or a service that does not serve: which, why, and what to do. Never a password."""


def secret(name: str) -> str | None:
    """A secret setting: from the variable `name`, or from the file that `<name>_FILE` names; None without either.

    Raises ServiceError for both at once, and for a file that is missing, empty or readable by others.
    """
    given, file = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if given and file:
        raise ServiceError(f"Both {name} and {name}_FILE are set. Unset one of them.")
    if not file:
        return given or None
    path = Path(file).expanduser()
    try:
        if path.stat().st_mode & 0o077:
            raise ServiceError(f"{name}_FILE: others than its owner may use {path}. Run `chmod 600 {path}`.")
        if content := path.read_text().strip():
            return content
    except OSError as error:
        raise ServiceError(f"{name}_FILE: {path} cannot be read ({error.strerror}).") from error
    raise ServiceError(f"{name}_FILE: {path} is empty.")


def database() -> str | None:
    """Address of the PostgreSQL that keeps the records; None when a file of the home does.

    Raises ServiceError when it is no such address.
    """
    return _address(DATABASE, {"postgresql", "postgres", DRIVER}, "postgresql://user:password@host:5432/name", DRIVER)


def redis_url() -> str | None:
    """Address of the Redis for caches and counts; None when the home and each process keep them.

    Raises ServiceError when it is no such address.
    """
    url = _address(REDIS, {"redis", "rediss"}, "redis://:password@host:6379/0")
    # Without a time-out, whoever asks a Redis that hangs would hang with it.
    timed = f"socket_connect_timeout={PATIENCE_SECONDS}&socket_timeout={PATIENCE_SECONDS}"
    return url and (url if urlsplit(url).query else f"{url}?{timed}")


def _address(name: str, schemes: set[str], example: str, scheme: str | None = None) -> str | None:
    given = secret(name)
    if given is None:
        return None
    try:
        parts = urlsplit(given)
        is_whole = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0 and len(parts.path) > 1
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ServiceError(f"{name} is no address such as {example}.")
    return parts._replace(scheme=scheme or parts.scheme).geturl()


def records(own: Path) -> str:
    """SQLAlchemy's address of Superset's records."""
    # Provisioning makes a new file beside its place and moves it there when it is whole.
    return database() or f"sqlite:///{own / os.environ.get('SUPERSET_RECORDS', 'superset.db')}?timeout=30"


def install() -> None:
    """Part of Superset's FLASK_APP_MUTATOR: in the file of the records readers and a writer do not wait for each other.

    Superset takes down three events with each chart, and a disk takes 15 ms to be sure of one. A power failure may take
    the last of them along, and never harms the file. A new file that will be moved to its place has no log beside it.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    from superset import db

    if "SUPERSET_RECORDS" not in os.environ:
        event.listen(Engine, "connect", _write_ahead)
    # Superset tries each connection before use; a file is there, and PostgreSQL's are tried as the pool hands them out.
    for listener in list(db.engine.dispatch.engine_connect):
        if listener.__name__ == "ping_connection":
            event.remove(db.engine, "engine_connect", listener)


def _write_ahead(connection: Any, _: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")


def engine_options() -> dict[str, Any]:
    """How connections to the records are kept: one for each thread.

    PostgreSQL's are tried before use, since servers restart. A file's would by themselves be opened for each request,
    which reads the whole schema anew.
    """
    from sqlalchemy.pool import QueuePool

    kept = {"pool_size": int(os.environ.get("FLEETMART_SERVER_THREADS") or 8), "max_overflow": 8}
    if database() is not None:
        return kept | {"pool_pre_ping": True}
    return kept | {"poolclass": QueuePool, "connect_args": {"check_same_thread": False}}


def results_cache(own: Path) -> dict[str, Any]:
    """Configuration of the cache of query results: by tenant and snapshot."""
    kept = {"CACHE_DEFAULT_TIMEOUT": int(RESULTS_KEPT.total_seconds())}
    if url := redis_url():
        # Keys of snapshots that are no longer current are never asked for again; they end with their time.
        return kept | {"CACHE_TYPE": "tenant_cache.RedisResults", "CACHE_KEY_PREFIX": "results", "CACHE_REDIS_URL": url}
    files = {"CACHE_DIR": str(own / "cache"), "CACHE_THRESHOLD": 5000}
    return kept | files | {"CACHE_TYPE": "tenant_cache.FileResults"}


def state_cache(name: str, days: int) -> dict[str, Any]:
    """Configuration of a cache of what people chose on a page, device names included: by tenant."""
    kept = {
        "CACHE_KEY_PREFIX": name,
        "CACHE_DEFAULT_TIMEOUT": int(timedelta(days=days).total_seconds()),
        "REFRESH_TIMEOUT_ON_RETRIEVAL": True,
    }
    if url := redis_url():
        return kept | {"CACHE_TYPE": "tenant_cache.RedisState", "CACHE_REDIS_URL": url}
    return kept | {"CACHE_TYPE": "tenant_records_cache.RecordsState"}


def limits() -> str:
    """Where attempts are counted: in one place for all processes, or in each of them."""
    return redis_url() or "memory://"


def check() -> None:
    """Prove that what the settings name serves.

    Raises ServiceError with what does not, and what to do.
    """
    for name, url, probe in ((DATABASE, database(), _ask_database), (REDIS, redis_url(), _ask_redis)):
        if url:
            _prove(name, url, probe)


def _prove(name: str, url: str, probe: Callable[[str], None]) -> None:
    from redis.exceptions import RedisError
    from sqlalchemy.exc import SQLAlchemyError

    parts = urlsplit(url)
    place = f"{parts.hostname}:{parts.port}{parts.path}" if parts.port else f"{parts.hostname}{parts.path}"
    try:
        probe(url)
    except (SQLAlchemyError, RedisError, OSError) as error:
        said = str(getattr(error, "orig", None) or error).strip().replace("\n", " ")
        raise ServiceError(
            f"{name}: {place} does not serve ({_without(parts.password, said)}). Start it, or correct the setting."
        ) from error


def _without(password: str | None, said: str) -> str:
    return said.replace(password, "***") if password else said


def _ask_database(url: str) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    options = {"connect_timeout": PATIENCE_SECONDS}
    with create_engine(url, poolclass=NullPool, connect_args=options).connect() as connection:
        may_create = "select coalesce(has_schema_privilege(current_schema(), 'create'), false)"
        if not connection.execute(may_create).scalar():
            raise ServiceError(f"{DATABASE}: its user may not make tables there. Grant it CREATE on its schema.")


def _ask_redis(url: str) -> None:
    import redis

    with redis.from_url(url) as client:
        client.ping()
