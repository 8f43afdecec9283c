"""Push roles and log-ins: personas as roles.yml has them, tenants, and the people of credentials.json."""

import secrets
from typing import Any

from declared_roles import declared_roles, permissions_of
from last_push import LastPush
from own_records import PRODUCT_ACCOUNT
from superset_session import ProvisionError, say, set_list
from tenancy import OPERATOR, ROLE_PREFIX


def make_roles(users: list[dict[str, str]], last: LastPush) -> None:
    """Persona roles hold exactly what roles.yml lists; tenant roles hold nothing and name a tenant.

    Raises ProvisionError for a permission that Superset does not know.
    """
    from present_state import is_of_data

    from superset import db, security_manager

    declared = declared_roles()
    for persona in declared["personas"]:
        role = security_manager.add_role(persona)
        listed = [_known_permission(*pair) for pair in permissions_of(declared, persona)]
        set_list(role, "permissions", listed + [held for held in role.permissions if is_of_data(held)])
    for tenant in {user["tenant"] for user in users}:
        set_list(security_manager.add_role(ROLE_PREFIX + tenant), "permissions", [])
    for persona in set(last.personas) - declared["personas"].keys():
        if role := security_manager.find_role(persona):
            db.session.delete(role)


def _known_permission(permission: str, view: str) -> Any:
    from superset import security_manager

    found = security_manager.find_permission_view_menu(permission, view)
    if found is None:
        raise ProvisionError(f"roles.yml names [{permission}, {view}], which Superset does not know. Correct it.")
    return found


def make_users(users: list[dict[str, str]], last: LastPush) -> None:
    """Log-ins of credentials.json: made, set up anew when they changed there, and always of their own tenant alone.

    What people changed themselves since, and accounts that others made, stay as they are; only who was named once and
    is no more, or is of a tenant that has left, gets in no longer.
    """
    from present_state import is_from_the_files, tenants_of

    from superset import security_manager

    say(f"{len(users)} users")
    named, tenants = {user["username"] for user in users}, {user["tenant"] for user in users}
    for account in security_manager.get_all_users():
        own = tenants_of(account)
        if account.username not in named and (is_from_the_files(account) or (own and not tenants & set(own))):
            account.active = False
    for user in users:
        account = security_manager.find_user(username=user["username"])
        if account is None or not last.set_up(user):
            _set_up(user, account)
        elif tenants_of(account) != [user["tenant"]]:
            account.groups = [group for group in account.groups if not _names_a_tenant(group.roles)]
            kept = [role for role in account.roles if not _names_a_tenant([role])]
            account.roles = [*kept, security_manager.find_role(ROLE_PREFIX + user["tenant"])]


def _names_a_tenant(roles: list[Any]) -> bool:
    return any(role.name.startswith(ROLE_PREFIX) for role in roles)


def _set_up(user: dict[str, str], account: Any) -> None:
    from present_state import address_of
    from werkzeug.security import check_password_hash

    from superset import security_manager

    roles = [security_manager.find_role(name) for name in _role_names(user)]
    if account is None:
        first, last = _shown_name(user)
        address = address_of(user["username"])
        account = security_manager.add_user(user["username"], first, last, address, roles, user["password"])
        if not account:
            raise ProvisionError(f"User {user['username']} could not be made; Superset's log above says why.")
        return
    account.active, account.roles, account.groups = True, roles, []
    # A new hash of the same password would end everybody's sessions.
    if not check_password_hash(account.password, user["password"]):
        security_manager.reset_password(account.id, user["password"])


def _role_names(user: dict[str, str]) -> list[str]:
    persona = "Admin" if user["role"] == "admin" else user["role"]
    return [persona, ROLE_PREFIX + user["tenant"]]


def _shown_name(user: dict[str, str]) -> tuple[str, str]:
    """First and last name: whoever looks at an asset's history sees the product, no person."""
    if user["role"] == "admin":
        return "Fleetmart", "Administrator"
    return user["role"].replace("-", " ").capitalize(), user["tenant"].replace("-", " ").title()


def log_in_as_the_product() -> None:
    """Imports are of the product's own account, which nobody logs in as; they open the operator's snapshot.

    Raises ProvisionError when the account cannot be made.
    """
    from flask import g
    from present_state import address_of

    from superset import security_manager

    roles = [security_manager.find_role(name) for name in ("Admin", ROLE_PREFIX + OPERATOR)]
    account = security_manager.find_user(username=PRODUCT_ACCOUNT)
    if account is None:
        address, password = address_of(PRODUCT_ACCOUNT), secrets.token_urlsafe(48)
        account = security_manager.add_user(PRODUCT_ACCOUNT, "Fleetmart", "", address, roles, password)
        if not account:
            raise ProvisionError(f"The account {PRODUCT_ACCOUNT} could not be made; Superset's log above says why.")
    account.active = False
    set_list(account, "roles", roles)
    g.user = account
