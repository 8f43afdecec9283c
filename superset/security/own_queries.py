"""A statement that somebody ran is its author's: by its key alone Superset exports, streams and stops anybody's.

What it exports would be the caller's own rows, but of another's statement: its columns, its conditions, its names.
"""

from typing import Any

from flask import Flask


def install(app: Flask) -> None:
    """Part of Superset's FLASK_APP_MUTATOR: queries of others are not there."""
    from superset.daos import query as queries
    from superset.errors import ErrorLevel, SupersetError, SupersetErrorType
    from superset.exceptions import SupersetSecurityException
    from superset.models.sql_lab import Query
    from superset.utils.core import get_user_id

    from superset import db

    raise_for_access, stop = Query.raise_for_access, queries.QueryDAO.stop_query

    def own_only(query: Query) -> None:
        if query.user_id != get_user_id():
            said = "This is not a query of yours."
            kind = SupersetErrorType.QUERY_SECURITY_ACCESS_ERROR
            raise SupersetSecurityException(SupersetError(message=said, error_type=kind, level=ErrorLevel.ERROR))
        raise_for_access(query)

    def stop_own(client_id: str) -> Any:
        if not db.session.query(Query).filter_by(client_id=client_id, user_id=get_user_id()).first():
            raise queries.QueryNotFoundException("You run no query of this key.")
        return stop(client_id)

    Query.raise_for_access = own_only
    queries.QueryDAO.stop_query = staticmethod(stop_own)
