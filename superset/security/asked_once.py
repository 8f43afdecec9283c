"""What somebody's roles permit is read from the records once in a request, whole: a page asks twelve times, a chart
seven. Who asks is read with its roles, in one statement.
"""

from types import SimpleNamespace
from typing import Any

from flask import g, has_request_context
from sqlalchemy import bindparam, text
from sqlalchemy.orm import joinedload

HELD = """
    ab_permission_view_role as held
    join ab_permission_view as pair on pair.id = held.permission_view_id
    join ab_permission as permission on permission.id = pair.permission_id
    join ab_view_menu as thing on thing.id = pair.view_menu_id
    """
PERMITTED = text(
    f"select held.role_id, permission.name, thing.name from {HELD} where held.role_id in :roles"
).bindparams(bindparam("roles", expanding=True))

PERMITTED_TO_ALL = text(
    f"select permission.name, thing.name from {HELD} join ab_role as role on role.id = held.role_id "
    "where role.name = :public"
)


class AskedOnce:
    """Put before Superset's security manager; what is read is kept until the request ends, for exactly these roles: a
    request that logs somebody in or changes which they have asks anew.
    """

    def get_user_by_id(self, pk: int) -> Any:
        """The person of this number with its roles, its groups and theirs; None when there is none."""
        person = self.user_model
        with_roles = joinedload(person.roles), joinedload(person.groups).joinedload(self.group_model.roles)
        return self.session.get(person, pk, options=with_roles)

    def exist_permission_on_roles(self, view_name: str, permission_name: str, role_ids: list[int]) -> bool:
        """Whether one of these roles permits this."""
        if not has_request_context():
            return super().exist_permission_on_roles(view_name, permission_name, role_ids)
        return any((permission_name, view_name) in permitted for permitted in self._permitted(role_ids).values())

    def is_item_public(self, permission_name: str, view_name: str) -> bool:
        """Whether everybody may do this, known or not; each interface asks for it before it asks who the caller is."""
        if not has_request_context():
            return super().is_item_public(permission_name, view_name)
        if "permitted_to_all" not in g:
            found = self.session.connection().execute(PERMITTED_TO_ALL, {"public": self.auth_role_public})
            g.permitted_to_all = {tuple(pair) for pair in found}
        return (permission_name, view_name) in g.permitted_to_all

    def find_roles_permission_view_menus(self, permission_name: str, role_ids: list[int]) -> list[Any]:
        """The things that one of these roles permits this on, each with the name by which the menu asks for it."""
        if not has_request_context():
            return super().find_roles_permission_view_menus(permission_name, role_ids)
        return [SimpleNamespace(view_menu=SimpleNamespace(name=one)) for one in self._things(permission_name, role_ids)]

    def user_view_menu_names(self, permission_name: str) -> set[str]:
        """Names of the things that the caller's roles permit this on."""
        if not has_request_context() or self.is_guest_user() or g.user.is_anonymous:
            return super().user_view_menu_names(permission_name)
        return self._things(permission_name, [role.id for role in self.get_user_roles()])

    def get_user_roles_permissions(self, user: Any) -> dict[str, list[tuple[str, str]]]:
        """By each of the user's roles what it permits on what, for what pages are told."""
        roles = self.get_user_roles(user)
        if not has_request_context() or not roles or any(role.name in self.builtin_roles for role in roles):
            return super().get_user_roles_permissions(user)
        permitted = self._permitted([role.id for role in roles])
        return {role.name: sorted(permitted[role.id]) for role in roles}

    def _things(self, permission_name: str, role_ids: list[int]) -> set[str]:
        permitted = self._permitted(role_ids).values()
        return {thing for one in permitted for permission, thing in one if permission == permission_name}

    def _permitted(self, role_ids: list[int]) -> dict[int, set[tuple[str, str]]]:
        """By role, names of permissions and of the things that they are for."""
        read = g.setdefault("permitted", {})
        roles = tuple(sorted({*role_ids}))
        if roles not in read:
            read[roles] = {role: set() for role in roles}
            for role, permission, thing in self.session.connection().execute(PERMITTED, {"roles": roles}):
                read[roles][role].add((permission, thing))
        return read[roles]
