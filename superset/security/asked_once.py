"""What somebody's roles permit is read from the records once in a request, whole: a chart asks seven times."""

from flask import g, has_request_context
from sqlalchemy import bindparam, text

HELD = text(
    """
    select distinct permission.name, thing.name
    from ab_permission_view_role as held
    join ab_permission_view as pair on pair.id = held.permission_view_id
    join ab_permission as permission on permission.id = pair.permission_id
    join ab_view_menu as thing on thing.id = pair.view_menu_id
    where held.role_id in :roles
    """
).bindparams(bindparam("roles", expanding=True))


class AskedOnce:
    """Put before Superset's security manager; what is read is kept until the request ends, for exactly these roles: a
    request that logs somebody in or changes which they have asks anew.
    """

    def exist_permission_on_roles(self, view_name: str, permission_name: str, role_ids: list[int]) -> bool:
        """Whether one of these roles permits this."""
        if not has_request_context():
            return super().exist_permission_on_roles(view_name, permission_name, role_ids)
        read = g.setdefault("permitted", {})
        roles = tuple(sorted(role_ids))
        if roles not in read:
            read[roles] = {tuple(row) for row in self.session.connection().execute(HELD, {"roles": roles})}
        return (permission_name, view_name) in read[roles]
