"""The data steward's desk: what a tenant sees and why, the cases to work on, and the acts, as pages of the product.

For the readers of Data Docs, each of its own tenant; the operator's work on all. The pages are complete without a
script, so their policy allows none: forms and links do it all, by keyboard and on a phone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

from data_docs import READERS, tenant_of_caller
from desk_acts import Outcome, fit_for, on_case, on_tenant, roll_back
from desk_pages import TEMPLATES, counted, day, rendered
from desk_records import Records, Row, earlier_builds, records_of
from flask import Blueprint, Response, flash, g, make_response, redirect, request, send_from_directory, url_for
from flask_wtf.csrf import CSRFError
from tenancy import OPERATOR, NothingPublished, UnknownCaller, fleetmart_home, roles_of
from white_label import message_page

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; sandbox allow-forms allow-same-origin allow-popups"
)
# The records number cases in 64 bits; what is larger is no address here.
CASE = "/cases/<int(max=9223372036854775807):case_id>"
WAIVED_DAYS = 7

blueprint = Blueprint("desk", __name__, url_prefix="/quality")


@dataclass(frozen=True)
class Caller:
    """Who is at the desk."""

    tenant_id: str
    username: str

    @property
    def sees_all(self) -> bool:
        return self.tenant_id == OPERATOR


@dataclass(frozen=True)
class Refused:
    """An act that was not done: what to say, and where to say it again without typing it again."""

    act: str
    said: str
    status: int


def for_stewards(view: Callable[..., Response]) -> Callable[..., Response]:
    """The view, called with the caller; or the page that says why not."""

    @wraps(view)
    def guarded(**parts: Any) -> Response:
        tenant_id, refusal = tenant_of_caller()
        if refusal:
            return refusal
        if not READERS & set(roles_of(g.user)):
            return message_page(403, "Not for this log-in", "The desk is for data stewards and administrators.")
        try:
            return view(Caller(tenant_id, g.user.username), **parts)
        except NothingPublished:
            return _nothing_yet(tenant_id)
        except UnknownCaller as error:
            return message_page(403, "No data for this log-in", str(error))

    # Read by the middleware that sets the policy of every page.
    guarded.talisman_view_options = {"content_security_policy": POLICY, "content_security_policy_nonce_in": []}
    return guarded


@blueprint.get("/")
@for_stewards
def overview(caller: Caller) -> Response:
    """What is shown and why, the cases, the waivers and the record; the operator's of all tenants, or of one."""
    asked = request.args.get("tenant") if caller.sees_all else caller.tenant_id
    return _overview(caller, asked or None)


@blueprint.get(CASE)
@for_stewards
def case(caller: Caller, case_id: int) -> Response:
    """One case, with what may be done about it."""
    return _case(caller, case_id)


@blueprint.post("/<any('hold-back', 'release', 'roll-back'):act>")
@for_stewards
def act_on_data(caller: Caller, act: str) -> Response:
    """Hold back, release or roll back what the caller's tenant sees; the operator's say whose."""
    tenant_id = request.form.get("tenant", "") if caller.sees_all else caller.tenant_id
    with records_of(fleetmart_home(), caller.tenant_id) as records:
        if records is None or not records.states(tenant_id):
            return _no_such_tenant()
    refused = _changed(caller, act, tenant_id)
    if refused:
        return _overview(caller, tenant_id, refused)
    return redirect(url_for("desk.overview", tenant=tenant_id if caller.sees_all else None), 303)


@blueprint.post(f"{CASE}/<any(acknowledge, explain, waive):act>")
@for_stewards
def act_on_case(caller: Caller, case_id: int, act: str) -> Response:
    """Acknowledge, explain or waive a case that the caller's own file holds."""
    with records_of(fleetmart_home(), caller.tenant_id) as records:
        found = records.case(case_id) if records else None
    if found is None:
        return _no_such_case()
    refused = _triaged(caller, act, found)
    return _case(caller, case_id, refused) if refused else redirect(url_for("desk.case", case_id=case_id), 303)


@blueprint.get("/desk.css")
def style() -> Response:
    """The pages' style, to whoever asks: of no brand, whose colours come from its own sheet."""
    return send_from_directory(TEMPLATES, "desk.css", max_age=3600)


@blueprint.errorhandler(CSRFError)
def not_from_our_page(error: CSRFError) -> Response:
    """Superset's own answer would be the log-in, and what was typed would be gone without a word."""
    return message_page(
        400, "Nothing was done", "This page was open for too long, or did not come from here. Go back and reload it."
    )


def _changed(caller: Caller, act: str, tenant_id: str) -> Refused | None:
    """Do an act on what a tenant sees; None when it was done."""
    by = {"why": request.form.get("why", ""), "by": caller.username}
    if act != "roll-back":
        said = {"hold-back": "Newer data is held back.", "release": "Data is held back no longer."}[act]
        return _told(caller, act, on_tenant(act, tenant_id, **by), said, tenant_id)
    build = request.form.get("build", type=int)
    if build not in earlier_builds(fleetmart_home(), tenant_id):
        return Refused(act, "No snapshot of that build is kept any more. Choose one of the list.", 400)
    said = f"Readers see build {counted(build)} now, and newer data is held back."
    return _told(caller, act, roll_back(tenant_id, to=build, **by), said, tenant_id)


def _triaged(caller: Caller, act: str, case: Row) -> Refused | None:
    """Do an act on a case; None when it was done."""
    number, values = case["case_id"], {"why": request.form.get("why", ""), "by": caller.username}
    said = f"Case {counted(number)} is {act.removesuffix('e')}ed."
    if act == "waive":
        values |= _end_of_waiver(case)
        if "until" in values and not _is_day(values["until"]):
            return Refused(act, "Say on which day the waiver ends, such as 2026-12-31.", 400)
    return _told(caller, act, on_case(act, number, **values), said, case["tenant_id"])


def _end_of_waiver(case: Row) -> dict[str, Any]:
    """For which build is the case's own, never the form's."""
    if request.form.get("ends") == "build":
        return {"build": case["last_build_id"]}
    return {"until": request.form.get("until", "").strip()}


def _is_day(text: str) -> bool:
    try:
        return datetime.strptime(text, "%Y-%m-%d").strftime("%Y-%m-%d") == text
    except ValueError:
        return False


def _told(caller: Caller, act: str, outcome: Outcome, done: str, tenant_id: str) -> Refused | None:
    """Tell on the next page what came of an act, or how it was refused."""
    said = fit_for(outcome.said, caller.tenant_id)
    if outcome.goes_on:
        flash("This takes longer than a page can wait. It goes on by itself; reload to see what came of it.", "desk")
        return None
    if outcome.answer is None:
        return Refused(act, said, 400 if outcome.is_wrong_use else 409)
    published = [one["build_id"] for one in outcome.answer.get("snapshots", []) if one["tenant_id"] == tenant_id]
    flash(" ".join([done, *(f"Build {counted(build)} is published." for build in published), said]).strip(), "desk")
    return None


def _overview(caller: Caller, tenant_id: str | None, refused: Refused | None = None) -> Response:
    with records_of(fleetmart_home(), caller.tenant_id) as records:
        if records is None:
            return _nothing_yet(caller.tenant_id)
        states, cases = records.states(tenant_id), records.unclosed_cases(tenant_id)
        if tenant_id and not states:
            return _no_such_tenant()
        shown = {
            "tenant_id": tenant_id,
            "tenants": [state["tenant_id"] for state in records.states()],
            "states": states,
            "cases": cases,
            "mended": records.mended_cases(tenant_id),
            "waived": [case for case in cases if case["state"] == "waived"],
            "entries": records.entries(tenant_id),
            "earlier": _earlier(records, tenant_id) if tenant_id else [],
        }
        return _page("overview.html", caller, records, shown, refused)


def _case(caller: Caller, case_id: int, refused: Refused | None = None) -> Response:
    with records_of(fleetmart_home(), caller.tenant_id) as records:
        found = records.case(case_id) if records else None
        if found is None:
            return _no_such_case()
        shown = {
            "case": found,
            "findings": records.findings(found),
            "place_names": records.place_names(found["tenant_id"]),
            "entries": records.history(found),
        }
        return _page("case.html", caller, records, shown, refused)


def _page(template: str, caller: Caller, records: Records, shown: Row, refused: Refused | None) -> Response:
    today = datetime.now(UTC).date()
    page = rendered(
        template,
        me=caller,
        tenant_names=records.tenant_names(),
        refused=refused,
        entered=request.form if refused else {},
        today=today,
        waived_until=today + timedelta(WAIVED_DAYS),
        **shown,
    )
    # What it says is the caller's alone, and another moment it says something else.
    return make_response(page, refused.status if refused else 200, {"Cache-Control": "no-store"})


def _earlier(records: Records, tenant_id: str) -> list[tuple[int, str]]:
    """The builds to go back to, each with what a steward chooses by."""
    verdicts = records.verdicts(tenant_id)
    builds = earlier_builds(fleetmart_home(), tenant_id)
    return [(build, _judged(verdicts.get(build))) for build in builds]


def _judged(verdict: Row | None) -> str:
    return f"{verdict['verdict']} on {day(verdict['decided_at'])}" if verdict else "no verdict is kept"


def _no_such_case() -> Response:
    return message_page(404, "No such case", "There is no case of this number at your desk.")


def _no_such_tenant() -> Response:
    return message_page(404, "No such tenant", "There is no tenant of this key at your desk.")


def _nothing_yet(tenant_id: str) -> Response:
    return message_page(
        404, "Nothing on the desk yet", f"No data of {tenant_id} was judged yet. It is here after the next run."
    )
