"""What the audit record takes down, and when: at the end of each request that is an act, before its answer leaves.

Superset's own event log leaves out what was refused or failed, and is written after the answer. An export or a token
for embedding takes data out of the product, so it is not handed out unless its record is written; of everything else
the record then goes to the server's log as it stands, since a full disk must not take the dashboards away.
"""

import hashlib
import hmac
import json
import logging
import re
import sqlite3
import time
from dataclasses import asdict, replace
from typing import Any

import audit_record
from audit_record import Event
from flask import Flask, Response, current_app, g, request
from flask_login import user_logged_in, user_logged_out
from log_in_limits import LOG_INS, given_name
from oidc_claims import OIDC_RETURN
from tenancy import ROLE_PREFIX, UnknownCaller, current_user, fleetmart_home, roles_of, tenant_of_user
from white_label import message_page

logger = logging.getLogger(__name__)

# What opens a page: its rule, the kind of thing, and which part of the address names it. Dashboards, charts and SQL Lab
# by what their pages ask for first: who goes to one by a link of another page loads nothing else.
OPENS = {
    "/api/v1/dashboard/<id_or_slug>": ("dashboard", "id_or_slug"),
    "/api/v1/explore/": ("chart", "slice_id"),
    "/api/v1/sqllab/": ("page", None),
    "/quality/": ("page", None),
    "/data-docs/": ("page", None),
    "/audit/": ("page", None),
}
# What asks for data, and what shows it in other products: how the rules of their addresses begin.
QUERIES = (
    "/api/v1/chart/data",
    "/api/v1/chart/<int:pk>/data/",
    "/api/v1/datasource/<datasource_type>/<int:datasource_id>/column/",
    "/api/v1/sqllab/execute/",
    "/api/v1/sqllab/results/",
    "/datasource/samples",
    "/superset/explore_json/",
)
EMBEDS = ("/api/v1/security/guest_token/", "/embed/token", "/embedded/")
# What takes data out even when it is refused, and so has no file to be known by.
EXPORTS = re.compile(r"/export(_streaming)?/|/exports?/|\.csv$")
# Pictures are drawn in the browser of what it shows, and told here by the page afterwards.
TOLD_BY_PAGES, MOST_TOLD = "/superset/log/", 20
DRAWN = {
    "dashboard_download_as_pdf": ("dashboard", "source_id"),
    "dashboard_download_as_image": ("dashboard", "source_id"),
    "chart_download_as_image": ("chart", "chartId"),
}
# What people make and share; what a page keeps of itself is none of it.
MADE = re.compile(
    r"/(?:api/v1/)?(assets|chart|dashboard|database|dataset|people|report|rowlevelsecurity|saved_query|security|theme)/"
)
KEPT_BY_PAGES = re.compile(r"filter_state|form_data|permalink|/favorites|/colors|/data|screenshot|/login|/refresh$")
CHANGES = {"POST": "create", "PUT": "change", "PATCH": "change", "DELETE": "delete"}
# Without a record they are not handed out.
WITHHELD = {"export", "embed"}


def install(app: Flask) -> None:
    """Part of Superset's FLASK_APP_MUTATOR."""
    user_logged_in.connect(lambda app, user: _write(_of(user, Event("log in", "done"))), app, weak=False)
    user_logged_out.connect(
        lambda app, user: _is_known(user) and _write(_of(user, Event("log out", "done"))), app, weak=False
    )
    _count_rows()

    @app.before_request
    def start() -> None:
        g.started_at, g.row_count = time.monotonic(), None

    @app.after_request
    def take_down(response: Response) -> Response:
        for drawn in _drawn(response):
            _write(drawn)
        event = _log_in_of(response) or _event_of(response)
        if event is None or _write(event) or event.act not in WITHHELD or event.result != "done":
            return response
        response.close()
        return message_page(
            503, "Not handed out", "What leaves the product is recorded, and the record is not writable."
        )


def _count_rows() -> None:
    """Rows of charts are counted where Superset has them, from the database and from its cache alike."""
    from superset.common.query_context import QueryContext

    payload_of = QueryContext.get_df_payload

    def counted(self: Any, *arguments: Any, **named: Any) -> dict[str, Any]:
        payload = payload_of(self, *arguments, **named)
        g.row_count = (g.get("row_count") or 0) + (payload.get("rowcount") or 0)
        return payload

    QueryContext.get_df_payload = counted


def _log_in_of(response: Response) -> Event | None:
    """Log-ins that failed, and those of the API; a good one of the page was taken down when it happened."""
    if request.path == OIDC_RETURN and response.status_code == 403:
        return _of(None, Event("log in", "failed"))
    if request.method != "POST" or request.path.rstrip("/") not in LOG_INS:
        return None
    person = current_app.appbuilder.sm.find_user(username=given_name())
    if request.is_json and response.status_code == 200:
        return _of(person, Event("log in", "done"))
    if getattr(current_user(), "is_authenticated", False):
        return None
    # A name that nobody has may be a password, typed into the wrong field.
    return _of(person, Event("log in", "refused" if response.status_code == 429 else "failed"))


def _drawn(response: Response) -> list[Event]:
    """Pictures of a dashboard or chart that the page says were taken."""
    if request.path != TOLD_BY_PAGES or response.status_code != 200 or not _is_known(current_user()):
        return []
    try:
        told = list(json.loads(request.form.get("events", "[]")))
    except (TypeError, ValueError):
        return []
    found = [one for one in told if isinstance(one, dict) and str(one.get("event_name")) in DRAWN]
    events = []
    for one in found[:MOST_TOLD]:
        kind, number = DRAWN[one["event_name"]]
        name = str(one[number]) if number in one else None
        events.append(_of(current_user(), Event("export", "done", object_type=kind, object=name)))
    return events


def _event_of(response: Response) -> Event | None:
    rule = str(request.url_rule) if request.url_rule else ""
    act = _act(rule, response)
    user = current_user()
    # A host product's back end has no log-in: it comes with its tenant's key.
    if act is None or not (_is_known(user) or (act == "embed" and response.status_code == 200)):
        return None
    kind, name = _object(rule, act)
    event = Event(
        act,
        _result(response),
        object_type=kind,
        object=name,
        duration_ms=round((time.monotonic() - g.get("started_at", time.monotonic())) * 1000),
        row_count=_rows(rule),
        statement_digest=_digest(),
    )
    return _of(user, event)


def _act(rule: str, response: Response) -> str | None:
    if rule.startswith(EMBEDS):
        return "embed"
    if "attachment" in response.headers.get("Content-Disposition", "") or EXPORTS.search(rule):
        return "export"
    if rule.startswith(QUERIES):
        return "export" if _given().get("result_format") in ("csv", "xlsx") else "query"
    if rule in OPENS and request.method == "GET":
        return "open"
    if request.method in CHANGES and MADE.match(request.path) and not KEPT_BY_PAGES.search(request.path):
        return CHANGES[request.method]
    return None


def _object(rule: str, act: str) -> tuple[str | None, str | None]:
    """The kind of thing, and its number, slug or key."""
    parts, given = request.view_args or {}, _given()
    if rule in OPENS:
        kind, name = OPENS[rule]
        return kind, str(parts.get(name) or request.args.get(name) or request.path.removeprefix("/api/v1"))
    if rule.startswith("/api/v1/sqllab/"):
        return "statement", str(parts.get("client_id") or given.get("client_id") or "") or None
    if act == "embed":
        return "dashboard", str(parts.get("uuid") or given.get("dashboard") or "") or None
    if rule.startswith(QUERIES):
        form = given.get("form_data") if isinstance(given.get("form_data"), dict) else {}
        chart = parts.get("pk") or form.get("slice_id")
        source = given.get("datasource") if isinstance(given.get("datasource"), dict) else {}
        dataset = source.get("id") or parts.get("datasource_id") or request.args.get("datasource_id")
        return ("chart", str(chart)) if chart else ("dataset", str(dataset) if dataset else None)
    kind = MADE.match(request.path)
    return (kind[1] if kind else "page"), str(next(iter(parts.values()), None) or request.args.get("q") or request.path)


def _result(response: Response) -> str:
    if response.status_code in (401, 403, 404, 429) or "/login" in (response.location or ""):
        return "refused"
    return "failed" if response.status_code >= 400 else "done"


def _rows(rule: str) -> int | None:
    if not rule.startswith("/api/v1/sqllab/"):
        return g.get("row_count")
    from superset.models.sql_lab import Query

    from superset import db

    client_id = (request.view_args or {}).get("client_id") or _given().get("client_id")
    found = db.session.query(Query.rows).filter_by(client_id=str(client_id), user_id=current_user().id).first()
    return found.rows if found else None


def _digest() -> str | None:
    """Tells two statements apart, and nobody without the server's key what they were."""
    statement = _given().get("sql")
    if not isinstance(statement, str):
        return None
    return hmac.new(str(current_app.secret_key).encode(), statement.encode(), hashlib.sha256).hexdigest()


def _given() -> dict[str, Any]:
    given = request.get_json(silent=True) if request.is_json else request.form
    return dict(given) if hasattr(given, "keys") else {}


def _is_known(user: Any) -> bool:
    return bool(getattr(user, "is_authenticated", False) or getattr(user, "is_guest_user", False))


def _of(user: Any, event: Event) -> Event:
    """The event with who did it; nobody known is nobody's."""
    if not _is_known(user):
        tenant_id = g.get("tenant_of_key") or g.get("tenant_of_page")
        return replace(event, tenant_id=tenant_id, username=g.get("embedded_for"))
    roles = roles_of(user)
    try:
        tenant_id = tenant_of_user(user)
    except UnknownCaller:
        tenant_id = None
    personas = ", ".join(sorted(role for role in roles if not role.startswith(ROLE_PREFIX)))
    return replace(event, tenant_id=tenant_id, username=getattr(user, "username", None), role=personas or None)


def _write(event: Event) -> bool:
    """Whether the event was written to the record; else it stands in the server's log."""
    try:
        audit_record.append(fleetmart_home(), event)
    except (sqlite3.Error, OSError) as error:
        logger.error("The audit record could not be written (%s): %s", error, json.dumps(asdict(event)))
        return False
    return True
