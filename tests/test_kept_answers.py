"""Answers that are kept: the same for all of a tenant who may ask, and for nobody else from the next request on."""

import functools
import os
import re
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from orchestration import audit_events
from orchestration.published_records import TABLES, publish_records
from orchestration.settings import ROOT, Settings
from tests.attacks.caller import Caller
from tests.in_superset import SECURITY, require_success

sys.path.insert(0, str(SECURITY))
import in_turn
import tenancy

TENANT, OTHER = "nyc-airports", "la-haute-borne"
BOARD = "/api/v1/dashboard/reliability-and-cost"


@pytest.fixture
def ask(records: sqlite3.Connection) -> Callable[[Caller], requests.Response]:
    """Ask for the days of each site, as nobody did before this test."""
    (dataset,) = records.execute("select id from tables where table_name = 'cube_readings_daily'").fetchone()
    query = {"columns": ["site_name"], "metrics": ["readings"]}
    form = {"slice_id": None, "asked_by": uuid.uuid4().hex}
    return lambda caller, **more: caller.chart(dataset, query, form_data=form | more.pop("form_data", {}), **more)


def in_another_second() -> None:
    """Superset says in each answer in which second its rows were read: what is made anew in another one differs."""
    time.sleep(1.1)


def test_all_of_a_tenant_are_given_one_answer_and_no_other_tenant_is(person: Callable, ask: Callable) -> None:
    executive = person(f"{TENANT}-executive")
    first = ask(executive)
    assert "Kennedy" in first.text
    assert ask(executive, form_data={"dashboard_page_id": "another"}).content == first.content
    for role in ("analyst", "steward", "engineer", "tenant-admin"):
        assert ask(person(f"{TENANT}-{role}")).content == first.content
    others = ask(person(f"{OTHER}-executive"))
    assert others.status_code == 200 and "Kennedy" not in others.text
    # Whoever wants it fresh gets it, and all others that from then on.
    in_another_second()
    fresh = ask(executive, force=True)
    assert fresh.status_code == 200 and fresh.content != first.content
    assert ask(person(f"{TENANT}-analyst")).content == fresh.content
    # To an administrator Superset says that it had the rows already: nothing is kept for one.
    admin = person("admin")
    assert [ask(admin, force=is_first).json()["result"][0]["is_cached"] for is_first in (True, False)] == [None, True]
    assert ask(Caller(executive.url)).status_code == 401


AT_ONCE = """
import time
from concurrent.futures import ThreadPoolExecutor
import flask, kept_answers
from cachelib.simple import SimpleCache
asked, cache, app = [], SimpleCache(), flask.Flask("charts")
class Charts:
    def data(self):
        asked.append(1)
        time.sleep(1)
        return flask.jsonify(number=len(asked))
kept_answers._keep(Charts, "data", lambda: kept_answers.Place(cache, "what?", 60))
def ask(person):
    with app.test_request_context():
        return Charts().data().get_data()
with ThreadPoolExecutor(5) as people:
    answers = set(people.map(ask, range(5)))
assert len(asked) == len(answers) == 1, (asked, answers)
"""


def test_who_asks_the_same_at_once_is_given_one_answer(tmp_path: Path) -> None:
    require_success(AT_ONCE, FLEETMART_HOME=tmp_path)


def test_nobody_waits_for_an_answer_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_turn, "PATIENCE_SECONDS", 0.2)
    with in_turn.in_turn(tmp_path, "what?"), ThreadPoolExecutor(2) as others:
        began = time.monotonic()
        others.submit(lambda: in_turn.in_turn(tmp_path, "what?").__enter__()).result(timeout=30)
        assert time.monotonic() - began >= in_turn.PATIENCE_SECONDS
    holder = (
        "import in_turn, os, pathlib, sys; "
        "held = in_turn.in_turn(pathlib.Path(sys.argv[1]), 'what?'); held.__enter__(); os._exit(3)"
    )
    died = subprocess.run([sys.executable, "-c", holder, tmp_path], cwd=SECURITY, check=False)
    assert died.returncode == 3
    monkeypatch.setattr(in_turn, "PATIENCE_SECONDS", 3600)
    with in_turn.in_turn(tmp_path, "what?"):
        pass


def test_records_that_are_written_anew_end_only_answers_about_records(
    fleetmart_home: Path, person: Callable, ask: Callable, records: sqlite3.Connection
) -> None:
    executive, asked_by = person(f"{TENANT}-executive"), {"asked_by": uuid.uuid4().hex}
    (of_records,) = records.execute("select id from tables where table_name = 'State of the data'").fetchone()
    about_data = functools.partial(ask, executive, form_data=asked_by)
    about_records = functools.partial(
        executive.chart, of_records, {"columns": ["state"], "metrics": []}, form_data=asked_by
    )
    before = [about_data().content, about_records().content]
    assert [about_data().content, about_records().content] == before
    in_another_second()
    publish_records(Settings(home=fleetmart_home), [TENANT])
    after = [about_data().content, about_records().content]
    assert after[0] == before[0] and after[1] != before[1]


def test_every_table_of_the_records_is_known_as_one() -> None:
    assert {*tenancy.RECORDS} == {*TABLES, audit_events.TABLE}


def test_no_column_or_metric_of_the_product_asks_a_table_of_its_own() -> None:
    files = [*(ROOT / "superset" / "assets" / "datasets").glob("*.yml"), *(ROOT / "dbt_project").rglob("*.yml")]
    expressions = [found for file in files for found in re.findall(r"expression: *(.+)", file.read_text())]
    assert len(expressions) > 50
    assert not [found for found in expressions if re.search(r"\bselect\b", found, re.IGNORECASE)]


def test_a_row_rule_holds_from_the_next_request_on(
    person: Callable, ask: Callable, records: sqlite3.Connection
) -> None:
    executive = person(f"{TENANT}-executive")
    assert ask(executive).json()["result"][0]["rowcount"] > 0
    standing, closed = f"tenant_id = '{TENANT}'", "tenant_id = 'nobody'"
    changed = "update row_level_security_filters set clause = ? where clause = ?"
    with records:
        assert records.execute(changed, (closed, standing)).rowcount == 1
    try:
        assert ask(executive).json()["result"][0]["rowcount"] == 0
    finally:
        with records:
            records.execute(changed, (standing, closed))
    assert ask(executive).json()["result"][0]["rowcount"] > 0


def test_a_right_that_was_taken_away_is_refused_at_once(
    person: Callable, ask: Callable, records: sqlite3.Connection
) -> None:
    executive = person(f"{TENANT}-executive")
    assert ask(executive).status_code == executive.get(BOARD).status_code == 200
    held = records.execute(
        "select held.* from ab_permission_view_role held join ab_role r on r.id = held.role_id "
        "join ab_permission_view pair on pair.id = held.permission_view_id "
        "join ab_permission p on p.id = pair.permission_id join ab_view_menu thing on thing.id = pair.view_menu_id "
        "where r.name = 'executive' and p.name = 'can_read' and thing.name in ('Chart', 'Dashboard')"
    ).fetchall()
    assert len(held) == 2
    with records:
        records.executemany("delete from ab_permission_view_role where id = ?", [(row[0],) for row in held])
    try:
        assert ask(executive).status_code == executive.get(BOARD).status_code == 403
        assert ask(person(f"{TENANT}-steward")).status_code == 200
    finally:
        with records:
            marks = ", ".join("?" * len(held[0]))
            records.executemany(f"insert into ab_permission_view_role values ({marks})", held)
    assert ask(executive).status_code == executive.get(BOARD).status_code == 200


def test_what_everybody_may_is_looked_up_each_time(superset_url: str, records: sqlite3.Connection) -> None:
    visitor = Caller(superset_url)
    assert visitor.get("/api/v1/chart/").status_code == 401
    give = """
        insert into ab_permission_view_role (permission_view_id, role_id)
        select pair.id, r.id from ab_role r, ab_permission_view pair
        join ab_permission p on p.id = pair.permission_id join ab_view_menu thing on thing.id = pair.view_menu_id
        where r.name = 'Public' and p.name = 'can_read' and thing.name = 'Chart'
    """
    with records:
        given = records.execute(give)
        assert given.rowcount == 1
    try:
        answer = visitor.get("/api/v1/chart/")
        assert answer.status_code == 200 and answer.json()["count"] == 0
        assert visitor.get("/api/v1/dataset/").status_code == 401
    finally:
        with records:
            records.execute("delete from ab_permission_view_role where id = ?", (given.lastrowid,))
    assert visitor.get("/api/v1/chart/").status_code == 401


@pytest.mark.parametrize("part", ["", "/charts", "/datasets"])
def test_a_dashboard_that_is_limited_is_refused_at_once(
    person: Callable, records: sqlite3.Connection, part: str
) -> None:
    executive = person(f"{TENANT}-executive")
    assert executive.get(BOARD + part).content == executive.get(BOARD + part).content
    with records:
        limited = records.execute(
            "insert into dashboard_roles (dashboard_id, role_id) select d.id, r.id from dashboards d, ab_role r "
            f"where d.slug = 'reliability-and-cost' and r.name = 'tenant:{OTHER}'"
        ).lastrowid
    try:
        assert executive.get(BOARD + part).status_code in (403, 404)
        assert person(f"{OTHER}-executive").get(BOARD + part).status_code == 200
    finally:
        with records:
            records.execute("delete from dashboard_roles where id = ?", (limited,))
    assert executive.get(BOARD + part).status_code == 200


def test_a_new_snapshot_is_asked_at_once(person: Callable, ask: Callable, fleetmart_home: Path) -> None:
    executive = person(f"{TENANT}-executive")
    first = ask(executive)
    assert ask(executive).content == first.content
    file = (fleetmart_home / "serving" / TENANT / "current").resolve()
    facts = file.stat()
    in_another_second()
    file.touch()
    try:
        anew = ask(executive)
    finally:
        os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert anew.status_code == 200 and anew.content != first.content
    assert anew.json()["result"][0]["data"] == first.json()["result"][0]["data"]


SPANS = """
import kept_answers
fixed = (None, "No filter", "2014-01-01 : 2014-02-01", "2014-01-01T00:00:00 : 2014-02-01T12:30:00")
for span in (*fixed, "Last week", "2014-01-01 : now", "DATEADD(DATETIME('now'), -1, day) : 2014-02-01"):
    chosen = {"col": "day", "op": "TEMPORAL_RANGE", "val": span}
    for query in ({"time_range": span, "filters": []}, {"filters": [chosen]}):
        assert kept_answers._moves({"queries": [query]}) == (span not in fixed), query
"""


def test_a_span_that_moves_with_the_clock_is_not_kept_for_long() -> None:
    require_success(SPANS)
