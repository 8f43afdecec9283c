"""The tenant admin's page: the tenant's own log-ins and what each may do, nobody else's.

Like the steward's desk it is complete without a script. Superset's own pages of users know no tenants, so no persona
may open them.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import accounts
from data_docs import tenant_of_caller
from desk import POLICY
from desk_pages import rendered
from flask import Blueprint, Response, flash, g, make_response, redirect, request, url_for
from flask_wtf.csrf import CSRFError
from password_rule import SHORTEST
from tenancy import roles_of
from white_label import message_page

MANAGERS = {"tenant-admin", "Admin"}
ACTS = {
    "persona": lambda by, tenant, person: accounts.give_persona(by, tenant, person, request.form.get("persona", "")),
    "disable": lambda by, tenant, person: accounts.set_active(by, tenant, person, False),
    "enable": lambda by, tenant, person: accounts.set_active(by, tenant, person, True),
    "password": lambda by, tenant, person: accounts.set_password(by, tenant, person, request.form.get("password", "")),
}
DONE = {
    "persona": "{} is {} now.",
    "disable": "{} is disabled, and logged out everywhere.",
    "enable": "{} may log in again.",
    "password": "{} has a new password. Tell it on a safe way, and ask for another one after the first log-in.",
}

blueprint = Blueprint("people", __name__, url_prefix="/people")


def with_menu(data: dict[str, Any]) -> dict[str, Any]:
    """What a page starts from, with the ways to this one and to the audit record for who may open them."""
    user = getattr(g, "user", None)
    if not MANAGERS & set(roles_of(user)):
        return data
    menu = data["menu_data"]
    ways = (("People", "/people/"), ("Audit record", "/audit/"))
    entries = [{"name": name, "label": name, "url": url, "icon": ""} for name, url in ways]
    return {**data, "menu_data": {**menu, "menu": [*menu["menu"], *entries]}}


def for_tenant_admins(view: Callable[..., Response]) -> Callable[..., Response]:
    """The view, called with the caller's tenant; or the page that says why not."""

    @wraps(view)
    def guarded(**parts: Any) -> Response:
        tenant_id, refusal = tenant_of_caller()
        if refusal:
            return refusal
        if not MANAGERS & set(roles_of(g.user)):
            return message_page(403, "Not for this log-in", "People are looked after by their tenant admin.")
        return view(tenant_id, **parts)

    # Read by the middleware that sets the policy of every page.
    guarded.talisman_view_options = {"content_security_policy": POLICY, "content_security_policy_nonce_in": []}
    return guarded


@blueprint.get("/")
@for_tenant_admins
def overview(tenant_id: str) -> Response:
    """Who there is, a form for one more, and what was done last."""
    return _overview(tenant_id)


@blueprint.post("/")
@for_tenant_admins
def add(tenant_id: str) -> Response:
    """One more log-in of the caller's tenant."""
    entered = {name: request.form.get(name, "") for name in ("name", "first", "last", "persona", "password")}
    try:
        username = accounts.add(
            g.user,
            tenant_id,
            entered["name"].strip().lower(),
            (entered["first"], entered["last"]),
            entered["persona"],
            entered["password"],
        )
    except accounts.Refused as refused:
        return _overview(tenant_id, refused)
    flash(f"{username} is added. Tell the password on a safe way.", "desk")
    return redirect(url_for("people.overview"), 303)


@blueprint.get("/<int:user_id>")
@for_tenant_admins
def person(tenant_id: str, user_id: int) -> Response:
    """One person, with what may be done."""
    return _person(tenant_id, user_id)


@blueprint.post("/<int:user_id>/<any(persona, disable, enable, password):act>")
@for_tenant_admins
def act_on_person(tenant_id: str, user_id: int, act: str) -> Response:
    """Give a persona or a password, disable or enable."""
    found = accounts.person_of(tenant_id, user_id)
    if found is None:
        return _nobody()
    try:
        ACTS[act](g.user, tenant_id, found)
    except accounts.Refused as refused:
        return _person(tenant_id, user_id, act, refused)
    flash(DONE[act].format(found.username, accounts.worded(accounts.persona_of(found)).lower()), "desk")
    return redirect(url_for("people.person", user_id=user_id), 303)


@blueprint.errorhandler(CSRFError)
def not_from_our_page(error: CSRFError) -> Response:
    """Superset's own answer would be the log-in, and what was typed would be gone without a word."""
    return message_page(
        400, "Nothing was done", "This page was open for too long, or did not come from here. Go back and reload it."
    )


def _overview(tenant_id: str, refused: accounts.Refused | None = None) -> Response:
    shown = {"people": accounts.people_of(tenant_id), "entries": accounts.entries_of(tenant_id)}
    return _page("people.html", tenant_id, "add", refused, shown)


def _person(tenant_id: str, user_id: int, act: str = "", refused: accounts.Refused | None = None) -> Response:
    found = accounts.person_of(tenant_id, user_id)
    return _page("person.html", tenant_id, act, refused, {"person": found}) if found else _nobody()


def _page(template: str, tenant_id: str, act: str, refused: accounts.Refused | None, shown: dict[str, Any]) -> Response:
    page = rendered(
        template,
        me=g.user,
        tenant_id=tenant_id,
        personas=accounts.personas(),
        persona_of=accounts.persona_of,
        persona_name=accounts.worded,
        shortest_password=SHORTEST,
        refused={"act": act, "said": str(refused)} if refused else None,
        entered=request.form if refused else {},
        **shown,
    )
    return make_response(page, 400 if refused else 200, {"Cache-Control": "no-store"})


def _nobody() -> Response:
    return message_page(404, "Nobody of this number", "There is nobody of this number among your people.")
