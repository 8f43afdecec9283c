"""People's names stay within a tenant: lists of users and roles show a caller's own tenant only."""

from typing import Any

from tenancy import ROLE_PREFIX, UnknownCaller, current_user, roles_of, tenant_of_user


def same_tenant_users(query: Any) -> Any:
    """Limit a list of users to the caller's tenant; administrators see all."""
    from superset import security_manager

    if security_manager.is_admin():
        return query
    model = security_manager.user_model
    return query.filter(model.roles.any(name=_own_tenant_role()))


def own_roles(query: Any) -> Any:
    """Limit a list of roles to those that the caller holds; administrators see all."""
    from superset import security_manager

    if security_manager.is_admin():
        return query
    return query.filter(security_manager.role_model.name.in_(roles_of(current_user())))


def _own_tenant_role() -> str:
    try:
        return ROLE_PREFIX + tenant_of_user(current_user())
    except UnknownCaller:
        return ""
