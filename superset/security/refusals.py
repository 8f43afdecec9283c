"""Who is told to log in first gets no new session with it.

The log-in page reports its events after a second, and is refused. When that answer comes later than the log-in's own,
a session in it would take the log-in's place, and log the person out again.
"""

from urllib.parse import urlsplit

from flask import Flask, Response, request, session

LOG_IN = "/login"


def install(app: Flask) -> None:
    """Part of Superset's FLASK_APP_MUTATOR: refusals leave the session cookie as it is."""

    @app.after_request
    def keep_the_session(response: Response) -> Response:
        sent_to_log_in = urlsplit(response.location or "").path.startswith(LOG_IN)
        if (sent_to_log_in or response.status_code == 401) and not request.path.startswith(LOG_IN):
            session.modified = False
        return response
