"""Somebody at the server's doors: logged in through the page like a person, or with nothing but a token."""

import json
import re
import secrets
from typing import Any

import requests

PATIENCE_SECONDS = 120


class Caller:
    """One visitor with a session of its own; what it sent is kept, so that an echo is no leak."""

    def __init__(self, url: str, tenant: str | None = None, **headers: str) -> None:
        self.url = url
        self.tenant = tenant
        self.sent = ""
        self.token = ""
        self.session = requests.Session()
        self.session.headers.update(headers)

    def log_in(self, username: str, password: str) -> "Caller":
        """Log in by the form, as the page does."""
        page = self.ask("GET", "/login/").text
        self.token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)[1]
        form = {"username": username, "password": password, "csrf_token": self.token}
        self.session.post(f"{self.url}/login/", data=form, allow_redirects=False, timeout=PATIENCE_SECONDS)
        me = self.ask("GET", "/api/v1/me/")
        assert me.status_code == 200 and me.json()["result"]["username"] == username, me.text
        self.token = self.ask("GET", "/api/v1/security/csrf_token/").json()["result"]
        return self

    def ask(self, method: str, path: str, **parts: Any) -> requests.Response:
        """One request, as sent: redirects are answers, too."""
        self.sent += f"{path} {json.dumps(parts, default=repr)}"
        headers = {"X-CSRFToken": self.token, "Referer": self.url} | parts.pop("headers", {})
        return self.session.request(
            method, self.url + path, headers=headers, allow_redirects=False, timeout=PATIENCE_SECONDS, **parts
        )

    def get(self, path: str, **parts: Any) -> requests.Response:
        return self.ask("GET", path, **parts)

    def post(self, path: str, **parts: Any) -> requests.Response:
        return self.ask("POST", path, **parts)

    def put(self, path: str, **parts: Any) -> requests.Response:
        return self.ask("PUT", path, **parts)

    def delete(self, path: str, **parts: Any) -> requests.Response:
        return self.ask("DELETE", path, **parts)

    def sql(self, statement: str, client_id: str | None = None, **more: Any) -> requests.Response:
        """Run a statement as SQL Lab does."""
        asked = {"database_id": 1, "sql": statement, "schema": "main", "runAsync": False, "queryLimit": 1000}
        return self.post(
            "/api/v1/sqllab/execute/", json=asked | {"client_id": client_id or secrets.token_hex(5)} | more
        )

    def chart(self, dataset: int, query: dict[str, Any], **more: Any) -> requests.Response:
        """Ask as a chart does."""
        asked = {
            "datasource": {"id": dataset, "type": "table"},
            "queries": [{"columns": [], "metrics": [], "row_limit": 1000} | query],
            "result_format": "json",
            "result_type": "full",
        }
        return self.post("/api/v1/chart/data", json=asked | more)
