"""What people chose on a page, kept in Superset's records by tenant: a module of its own, since it needs Superset."""

from typing import Any
from uuid import UUID

from flask import Flask
from flask_caching import BaseCache
from sqlalchemy.exc import IntegrityError
from superset.extensions.metastore_cache import SupersetMetastoreCache
from superset.key_value.types import JsonKeyValueCodec
from tenant_cache import state_prefix

from superset import db


class RecordsState(SupersetMetastoreCache):
    """Superset's own cache in its records, whose keys begin with the caller's tenant."""

    @classmethod
    def factory(cls, app: Flask, config: dict[str, Any], args: list[Any], kwargs: dict[str, Any]) -> BaseCache:
        """What Flask-Caching makes it with; values are JSON, as in Superset's own configuration."""
        return super().factory(app, {**config, "CODEC": JsonKeyValueCodec()}, args, kwargs)

    def get_key(self, key: str) -> UUID:
        """The key in the records; raises UnknownCaller for a caller without a tenant."""
        return super().get_key(state_prefix() + key)

    def set(self, key: str, value: Any, timeout: int | None = None) -> bool:
        """Keep the value, in place of whatever is kept; of two requests that do so at once, neither fails."""
        try:
            return super().set(key, value, timeout)
        except IntegrityError:
            # The other's row was not there yet when Superset looked for one to change.
            db.session.rollback()
            return super().set(key, value, timeout)
