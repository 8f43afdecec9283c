"""Whose dashboard a framed page shows: its address says so, before any token is there."""

from embedding import dashboards_of, embedded_uuid
from flask import current_app, g, request
from tenancy import ROLE_PREFIX

FRAMED = "/embedded/"


def tenant_of_page() -> str | None:
    """The tenant whose dashboard stands at this request's `/embedded/<uuid>`; None when it is nobody's."""
    if not request.path.startswith(FRAMED):
        return None
    if "tenant_of_page" not in g:
        secret = current_app.config["GUEST_TOKEN_JWT_SECRET"]
        pairs = [(tenant_id, slug) for tenant_id in _tenants() for slug in dashboards_of(tenant_id)]
        addresses = {embedded_uuid(secret, *pair): pair[0] for pair in pairs}
        g.tenant_of_page = addresses.get(request.path.removeprefix(FRAMED))
    return g.tenant_of_page


def _tenants() -> list[str]:
    """Everybody whom Superset knows as a tenant."""
    from superset import db, security_manager

    name = security_manager.role_model.name
    return [role.removeprefix(ROLE_PREFIX) for (role,) in db.session.query(name).filter(name.startswith(ROLE_PREFIX))]
