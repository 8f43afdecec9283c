"""What the last push made of the files, noted by Superset's records themselves: a restored backup tells its own.

By it a push knows that nothing has changed, without loading Superset, and tells what people changed of their own
log-ins from what the files changed.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Column, MetaData, String, Table, Text, create_engine, delete, insert, inspect, select
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.pool import NullPool

NOTES = Table(
    "fleetmart_pushed", MetaData(), Column("what", String(16), primary_key=True), Column("told", Text, nullable=False)
)


@dataclass(frozen=True)
class LastPush:
    """`inputs` is the fingerprint of all files, None before the first push; `log_ins` holds one of each log-in."""

    key: bytes = field(repr=False)
    inputs: str | None = None
    log_ins: dict[str, str] = field(default_factory=dict)
    personas: tuple[str, ...] = ()

    @classmethod
    def of(cls, url: str, key: str) -> "LastPush":
        """What the records at this address tell; `key` keeps passwords from being guessed by their fingerprints."""
        told = {what: json.loads(value) for what, value in _rows(url)}
        personas = tuple(told.get("personas", ()))
        return cls(key.encode(), told.get("inputs"), told.get("log_ins", {}), personas)

    def set_up(self, user: dict[str, str]) -> bool:
        """Whether the log-in is what it was when it was last set up in Superset."""
        return hmac.compare_digest(self.log_ins.get(user["username"], ""), self._fingerprint(user))

    def note(
        self, connection: Connection, inputs: str, users: Iterable[dict[str, str]], personas: Iterable[str]
    ) -> None:
        """Note what stands when this connection's transaction is committed."""
        log_ins = {user["username"]: self._fingerprint(user) for user in users}
        if (inputs, log_ins, tuple(sorted(personas))) == (self.inputs, self.log_ins, self.personas):
            return
        told = {"inputs": inputs, "log_ins": log_ins, "personas": sorted(personas)}
        NOTES.create(connection, checkfirst=True)
        connection.execute(delete(NOTES))
        connection.execute(insert(NOTES), [{"what": what, "told": json.dumps(value)} for what, value in told.items()])

    def _fingerprint(self, user: dict[str, str]) -> str:
        return hmac.new(self.key, json.dumps(user, sort_keys=True).encode(), hashlib.sha256).hexdigest()


def _rows(url: str) -> list[Any]:
    place = make_url(url)
    # Opening it would make the file.
    if place.get_backend_name() == "sqlite" and not Path(place.database).exists():
        return []
    with create_engine(url, poolclass=NullPool).connect() as connection:
        if not inspect(connection).has_table(NOTES.name):
            return []
        return connection.execute(select(NOTES)).fetchall()
