"""The queries that dashboards are timed with answer the same from cubes as from single readings."""

import csv
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from expectations.gate import judge
from orchestration.bench_dashboards import VIEWS, ask_dashboards, from_readings, opened, queries
from orchestration.build import build
from orchestration.landing import deliver
from orchestration.load import load_waiting
from orchestration.publish import publish_all
from orchestration.settings import Settings
from orchestration.simulate import simulate
from orchestration.simulate_fleet import Fleet

TENANT = "tenant-000"
FAULTS = ("gap", "spike", "stuck", "late", "resent")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A fleet with faults, in one zone: there every device reports on every day that its tenant has."""
    folder = tmp_path_factory.mktemp("dashboards")
    fleet = folder / "fleet"
    simulate(Fleet(2, 12, 4, 16, 5, date(2024, 3, 25), 900, FAULTS), fleet)
    put_in_one_zone(fleet / "registry" / "sites.csv")
    settings = Settings(home=folder / "home", sources=fleet / "sources", registry=fleet / "registry", settle_seconds=0)
    for part in ("daily", "later"):
        deliver(settings, "simulated", sorted((fleet / "landing" / "simulated" / part).iterdir()))
        load_waiting(settings)
    build(settings)
    list(judge(settings))
    publish_all(settings)
    return settings


def put_in_one_zone(sites: Path) -> None:
    with sites.open(newline="") as lines:
        rows = [row | {"timezone": "Europe/Berlin"} for row in csv.DictReader(lines)]
    with sites.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def connection(published: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    with opened(published, TENANT) as connection:
        yield connection


def test_cubes_and_readings_give_the_same_answers(connection: duckdb.DuckDBPyConnection) -> None:
    compared = dict.fromkeys(VIEWS, 0)
    for _, name, query in queries(connection):
        if plain := from_readings(connection, query):
            ours, theirs = rows(connection, query), rows(connection, plain)
            assert len(ours) > 0, name
            pd.testing.assert_frame_equal(ours, theirs, check_dtype=False, rtol=1e-9, obj=name)
            for cube in VIEWS:
                compared[cube] += cube in query
    assert min(compared.values()) > 0, compared


def rows(connection: duckdb.DuckDBPyConnection, query: str) -> pd.DataFrame:
    """What a query answers, by place and in an order of its keys: equal figures may come in any."""
    found = connection.execute(query).df()
    found.columns = range(found.shape[1])
    figures = list(found.select_dtypes("float").columns)
    return found.sort_values([c for c in found if c not in figures] + figures, ignore_index=True)


def test_faults_are_seen_in_what_is_compared(connection: duckdb.DuckDBPyConnection) -> None:
    found = connection.execute(
        "select sum(stuck_count), sum(out_of_range_count), min(completeness) from cube_device_health_daily"
    ).fetchone()
    assert found[0] > 0 and found[1] > 0 and found[2] < 1


def test_every_chart_and_filter_is_asked_and_timed(published: Settings, connection: duckdb.DuckDBPyConnection) -> None:
    asked = ask_dashboards(published, TENANT)
    assert [(one.dashboard, one.name) for one in asked] == [each[:2] for each in queries(connection)]
    assert all(one.cube_ms > 0 for one in asked)
    assert {one.name for one in asked if one.ratio is None} >= {"Single readings, the newest thousand", "In progress"}
