"""What serving is measured with asks as a browser does, of every dashboard, and counts what goes wrong."""

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from orchestration.bench_people import Person, Watched, percentile, watch
from orchestration.bench_plain import make_plain
from orchestration.bench_serve import Size, workers_and_threads
from orchestration.bench_serve import table as bench_table
from orchestration.errors import WrongUse
from orchestration.page_requests import QUERIES, filter_bodies
from orchestration.server_memory import MemoryWatch, tree
from orchestration.settings import Settings
from tests.browser.pages import BOARDS, CHARTS
from tests.test_chart_data import TENANTS, analyst

SINGLE = {"defaultToFirstItem": True, "sortAscending": True}
SEVERAL = {"defaultToFirstItem": False, "sortAscending": True}


def native_filter(name: str, column: str, values: dict, *under: str) -> dict:
    targets = [{"datasetId": 7, "column": {"name": column}}]
    return {
        "id": name,
        "filterType": "filter_select",
        "targets": targets,
        "controlValues": values,
        "cascadeParentIds": list(under),
    }


def test_every_kind_of_chart_that_is_shown_can_be_asked() -> None:
    assert {chart.viz for chart in CHARTS.values()} <= QUERIES.keys()


def test_a_filter_under_another_offers_what_that_one_leaves() -> None:
    filters = [
        native_filter("Tenant", "tenant_name", SINGLE),
        native_filter("Site", "site_name", SEVERAL, "Tenant"),
        native_filter("Device", "device_name", SINGLE, "Tenant", "Site"),
        {"id": "Time", "filterType": "filter_time"},
    ]
    asked = []

    def ask(body: dict) -> list[dict]:
        (query,) = body["queries"]
        asked.append(query["filters"])
        return [{query["columns"][0]: f"the first {query['columns'][0]}"}]

    chosen = filter_bodies(filters, 3, ask)
    assert chosen == {"tenant_name": ["the first tenant_name"], "device_name": ["the first device_name"]}
    of_tenant = [{"col": "tenant_name", "op": "IN", "val": ["the first tenant_name"]}]
    assert asked == [[], of_tenant, of_tenant]


def test_every_dashboard_answers_every_question_of_its_page(superset_url: str, credentials: dict) -> None:
    watched = Watched()
    user = analyst(credentials, TENANTS[0])
    person = Person(superset_url, user["username"], user["password"], watched)
    assert set(person.boards) == BOARDS.keys() - {"storage-and-price"}
    for slug in person.boards:
        person.open_page(slug)
    assert watched.errors == [] and len(watched.pages) == len(person.boards)
    asked = sum(len(BOARDS[slug].charts) for slug in person.boards)
    filters = sum(one.get("kind") != "time" for slug in person.boards for one in BOARDS[slug].filters)
    assert len(watched.charts) == asked + filters


def test_what_is_refused_is_an_error(superset_url: str, credentials: dict) -> None:
    watched = Watched()
    user = analyst(credentials, TENANTS[0])
    person = Person(superset_url, user["username"], user["password"], watched)
    person.boards = ["there-is-no-such-page"]
    watch([person], seconds=5, every=60)
    assert watched.pages == [] and "there-is-no-such-page" in watched.errors[0]


def test_the_plain_superset_has_the_same_rows_and_a_rule_for_each_tenant(
    demo_settings: Settings, tmp_path: Path
) -> None:
    environment = make_plain(demo_settings, tmp_path / "plain")
    assert Path(environment["SUPERSET_CONFIG_PATH"]).is_file()
    with duckdb.connect(str(tmp_path / "plain" / "shared.duckdb"), read_only=True) as connection:
        found = connection.execute("select distinct tenant_id from cube_fleet_daily").fetchall()
    assert {tenant_id for (tenant_id,) in found} == set(TENANTS)
    with closing(sqlite3.connect(tmp_path / "plain" / "superset.db")) as records:
        rules = records.execute(
            "select r.name, f.clause, count(*) from row_level_security_filters f "
            "join rls_filter_roles o on o.rls_filter_id = f.id join ab_role r on r.id = o.role_id "
            "join rls_filter_tables t on t.rls_filter_id = f.id group by 1, 2"
        ).fetchall()
    assert {(name, clause) for name, clause, _ in rules} == {(f"tenant:{t}", f"tenant_id = '{t}'") for t in TENANTS}
    assert all(tables > 20 for _, _, tables in rules)


def test_memory_is_that_of_a_process_and_all_that_it_started() -> None:
    holds = "import subprocess, sys, time; kept = bytearray(200 << 20); print('held', flush=True); "
    starts = f"child = subprocess.Popen([sys.executable, '-c', {holds + 'time.sleep(60)'!r}]); child.wait()"
    process = subprocess.Popen([sys.executable, "-c", holds + starts], stdout=subprocess.PIPE, text=True)
    try:
        with MemoryWatch(process.pid) as memory:
            assert [process.stdout.readline() for _ in range(2)] == ["held\n"] * 2
            deadline = time.monotonic() + 60
            while memory.peak_mb < 400 and time.monotonic() < deadline:
                time.sleep(0.1)
        assert 400 <= memory.peak_mb < 600 and len(tree(process.pid)) == 2
    finally:
        for pid in tree(process.pid):
            os.kill(pid, 9)
        process.wait()


def test_percentiles_are_of_what_was_seen() -> None:
    seconds = [number / 100 for number in range(1, 101)]
    assert (percentile(seconds, 0.5), percentile(seconds, 0.95), percentile([2.0], 0.95)) == (0.5, 0.95, 2.0)


@pytest.mark.parametrize("named", ["2", "0x8", "2x8x1", "axb"])
def test_a_server_that_cannot_be_is_told(named: str) -> None:
    assert workers_and_threads(["2x8", "1x16"]) == [(2, 8), (1, 16)]
    with pytest.raises(WrongUse, match="no pair"):
        workers_and_threads([named])


def test_a_table_names_what_was_measured() -> None:
    assert "10 tenants with 1.5 million readings" in bench_table(Size(1_500_000, 10, 5, 20, 0.5), [])
