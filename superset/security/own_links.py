"""A link to a filtered dashboard, a chart or a statement opens for its maker's own tenant: it holds what was chosen.

Superset's links are numbers in disguise, so they can be tried one after the other, and any dashboard that both may open
would show the names of devices that another tenant filtered by.
"""

from typing import Any

from flask import Flask
from tenancy import UnknownCaller, current_user, tenant_of_user


def install(app: Flask) -> None:
    """Part of Superset's FLASK_APP_MUTATOR: links of others are not there."""
    from superset.daos.key_value import KeyValueDAO
    from superset.key_value.types import KeyValueResource

    links = {
        KeyValueResource.DASHBOARD_PERMALINK,
        KeyValueResource.EXPLORE_PERMALINK,
        KeyValueResource.SQLLAB_PERMALINK,
    }
    value_of = KeyValueDAO.get_value

    def own_value(resource: KeyValueResource, key: Any, codec: Any) -> Any:
        if resource in links and not _is_own(KeyValueDAO.get_entry(resource, key)):
            return None
        return value_of(resource, key, codec)

    KeyValueDAO.get_value = staticmethod(own_value)


def _is_own(link: Any) -> bool:
    try:
        return link is not None and tenant_of_user(link.created_by) == tenant_of_user(current_user())
    except UnknownCaller:
        return False
