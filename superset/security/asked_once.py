"""The same question about somebody's permissions is put to the records once in a request: a chart asks some often."""

from typing import Any

from flask import g, has_request_context


class AskedOnce:
    """Put before Superset's security manager; answers are kept until the request ends, for exactly who was asked of."""

    def _has_view_access(self, user: Any, permission_name: str, view_name: str) -> bool:
        if not has_request_context():
            return super()._has_view_access(user, permission_name, view_name)
        # Roles too: a request that logs somebody in or changes what they hold asks anew.
        roles = tuple(role.id for role in self.get_user_roles(user))
        answers = g.setdefault("permission_answers", {})
        asked = (roles, permission_name, view_name)
        if asked not in answers:
            answers[asked] = super()._has_view_access(user, permission_name, view_name)
        return answers[asked]
