"""Sessions are kept on the server: a log-out, a changed password and the end of their time end them, wherever they were
copied to; and of two answers to one session neither undoes the other.

The cookie holds a random number only. Beside a session's content lie two marks of their own, so that noting one never
writes the content: `seen`, when it was used last, and `ended`, that nobody may use it again.
"""

import hashlib
import hmac
import time
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import services
from cachelib.file import FileSystemCache
from flask import Flask, Request, Response, current_app, g, jsonify, request, session
from flask_login import current_user, logout_user, user_logged_in, user_logged_out

# From the log-in on, and without any request.
LONGEST = timedelta(hours=12)
IDLE = timedelta(hours=2)
# A visitor's who did not log in; they are the first to go where there are too many.
VISITOR = timedelta(hours=1)
SEEN_EVERY_SECONDS = 60
MOST_FILES = 30_000
# Where people change their own password: this session goes on, their others end.
OWN_PASSWORD = ("/resetmypassword/", "/api/v1/me/")


def kept(own: Path) -> dict[str, Any]:
    """Configuration that keeps sessions in Redis where the settings name one, else in files of the home."""
    if url := services.redis_url():
        from redis import Redis

        at = Redis.from_url(url)
        return {"SESSION_TYPE": "redis", "SESSION_REDIS": at, "SESSION_KEY_PREFIX": "fleetmart.session."}
    return in_files(own)


def in_files(own: Path) -> dict[str, Any]:
    """Configuration that keeps sessions in files of the home."""
    folder = own / "sessions"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return {"SESSION_TYPE": "cachelib", "SESSION_CACHELIB": FileSystemCache(str(folder), MOST_FILES, mode=0o600)}


class Renewed:
    """Put before any class of Flask-Session: what it keeps begins and ends by the rules of this module."""

    def open_session(self, app: Flask, request: Request) -> Any:
        """The session of the request's cookie, or a new one when there is none that goes on."""
        opened = super().open_session(app, request)
        if not self._goes_on(opened):
            opened = self.session_class(sid=self._generate_sid(self.sid_length), permanent=self.permanent)
        opened.loaded = deepcopy(dict(opened))
        return opened

    def save_session(self, app: Flask, session: Any, response: Response) -> None:
        """Keep what this request changed, and only that; nothing of a session that was ended meanwhile."""
        if session and session.modified:
            if self._mark("ended", session.sid):
                return
            self._merge_into_kept(session)
        super().save_session(app, session, response)

    def should_set_cookie(self, app: Flask, session: Any) -> bool:
        """Once: a late answer that set it again could take a log-in's place."""
        return session.modified and session.sid != request.cookies.get(self.get_cookie_name(app))

    def renew(self, session: Any) -> None:
        """Go on under a new number: whoever knew the old one before the log-in does not know this one."""
        self.end(session)
        session.sid = self._generate_sid(self.sid_length)
        session.loaded = {}
        session["begun"] = time.time()
        self._set_mark("seen", session.sid, IDLE)

    def end(self, session: Any) -> None:
        """Let nobody use this session again, not even a request that is on its way."""
        self._set_mark("ended", session.sid, LONGEST)
        self._delete_session(self._get_store_id(session.sid))

    def _goes_on(self, opened: Any) -> bool:
        if not opened:
            return True
        if self._mark("ended", opened.sid):
            return False
        if "_user_id" not in opened:
            return True
        seen, now = self._mark("seen", opened.sid), time.time()
        if seen is None or now - opened.get("begun", 0) > LONGEST.total_seconds():
            return False
        if now - seen > SEEN_EVERY_SECONDS:
            self._set_mark("seen", opened.sid, IDLE)
        return True

    def _merge_into_kept(self, session: Any) -> None:
        """Two requests of one page come at the same time: each leaves the other's changes as they are."""
        kept = self._retrieve_session_data(self._get_store_id(session.sid)) or {}
        ours = dict(session)
        for key, value in kept.items():
            untouched = key in ours and ours[key] == session.loaded.get(key)
            added_meanwhile = key not in ours and key not in session.loaded
            if untouched or added_meanwhile:
                session[key] = value

    def _upsert_session(self, session_lifetime: timedelta, session: Any, store_id: str) -> None:
        lasts = session_lifetime if "_user_id" in session or "at" in session else VISITOR
        super()._upsert_session(lasts, session, store_id)

    def _mark(self, name: str, sid: str) -> float | None:
        found = self._retrieve_session_data(f"{self.key_prefix}{name}:{sid}")
        return found["at"] if found else None

    def _set_mark(self, name: str, sid: str, lasts: timedelta) -> None:
        self._upsert_session(lasts, {"at": time.time()}, f"{self.key_prefix}{name}:{sid}")


def install(app: Flask) -> None:
    """Part of Superset's FLASK_APP_MUTATOR, after Flask-Session chose where sessions are kept."""
    kept = app.session_interface
    kept.__class__ = type("RenewedSessions", (Renewed, type(kept)), {})
    user_logged_in.connect(_begin, app)
    user_logged_out.connect(_end, app)
    app.before_request(_end_what_a_new_password_ended)
    app.after_request(_go_on_with_the_new_password)
    tokens = app.appbuilder.sm.jwt_manager
    tokens.additional_claims_loader(lambda identity: {"seal": _seal(app.appbuilder.sm.load_user(identity))})
    tokens.token_verification_loader(_is_of_the_present_password)
    tokens.token_verification_failed_loader(lambda header, claims: (jsonify(message="Log in again."), 401))


def _begin(app: Flask, user: Any) -> None:
    app.session_interface.renew(session)
    session["seal"] = _seal(user)


def _end(app: Flask, user: Any) -> None:
    app.session_interface.end(session)
    session.clear()


def _end_what_a_new_password_ended() -> None:
    """A session, too, of somebody who is no longer active: nobody is logged in by it, so it has no right seal."""
    if request.endpoint == "static" or "_user_id" not in session:
        return
    if not (current_user.is_authenticated and _is_same(session.get("seal"), _seal(current_user))):
        logout_user()
        g.user = current_user


def _go_on_with_the_new_password(response: Response) -> Response:
    changes = request.method in ("POST", "PUT") and request.path.startswith(OWN_PASSWORD)
    if changes and "_user_id" in session and current_user.is_authenticated:
        session["seal"] = _seal(current_user)
    return response


def _is_of_the_present_password(header: dict[str, Any], claims: dict[str, Any]) -> bool:
    return _is_same(claims.get("seal"), _seal(current_app.appbuilder.sm.load_user(claims["sub"])))


def _seal(user: Any) -> str:
    """What changes with the password, and says nothing of it; none for nobody."""
    if user is None:
        return ""
    content = f"{user.id}:{user.password}".encode()
    return hmac.new(str(current_app.secret_key).encode(), content, hashlib.sha256).hexdigest()


def _is_same(given: str | None, wanted: str) -> bool:
    return bool(given) and hmac.compare_digest(given, wanted)
