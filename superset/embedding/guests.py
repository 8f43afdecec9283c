"""What a guest, who comes with a token from a host product, reaches: the few addresses that a framed page asks.

A guest has no session, and a framed page makes none: whoever is logged in beside it stays logged in, and is never taken
for the guest.
"""

from typing import Any

from flask import Flask, Request, Response, jsonify, request
from flask.sessions import SessionMixin
from flask_login import current_user
from framed_tenant import FRAMED

HEADER = "X-GuestToken"
# Reading the one dashboard, its charts' data, and telling the log; everything else is closed, whatever a role may.
REACHED = {
    "embedding.framed_page",
    "CurrentUserRestApi.get_my_roles",
    "SecurityRestApi.csrf_token",
    "DashboardRestApi.get",
    "DashboardRestApi.get_charts",
    "DashboardRestApi.get_datasets",
    "DashboardRestApi.get_tabs",
    "ChartDataRestApi.data",
    "Api.time_range",
    "Superset.log",
    "Superset.language_pack",
    "static",
    "appbuilder.static",
}


def install(app: Flask) -> None:
    """Part of Superset's FLASK_APP_MUTATOR, its last: guests have no session, and a closed list of addresses."""
    from superset.embedded import view

    # Superset logs nobody in for this page, which logs out whoever is; here there is nobody anyway.
    view.login_user = lambda *user, **how: True
    app.session_interface = NoSessionForGuests(app.session_interface)

    @app.before_request
    def closed_to_guests() -> tuple[Response, int] | None:
        if HEADER not in request.headers and "guest_token" not in request.form:
            return None
        if not getattr(current_user, "is_guest_user", False):
            return jsonify(message="This guest token is not valid, or no longer."), 401
        if request.endpoint not in REACHED and not (request.endpoint or "").startswith("brand."):
            return jsonify(message="An embedded page does not reach this."), 403
        return None


class NoSessionForGuests:
    """The sessions as configured, but none for a request of a guest or for a framed page."""

    def __init__(self, sessions: Any) -> None:
        self._sessions = sessions

    def open_session(self, app: Flask, asked: Request) -> SessionMixin | None:
        if _is_without(asked):
            asked = app.request_class({key: value for key, value in asked.environ.items() if key != "HTTP_COOKIE"})
        return self._sessions.open_session(app, asked)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if not _is_without(request):
            self._sessions.save_session(app, session, response)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sessions, name)


def _is_without(asked: Request) -> bool:
    return HEADER in asked.headers or asked.path.startswith(FRAMED)
