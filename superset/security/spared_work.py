"""What Superset works out anew for each question though it comes out the same, is worked out once or more cheaply.

Each saves a part of what pages and charts' answers were measured to take; none changes one.
"""

import functools
import pickle
import time
from typing import Any

from tenancy import SCHEMA

# Texts and addresses of which the outcome is kept in each process: all dashboards of some dozens of tenants.
KEPT, LONGEST_KEPT = 4096, 10_000
EXPIRY_SECONDS = 30


def install() -> None:
    """Part of Superset's FLASK_APP_MUTATOR; once in a process, however many applications it makes."""
    _do_not_ask_git()
    _keep_engine_specs()
    _expire_counts_seldom()
    _keep_reserved_words()
    _know_the_schema()
    _keep_addresses()
    _keep_what_was_parsed()
    _average_as_pandas_does()


def _do_not_ask_git() -> None:
    """Each page runs git for the branch of whatever folder the server was started in, and tells it: a quarter of its
    time, and nobody's business.
    """
    from superset.utils import version

    version._get_local_branch = lambda: None


def _keep_engine_specs() -> None:
    """Every page reads the metadata of all installed packages for it, and none comes while a server runs."""
    from superset.views import base

    if not hasattr(base.get_available_engine_specs, "cache_info"):
        base.get_available_engine_specs = functools.cache(base.get_available_engine_specs)


def _expire_counts_seldom() -> None:
    """Every request is counted, and started a thread to look for counts that have run out: a twentieth of its time. Who
    asks for a count is told the right one all the same.
    """
    from limits.storage import MemoryStorage

    schedule = MemoryStorage._MemoryStorage__schedule_expiry
    if hasattr(schedule, "each_time"):
        return

    def seldom(self: Any) -> None:
        now = time.monotonic()
        if now - getattr(self, "looked_through", -EXPIRY_SECONDS) >= EXPIRY_SECONDS:
            self.looked_through = now
            schedule(self)

    seldom.each_time = schedule
    MemoryStorage._MemoryStorage__schedule_expiry = seldom


def _keep_reserved_words() -> None:
    """DuckDB's are asked for with every engine, and each question has engines of its own: a seventh of its time."""
    from duckdb_engine import Dialect, DuckDBIdentifierPreparer
    from sqlalchemy.dialects.postgresql.base import PGIdentifierPreparer

    words = frozenset(Dialect().identifier_preparer.reserved_words)

    def with_known_words(self: Any, *arguments: Any, **named: Any) -> None:
        PGIdentifierPreparer.__init__(self, *arguments, **named)
        self.reserved_words = words

    DuckDBIdentifierPreparer.__init__ = with_known_words


def _know_the_schema() -> None:
    """A tenant's tables all lie in one schema (tenancy.py). Every engine asks for it as it connects, and questions
    about a dataset of SQL make two engines for nothing else: a fifth of their time.
    """
    from duckdb_engine import Dialect
    from superset.db_engine_specs.duckdb import DuckDBEngineSpec

    Dialect._get_default_schema_name = lambda self, connection: SCHEMA
    DuckDBEngineSpec.get_default_schema = classmethod(lambda cls, database, catalog: SCHEMA)


def _keep_addresses() -> None:
    """The database's address is taken apart a dozen times for each question."""
    from superset.models import core

    if not hasattr(core.make_url_safe, "cache_info"):
        core.make_url_safe = functools.lru_cache(KEPT)(core.make_url_safe)


def _keep_what_was_parsed() -> None:
    """A question is parsed again for every tenant and after each publish; whoever asks gets a copy to change."""
    from superset.sql.parse import SQLStatement

    parse = SQLStatement._parse
    if hasattr(parse, "anew"):
        return
    # Twenty times smaller than what it stands for, and faster to make anew than that is to copy.
    kept = functools.lru_cache(KEPT)(lambda script, engine: pickle.dumps(parse(script, engine)))

    def parsed(script: str, engine: str) -> list[Any]:
        return parse(script, engine) if len(script) > LONGEST_KEPT else pickle.loads(kept(script, engine))

    parsed.anew = parse
    SQLStatement._parse = staticmethod(parsed)


def _average_as_pandas_does() -> None:
    """Superset hands pandas a function that it has to call for each point of a line; by its name pandas averages all of
    them at once.
    """
    import numpy
    from superset.utils.pandas_postprocessing import utils

    def function_or_name(function: Any, **options: Any) -> Any:
        return "mean" if function is numpy.mean and not options else functools.partial(function, **options)

    utils.partial = function_or_name
