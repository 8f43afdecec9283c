"""Superset's security manager, with what this product decides otherwise."""

from typing import Any, NoReturn

import jwt
import own_records
from asked_once import AskedOnce
from embed_tokens import claims_of
from flask import current_app, g
from guest_queries import complaint
from oidc import OidcMixin
from sqlalchemy import select
from superset.errors import ErrorLevel, SupersetError, SupersetErrorType
from superset.exceptions import SupersetSecurityException
from tenancy import ROLE_PREFIX

from superset.security import SupersetSecurityManager

GUEST = "guest"


class FleetmartSecurityManager(AskedOnce, OidcMixin, SupersetSecurityManager):
    """Log-in through an identity provider, where the settings name one.

    Guests: only our own tokens make one, and it opens its tenant's one dashboard, as it is.
    """

    def load_user(self, pk: int) -> Any:
        """The person that a session or a token names: read before it is known whose records may be read."""
        with own_records.as_nobodys():
            return super().load_user(pk)

    def parse_jwt_guest_token(self, raw_token: str) -> dict[str, Any]:
        """The claims of a token of ours, whose tenant is still served.

        Raises jwt.InvalidTokenError for any other.
        """
        claims = claims_of(raw_token, current_app.config["GUEST_TOKEN_JWT_SECRET"])
        if not self.find_role(ROLE_PREFIX + claims["tenant"]) or not self.find_role(GUEST):
            raise jwt.InvalidTokenError("This tenant is not served here any more.")
        return claims

    def get_guest_user_from_token(self, token: Any) -> Any:
        """A guest with the roles of guests and of its tenant, by which its queries find the tenant's file."""
        roles = [self.find_role(GUEST), self.find_role(ROLE_PREFIX + token["tenant"])]
        return self.guest_user_cls(token=token, roles=roles)

    def has_guest_access(self, dashboard: Any) -> bool:
        """Whether the guest's token is for this dashboard; each has one address per tenant."""
        guest = self.get_current_guest_user_if_guest()
        return bool(guest) and guest.resources[0]["id"] in {str(one.uuid) for one in dashboard.embedded}

    def has_drill_access(self, form_data: Any, dashboard: Any, datasource: Any) -> bool:
        """Guests see the charts as they are: drilling would read any column of their datasets."""
        return not self.is_guest_user() and super().has_drill_access(form_data, dashboard, datasource)

    def can_drill_dataset_via_dashboard_access(self, dataset: Any, dashboard: Any) -> bool:
        """As above."""
        return not self.is_guest_user() and super().can_drill_dataset_via_dashboard_access(dataset, dashboard)

    def raise_for_access(self, *args: Any, **kwargs: Any) -> None:
        """As Superset decides, and a dashboard that is for some roles only is for nobody else.

        A guest opens its dashboard only, and makes only the queries that this makes.
        """
        if self.is_guest_user():
            query_context = kwargs.get("query_context")
            if query_context is None and kwargs.get("dashboard") is None:
                _refuse("A guest sees its dashboard only.")
            if query_context is not None and (why_not := complaint(query_context, self._dashboard_of_guest())):
                _refuse(why_not)
        elif kwargs.get("dashboard") is not None and not self._is_for_caller(kwargs["dashboard"]):
            _refuse("This dashboard is for others.")
        super().raise_for_access(*args, **kwargs)

    def _is_for_caller(self, dashboard: Any) -> bool:
        """Asked of the records: a caller is not told of other tenants' roles, so Superset finds none on a dashboard."""
        from superset.models.dashboard import DashboardRoles

        from superset import db

        named = select(DashboardRoles.c.role_id).where(DashboardRoles.c.dashboard_id == dashboard.id)
        limited = set(db.session.connection().execute(named).scalars())
        return not limited or self.is_admin() or bool(limited & {role.id for role in self.get_user_roles()})

    def _dashboard_of_guest(self) -> Any:
        from superset.daos.dashboard import EmbeddedDashboardDAO

        found = EmbeddedDashboardDAO.find_by_id(g.user.resources[0]["id"])
        return found.dashboard if found else _refuse("This dashboard is embedded no more.")


def _refuse(why: str) -> NoReturn:
    raise SupersetSecurityException(
        SupersetError(
            message=why, error_type=SupersetErrorType.DASHBOARD_SECURITY_ACCESS_ERROR, level=ErrorLevel.WARNING
        )
    )


def only_ours(asked: dict[str, Any]) -> bool:
    """Superset's GUEST_TOKEN_VALIDATOR_HOOK: its own endpoint, which would take any claims, mints nothing."""
    return False
