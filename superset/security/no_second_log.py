"""Superset's own log of events would keep each request with all that was asked: statements, devices, typed words.

The audit record (audit.py) keeps who did what without any of it, so nothing is written here; and each request spares
Superset's records a write.
"""

from typing import Any

from superset.utils.log import AbstractEventLogger


class NoSecondLog(AbstractEventLogger):
    """Superset's EVENT_LOGGER: takes every event and keeps none."""

    def log_with_context(self, *arguments: Any, **named: Any) -> None:
        """Spare the work of reading the request, too."""

    def log(self, *arguments: Any, **named: Any) -> None:
        """Nothing."""
