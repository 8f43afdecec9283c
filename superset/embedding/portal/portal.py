"""A customer's product, as small as can be, that shows its users the dashboards of its fleet. Copy it.

The product's server holds the key; a browser gets a token for one dashboard and five minutes, never the key.
"""

import os

import requests
from flask import Flask, Response, abort, jsonify, request, send_from_directory

DASHBOARDS_URL = os.environ["DASHBOARDS_URL"]
EMBED_KEY = os.environ["EMBED_KEY"]
FILES = {"portal.js", "portal.css", "vendor/embedded-sdk-0.4.0/index.js"}
# Nothing is loaded from elsewhere, but the frame and the logo from the dashboards.
POLICY = (
    f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src {DASHBOARDS_URL} data:; "
    f"frame-src {DASHBOARDS_URL}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

app = Flask(__name__, static_folder=None)
# It listens on this machine only, and answers to no other name.
app.config["TRUSTED_HOSTS"] = ["127.0.0.1", "localhost"]


@app.get("/")
def page() -> Response:
    """The product's page. A real product asks for a log-in first."""
    return send_from_directory(app.root_path, "index.html", max_age=0)


@app.get("/<path:name>")
def file(name: str) -> Response:
    """The page's script, its style, and the embedding SDK."""
    return send_from_directory(app.root_path, name, max_age=0) if name in FILES else abort(404)


@app.post("/token")
def token() -> tuple[Response, int]:
    """A token for whoever is logged in here. Which dashboards there are for the tenant is not decided here."""
    asked = request.get_json()
    try:
        answer = requests.post(
            f"{DASHBOARDS_URL}/embed/token",
            headers={"Authorization": f"Bearer {EMBED_KEY}"},
            json={"dashboard": asked.get("dashboard"), "user": logged_in_user()},
            timeout=30,
        )
    except requests.RequestException:
        return jsonify(error="the dashboards do not answer"), 502
    return jsonify({**answer.json(), "dashboards_url": DASHBOARDS_URL}), answer.status_code


def logged_in_user() -> str:
    """Who looks, for the record: your session knows. This example has no log-in."""
    return "somebody at the portal"


@app.after_request
def nothing_from_elsewhere(response: Response) -> Response:
    """Headers of every answer; the dashboards see from which page they are framed."""
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "strict-origin-when-cross-origin"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
