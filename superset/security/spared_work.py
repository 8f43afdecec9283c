"""What Superset works out anew for each question though it comes out the same, is worked out once or more cheaply.

Each saves a part of what pages and charts' answers were measured to take; none changes one.
"""

import functools
from typing import Any


def install() -> None:
    """Part of Superset's FLASK_APP_MUTATOR; once in a process, however many applications it makes."""
    _do_not_ask_git()
    _keep_engine_specs()
    _keep_reserved_words()
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


def _keep_reserved_words() -> None:
    """DuckDB's are asked for with every engine, and each question has engines of its own: a seventh of its time."""
    from duckdb_engine import Dialect, DuckDBIdentifierPreparer
    from sqlalchemy.dialects.postgresql.base import PGIdentifierPreparer

    words = frozenset(Dialect().identifier_preparer.reserved_words)

    def with_known_words(self: Any, *arguments: Any, **named: Any) -> None:
        PGIdentifierPreparer.__init__(self, *arguments, **named)
        self.reserved_words = words

    DuckDBIdentifierPreparer.__init__ = with_known_words


def _average_as_pandas_does() -> None:
    """Superset hands pandas a function that it has to call for each point of a line; by its name pandas averages all of
    them at once.
    """
    import numpy
    from superset.utils.pandas_postprocessing import utils

    def function_or_name(function: Any, **options: Any) -> Any:
        return "mean" if function is numpy.mean and not options else functools.partial(function, **options)

    utils.partial = function_or_name
