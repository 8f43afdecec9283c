"""The audit record as a page: a tenant's administrators see what their own people did, the operator's what all did.

It is read from the record itself, so it is never behind; and it is no table of the tenant's files, since everybody of
the tenant with SQL Lab could read it there. Complete without a script, like the desk.
"""

import csv
import io
from datetime import date, timedelta
from functools import wraps
from typing import Any

import audit_record
from data_docs import tenant_of_caller
from desk import POLICY
from desk_pages import rendered
from flask import Blueprint, Response, g, make_response, request
from tenancy import OPERATOR, fleetmart_home, roles_of
from white_label import message_page

READERS = {"tenant-admin", "Admin"}
SHOWN, EXPORTED = 200, 100_000
ACTS = ("open", "query", "export", "embed", "log in", "log out", "create", "change", "delete")

blueprint = Blueprint("audit", __name__, url_prefix="/audit")


def for_administrators(view: Any) -> Any:
    """The view, called with the tenant whose record it may read, None for all; or the page that says why not."""

    @wraps(view)
    def guarded() -> Response:
        tenant_id, refusal = tenant_of_caller()
        if refusal:
            return refusal
        if not READERS & set(roles_of(g.user)):
            return message_page(403, "Not for this log-in", "The audit record is for administrators.")
        answer = view(None if tenant_id == OPERATOR else tenant_id)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    policy = f"{POLICY} allow-downloads"
    guarded.talisman_view_options = {"content_security_policy": policy, "content_security_policy_nonce_in": []}
    return guarded


@blueprint.get("/")
@for_administrators
def events(tenant_id: str | None) -> Response:
    """The newest events, by day, person and act."""
    chosen = _chosen()
    found = audit_record.found(fleetmart_home(), tenant_id, **_filters(chosen), limit=SHOWN + 1)
    page = rendered(
        "audit.html",
        me={"username": g.user.username, "sees_all": tenant_id is None},
        refused=None,
        chosen=chosen,
        acts=ACTS,
        events=found[:SHOWN],
        names=_names(found[:SHOWN]),
        older=found[SHOWN - 1]["event_id"] if len(found) > SHOWN else None,
    )
    return make_response(page)


def _names(events: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
    """What charts, dashboards and datasets that the caller may see are called, by kind and number or slug."""
    from superset.connectors.sqla.models import SqlaTable
    from superset.models.dashboard import Dashboard
    from superset.models.slice import Slice

    from superset import db

    named = {
        "chart": (Slice.id, Slice.slice_name),
        "dataset": (SqlaTable.id, SqlaTable.table_name),
        "dashboard": (Dashboard.slug, Dashboard.dashboard_title),
    }
    names = {}
    for kind, (key, name) in named.items():
        seen = {one["object"] for one in events if one["object_type"] == kind and one["object"]}
        if kind != "dashboard":
            seen = {int(number) for number in seen if number.isdecimal()}
        rows = db.session.query(key, name).filter(key.in_(seen)) if seen else []
        names |= {(kind, str(found)): called for found, called in rows}
    return names


@blueprint.get("/events.csv")
@for_administrators
def download(tenant_id: str | None) -> Response:
    """The same as a file."""
    found = audit_record.found(fleetmart_home(), tenant_id, **_filters(_chosen()), limit=EXPORTED)
    text = io.StringIO()
    table = csv.DictWriter(text, ["event_id", "happened_at", *audit_record.COLUMNS], lineterminator="\n")
    table.writeheader()
    table.writerows({name: _plain(value) for name, value in row.items()} for row in found)
    headers = {"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": "attachment; filename=audit.csv"}
    return make_response(text.getvalue(), headers)


def _chosen() -> dict[str, str]:
    """What the form says, without what it cannot say."""
    given = {name: request.args.get(name, "").strip() for name in ("from", "to", "username", "act", "below")}
    for name in ("from", "to"):
        given[name] = given[name] if _is_day(given[name]) else ""
    given["act"] = given["act"] if given["act"] in ACTS else ""
    given["below"] = given["below"] if given["below"].isdecimal() and len(given["below"]) < 19 else ""
    return given


def _filters(chosen: dict[str, str]) -> dict[str, Any]:
    """`found`'s names and values: both days of the form are shown whole."""
    until = str(date.fromisoformat(chosen["to"]) + timedelta(1)) if chosen["to"] else ""
    below = int(chosen["below"]) if chosen["below"] else None
    return {
        "since": chosen["from"], "before": until, "username": chosen["username"], "act": chosen["act"], "below": below,
    }  # fmt: skip


def _is_day(text: str) -> bool:
    try:
        return str(date.fromisoformat(text)) == text and date.fromisoformat(text) < date.max
    except ValueError:
        return False


def _plain(value: Any) -> Any:
    """A name that begins like a formula is none in a spreadsheet."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value
