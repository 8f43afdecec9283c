"""Pages of Superset that are none of this product's.

Versions help to find a way in, nobody registers here, and no address of ours leads on to others' sites. Charts are made
of datasets: of a saved query, Superset's own interface breaks off.
"""

from flask import Flask, Response, jsonify, request
from white_label import message_page

CLOSED = {"/static/version_info.json", "/version", "/register", "/redirect"}


def install(app: Flask) -> None:
    """Part of Superset's FLASK_APP_MUTATOR."""

    @app.before_request
    def nothing_here() -> Response | None:
        if request.path.rstrip("/") in CLOSED:
            return message_page(404, "Page not found", "There is nothing at this address.")
        return None

    @app.before_request
    def no_charts_of_saved_queries() -> tuple[Response, int] | None:
        asked = request.get_json(silent=True) if request.path.startswith("/api/v1/chart/data") else None
        source = asked.get("datasource") if isinstance(asked, dict) else None
        if isinstance(source, dict) and source.get("type") == "saved_query":
            return jsonify(message="Charts are made of datasets, not of saved queries."), 400
        return None
