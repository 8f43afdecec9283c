"""Passwords are not to be guessed: whoever failed too often waits, at the log-in page and at the API alike.

Superset's own limit counts the log-ins of the page only, good ones too. Here those count that failed: by address, by
name at one address, and by name, so that neither one machine nor many come to try more than a few.
"""

from typing import Any

from flask import Flask, Response, jsonify, make_response, request
from limits import RateLimitItem, parse
from white_label import message_page

LOG_INS = ("/login", "/login/local", "/api/v1/security/login")
PER_ADDRESS = parse("30 per 5 minutes")
PER_NAME_AND_ADDRESS = parse("10 per 5 minutes")
PER_NAME = parse("100 per hour")
TOLD = "Too many log-ins failed. Wait five minutes; if it was not you, tell your administrator."


def install(app: Flask) -> None:
    """Part of Superset's FLASK_APP_MUTATOR: the limits are kept where Superset's others are."""
    people = app.appbuilder.sm
    check_password = people.auth_user_db

    @app.before_request
    def refuse_who_failed_too_often() -> Response | None:
        if request.method != "POST" or request.path.rstrip("/") not in LOG_INS:
            return None
        counts = people.limiter.limiter
        if all(counts.test(limit, *keys) for limit, keys in _limits(given_name())):
            return None
        if request.is_json:
            return make_response(jsonify(message=TOLD), 429)
        return message_page(429, "Wait a moment", TOLD)

    def check_and_count(username: str, password: str) -> Any:
        user = check_password(username, password)
        if user is None:
            for limit, keys in _limits(username):
                people.limiter.limiter.hit(limit, *keys)
        return user

    people.auth_user_db = check_and_count


def given_name() -> str:
    """The log-in that a request of a log-in names; empty when it names none."""
    given = (request.get_json(silent=True) or {}) if request.is_json else request.form
    return str(given.get("username", "")) if hasattr(given, "get") else ""


def _limits(username: str) -> list[tuple[RateLimitItem, tuple[str, ...]]]:
    address, name = request.remote_addr or "", username.strip().casefold()[:100]
    return [
        (PER_ADDRESS, ("failed-log-ins", address)),
        (PER_NAME_AND_ADDRESS, ("failed-log-ins", address, name)),
        (PER_NAME, ("failed-log-ins-of", name)),
    ]
