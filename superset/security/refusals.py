"""Who is told to log in first gets no new session with it.

The log-in page reports its events after a second, and is refused. When an answer to that comes later than the log-in's
own, a session in it would take the log-in's place, and log the person out again. So a refusal sets none; and only who
opens a page is sent to the log-in page, which does set one: a request from within a page is told 401.
"""

from urllib.parse import urlsplit

from flask import Flask, Response, request, session

LOG_IN = "/login"


def install(app: Flask) -> None:
    """Part of Superset's FLASK_APP_MUTATOR: refusals leave the session cookie as it is."""

    @app.after_request
    def keep_the_session(response: Response) -> Response:
        if request.path.startswith(LOG_IN):
            return response
        sent_to_log_in = urlsplit(response.location or "").path.startswith(LOG_IN)
        if sent_to_log_in or response.status_code == 401:
            session.modified = False
        if sent_to_log_in and not _opens_a_page():
            return Response("Log in first.", 401, mimetype="text/plain")
        return response


def _opens_a_page() -> bool:
    """Every browser says so of its requests; other callers take a page for what they are sent."""
    return request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
