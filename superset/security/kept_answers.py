"""Whole answers are kept for a while: people of one tenant ask the same, of a snapshot that never changes.

Superset keeps what the database answered, and works out anew whose chart it is, whether they may ask and how rows
become an answer: nine tenths of its time. Here an answer is kept under all that it depends on. A chart's: tenant and
snapshot (tenant_cache.py), without the records where none of them is asked for, since those change more often; the
dataset as it is defined now, the row rules that hold for the caller, and what was asked. What a page is told of a
dashboard: the tenant, what the caller's roles permit, and when dashboards, charts and datasets were last changed.
Whether the caller may ask is looked up each time. Guests, administrators, what is not the product's, exports and
whoever wants it fresh are answered by Superset itself, as is all that is not plain.
"""

import functools
import hashlib
import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from asked_once import HELD
from cachelib.simple import SimpleCache
from flask import Flask, Response, g, request
from in_turn import in_turn
from own_records import ADMINISTRATOR, PRODUCT_ACCOUNT
from questions import Question, note
from sqlalchemy import bindparam, text
from tenancy import RECORDS, NoData, caller_tenant, current_user, fleetmart_home, of_data_alone, tenant_of_user
from tenant_cache import results_prefix

# Of a snapshot that does not change the answer to a question about all of it or a fixed span does not either; "the last
# hour" moves on.
CHART_SECONDS, MOVING_SECONDS = 600, 60
BOARD_SECONDS = 600
# In each process: 20 kB for each of a dashboard's three, and each tenant's kinds of people.
MOST_BOARDS = 2000
ALL_TIME, FIXED_SPAN = "No filter", re.compile(r"\d{4}-\d\d-\d\d\S* : \d{4}-\d\d-\d\d\S*")
# Where none of them is named, none is read: expressions of columns and metrics may not ask tables of their own.
A_RECORD = re.compile(rf"\b({'|'.join(RECORDS)})\b", re.IGNORECASE)
# What a page says of itself with each request, and no answer depends on.
OF_THE_PAGE = {"dashboard_page_id", "url_params"}
DATASET = text(
    """
    select tables.perm, tables.changed_on, tables.table_name, tables.sql
    from tables
    join ab_user on ab_user.id = tables.created_by_fk and ab_user.username = :product
    where tables.id = :id
    """
)
MAY_ASK = text(
    f"""
    select permission.name, thing.name from {HELD}
    where held.role_id in :roles and (
        (permission.name = 'can_read' and thing.name = 'Chart')
        or (permission.name = 'datasource_access' and thing.name = :dataset)
    )
    """
).bindparams(bindparam("roles", expanding=True))
# Regular rules hold for the roles that they name, base rules for all others.
ROW_RULES = text(
    """
    select rule.id, rule.filter_type, rule.group_key, rule.clause,
        exists (select from_role.role_id from rls_filter_roles as from_role
            where from_role.rls_filter_id = rule.id and from_role.role_id in :roles) as names_caller
    from row_level_security_filters as rule
    join rls_filter_tables as limited on limited.rls_filter_id = rule.id and limited.table_id = :id
    order by rule.id
    """
).bindparams(bindparam("roles", expanding=True))
CHART = text(
    """
    select slices.id from slices
    join ab_user on ab_user.id = slices.created_by_fk and ab_user.username = :product
    where slices.id = :id and slices.cache_timeout is null
    """
)
BOARD = text(
    """
    select dashboards.id,
        (select max(changed_on) from dashboards) as dashboards_changed,
        (select max(changed_on) from slices) as charts_changed,
        (select max(changed_on) from tables) as datasets_changed,
        (select count(*) from slices) as charts,
        (select count(*) from tables) as datasets
    from dashboards
    join ab_user on ab_user.id = dashboards.created_by_fk and ab_user.username = :product
    where dashboards.slug = :slug
    """
)
PERMITTED = text(
    "select distinct permission_view_id from ab_permission_view_role where role_id in :roles order by 1"
).bindparams(bindparam("roles", expanding=True))
LIMITED_TO = text("select role_id from dashboard_roles where dashboard_id = :id order by 1")


@dataclass(frozen=True)
class KeptAnswer:
    """An answer's content, and how many rows of the database it holds, for the audit record."""

    content: bytes
    row_count: int | None


@dataclass(frozen=True)
class Place:
    """Where a request's answer is kept, whether the caller wants it made anew, and what to ask of the next snapshot."""

    cache: Any
    key: str
    seconds: int
    is_wanted_fresh: bool = False
    is_of_data: bool = False
    question: tuple[str, str, Question] | None = None

    def kept(self) -> KeptAnswer | None:
        """What is kept here."""
        with self._snapshot():
            found = self.cache.get(self.key)
        return found if isinstance(found, KeptAnswer) else None

    def keep(self, answer: KeptAnswer) -> None:
        """Keep this here for as long as it is good."""
        with self._snapshot():
            self.cache.set(self.key, answer, timeout=self.seconds)

    def _snapshot(self) -> AbstractContextManager[None]:
        return of_data_alone() if self.is_of_data else nullcontext()


_boards = SimpleCache(threshold=MOST_BOARDS)


def install(app: Flask) -> None:
    """Part of Superset's FLASK_APP_MUTATOR, before its interfaces are registered."""
    from superset.charts.data.api import ChartDataRestApi
    from superset.dashboards.api import DashboardRestApi

    _keep(ChartDataRestApi, "data", _place_of_chart)
    for name in ("get", "get_charts", "get_datasets"):
        _keep(DashboardRestApi, name, _place_of_board)
    _spare_looking_up_charts()


def _keep(interface: type, name: str, place_of_request: Callable[[], Place | None]) -> None:
    answer = getattr(interface, name)
    # once in a process, however many applications it makes
    if hasattr(answer, "answers_anew"):
        return

    @functools.wraps(answer)
    def kept_or_anew(self: Any, *arguments: Any, **named: Any) -> Response:
        place = place_of_request()
        if place is None:
            return answer(self, *arguments, **named)

        def anew() -> Response:
            response = answer(self, *arguments, **named)
            if response.status_code == 200 and response.is_json:
                place.keep(KeptAnswer(response.get_data(), g.get("row_count")))
            return response

        if place.is_wanted_fresh:
            return anew()
        if place.question is not None:
            note(fleetmart_home(), *place.question)
        if found := _kept(place):
            return found
        with in_turn(fleetmart_home() / "superset" / "answering", place.key):
            return _kept(place) or anew()

    kept_or_anew.answers_anew = answer
    setattr(interface, name, kept_or_anew)


def _kept(place: Place) -> Response | None:
    found = place.kept()
    if found is None:
        return None
    g.row_count = found.row_count
    return Response(found.content, content_type="application/json; charset=utf-8")


def _spare_looking_up_charts() -> None:
    """Do not look up which of the product's charts asks, with all that the caller may see, for how long its rows may be
    kept: all of these are kept alike. Of guests Superset compares the question with the chart, which it has to look up.
    """
    from superset.common.query_context_factory import QueryContextFactory

    look_up = QueryContextFactory._get_slice
    if hasattr(look_up, "looks_up"):
        return

    @functools.wraps(look_up)
    def chart_that_asks(self: Any, number: Any) -> Any:
        is_plain = bool(_roles_of_caller()) and str(number).isdecimal()
        if is_plain and _ask(CHART, id=int(number), product=PRODUCT_ACCOUNT).first():
            return None
        return look_up(self, number)

    chart_that_asks.looks_up = look_up
    QueryContextFactory._get_slice = chart_that_asks


def _place_of_chart() -> Place | None:
    from superset.extensions import cache_manager

    asked, roles = request.get_json(silent=True), _roles_of_caller()
    if not roles or not isinstance(asked, dict) or not _is_plain(asked):
        return None
    try:
        facts = _facts_of_dataset(roles, int(asked["datasource"]["id"]))
    except (KeyError, TypeError, ValueError):
        # Superset says what is wrong with it.
        return None
    if facts is None:
        return None
    is_wanted_fresh = bool(asked.get("force")) or request.args.get("force") == "true"
    # The snapshot as it is before asking: what is ready only after the next publish is no answer of that one.
    is_of_data = not (A_RECORD.search(json.dumps(asked)) or A_RECORD.search(json.dumps(facts, default=str)))
    with of_data_alone() if is_of_data else nullcontext():
        key = _key(results_prefix(), _without_page(asked), facts)
    seconds = MOVING_SECONDS if _moves(asked) else CHART_SECONDS
    question = None
    if is_of_data and seconds == CHART_SECONDS and not g.get("is_ahead"):
        name = _key(_without_page(asked), facts)
        question = caller_tenant(), name, Question(current_user().username, _without_page(asked))
    return Place(cache_manager.data_cache, key, seconds, is_wanted_fresh, is_of_data, question)


def _moves(asked: dict[str, Any]) -> bool:
    """Whether what is asked depends on the hour, as far as its spans of time say."""
    queries = [query for query in asked.get("queries") or [] if isinstance(query, dict)]
    filters = [one for query in queries for one in query.get("filters") or [] if isinstance(one, dict)]
    spans = [query.get("time_range") for query in queries]
    spans += [one.get("val") for one in filters if one.get("op") == "TEMPORAL_RANGE"]
    return not all(span in (None, ALL_TIME) or FIXED_SPAN.fullmatch(str(span)) for span in spans)


def _without_page(asked: dict[str, Any]) -> dict[str, Any]:
    """What was asked, as a copy without what only the page is about."""
    form = asked.get("form_data")
    if isinstance(form, dict):
        form = {name: value for name, value in form.items() if name not in OF_THE_PAGE}
    return {name: value for name, value in asked.items() if name != "force"} | {"form_data": form}


def _is_plain(asked: dict[str, Any]) -> bool:
    """The answer that charts draw, of a dataset of Superset's."""
    source = asked.get("datasource")
    is_of_dataset = isinstance(source, dict) and source.get("type") == "table"
    return is_of_dataset and asked.get("result_format", "json") == "json" and asked.get("result_type", "full") == "full"


def _facts_of_dataset(roles: dict[int, str], dataset_id: int) -> tuple[Any, ...] | None:
    """The dataset and the row rules as they are now; None when the caller may not ask, or they changed meanwhile."""
    dataset = _ask(DATASET, id=dataset_id, product=PRODUCT_ACCOUNT).first()
    if dataset is None or len(set(_ask(MAY_ASK, roles=list(roles), dataset=dataset.perm))) < 2:
        return None
    rules = _ask(ROW_RULES, roles=list(roles), id=dataset_id).all()
    facts = dataset_id, *dataset, [tuple(rule) for rule in rules]
    # Who answers ahead goes on with the dataset as it was first read, which is no answer once that has changed.
    return facts if g.setdefault("facts_of_datasets", {}).setdefault(dataset_id, facts) == facts else None


def _place_of_board() -> Place | None:
    roles = _roles_of_caller()
    board = roles and _ask(BOARD, slug=request.view_args["id_or_slug"], product=PRODUCT_ACCOUNT).first()
    if not board or request.args:
        return None
    permitted = _ask(PERMITTED, roles=list(roles)).scalars().all()
    limited = _ask(LIMITED_TO, id=board.id).scalars().all()
    tenant_id = tenant_of_user(current_user())
    opened_by = [number for number in limited if number in roles]
    return Place(_boards, _key(tenant_id, request.path, tuple(board), permitted, limited, opened_by), BOARD_SECONDS)


def _roles_of_caller() -> dict[int, str]:
    """Names of the caller's roles by their numbers; none of a guest, an administrator or anybody without one tenant."""
    user = current_user()
    if not getattr(user, "is_authenticated", False) or getattr(user, "is_guest_user", False):
        return {}
    try:
        tenant_of_user(user)
    except NoData:
        return {}
    roles = [*user.roles, *(role for group in user.groups for role in group.roles)]
    return {} if ADMINISTRATOR in {role.name for role in roles} else {role.id: role.name for role in roles}


def _ask(statement: Any, **parameters: Any) -> Any:
    from superset import db

    return db.session.connection().execute(statement, parameters)


def _key(*parts: Any) -> str:
    return f"answer-{hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()}"
