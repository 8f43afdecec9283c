"""What goes wrong is named by the rule that is about it, for the tenant where it went wrong, and nothing else is."""

import csv
import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb
import pytest

from expectations import rules
from expectations.gate import gate, verdict_of
from expectations.rules_document import rules_document
from orchestration.build import build
from orchestration.errors import FleetmartError
from orchestration.landing import deliver
from orchestration.ledger import ledger, rows
from orchestration.load import load_waiting
from orchestration.publish import publish_all
from orchestration.registry import Registry
from orchestration.settings import ROOT, Settings
from orchestration.simulate import simulate
from orchestration.simulate_faults import FAULTS
from orchestration.simulate_fleet import Fleet
from orchestration.snapshot_sql import query
from tests import soak_gate

START = date(2024, 3, 25)
FAULTY, CLEAN = "tenant-000", "tenant-001"


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, list[dict]]:
    """A home with a tenant that has every fault and one of another seed that has none; and the injected faults."""
    folder = tmp_path_factory.mktemp("suites")
    simulate(Fleet(2, 7, 5, 10, 3, START, 900, tuple(FAULTS)), folder / "faulty")
    simulate(Fleet(2, 7, 5, 10, 11, START, 900, ()), folder / "clean")
    settings = settings_of(folder, folder / "faulty")
    for part in ("daily", "later"):
        faulty = folder.glob(f"faulty/landing/simulated/{part}/*{FAULTY}.csv")
        deliver(settings, "simulated", sorted([*faulty, *folder.glob(f"clean/landing/*/{part}/*{CLEAN}.csv")]))
        load_waiting(settings)
    build(settings)
    gate(settings)
    truth = json.loads((folder / "faulty" / "truth.json").read_text())
    return settings, [fault for fault in truth["faults"] if fault["tenant_id"] == FAULTY]


def test_keys_that_differ_only_in_case_have_a_share_each() -> None:
    shares = {"change.level.Temp": 0.5, "change.level.temp": 0.25, "arrival.new_columns": 0.0}
    with duckdb.connect() as connection:
        connection.execute("create schema gate; create table gate.counts (expectation varchar, share double)")
        connection.executemany("insert into gate.counts values (?, ?)", list(shares.items()))
        connection.execute((ROOT / "expectations" / "shares.sql").read_text())
        columns = dict(connection.execute("select expectation, column_name from gate.named_shares").fetchall())
        for key, share in shares.items():
            (found,) = connection.sql("from gate.shares").select(f'"{columns[key]}"').fetchall()
            assert found == (share,)


@pytest.fixture
def copy(judged: tuple[Settings, list[dict]], tmp_path: Path) -> Settings:
    """The home as it was before it was judged, free to be broken."""
    shutil.copytree(judged[0].home, tmp_path / "home")
    shutil.copytree(judged[0].registry, tmp_path / "registry")
    settings = Settings(
        home=tmp_path / "home", registry=tmp_path / "registry", sources=judged[0].sources, settle_seconds=0
    )
    with ledger(settings) as connection:
        for table in ("quality_verdicts", "quality_results", "quality_findings"):
            connection.execute(f"delete from {table}")
    return settings


def settings_of(folder: Path, fleet: Path) -> Settings:
    return Settings(home=folder / "home", sources=fleet / "sources", registry=fleet / "registry", settle_seconds=0)


def failed(settings: Settings, tenant_id: str) -> dict[str, str]:
    """The severity of each expectation that the tenant's last build failed."""
    found = rows(
        settings,
        "select expectation, severity from quality_results where not is_met and tenant_id = ? "
        "and build_id = (select max(build_id) from quality_results)",
        tenant_id,
    )
    return {row["expectation"]: row["severity"] for row in found}


NAMED_BY = soak_gate.NAMED_BY | {"late": "arrival.late_share"}
NO_PLACE = {"garbage": ("metric",), "unregistered": ("device_id",), "repeated_file": ()}


@pytest.mark.parametrize("kind", NAMED_BY)
def test_every_fault_is_named_by_its_rule_where_it_is(kind: str, judged: tuple[Settings, list[dict]]) -> None:
    settings, faults = judged
    injected = [fault for fault in faults if fault["kind"] == kind]
    assert injected and NAMED_BY[kind] in failed(settings, FAULTY)
    found = rows(settings, "select * from quality_findings where expectation = ?", NAMED_BY[kind])
    assert {row["tenant_id"] for row in found} == {FAULTY}
    for fault in injected:
        told = NO_PLACE.get(kind, ("device_id", "metric") if fault["metric"] else ("device_id",))
        assert any(all(row[column] == fault[column] for column in told) for row in found), fault


def test_every_kind_of_fault_has_its_rule_or_is_no_fault_of_the_readings() -> None:
    assert set(FAULTS) - set(NAMED_BY) == {"unit", "clock_jump"}


def test_a_clean_fleet_fails_nothing_that_marks_or_withholds(judged: tuple[Settings, list[dict]]) -> None:
    settings, _ = judged
    assert set(failed(settings, CLEAN).values()) <= {"info"}
    # the simulated readings are years old when they come
    assert set(failed(settings, CLEAN)) == {"arrival.freshness"}
    assert "critical" not in failed(settings, FAULTY).values()


def test_results_name_each_expectation_once_by_a_key_that_the_registry_takes(
    judged: tuple[Settings, list[dict]],
) -> None:
    settings, _ = judged
    results = rows(settings, "select suite, expectation, metric from quality_results where tenant_id = ?", CLEAN)
    keys = [row["expectation"] for row in results]
    assert len(keys) == len(set(keys)) > 50
    assert {row["suite"] for row in results} == {"arrival", "readings", "cubes", "change"}
    metrics = {row.metric for row in Registry(settings.registry).rows["metrics"]}
    assert [key for key in keys if rules.problem_of(key, metrics)] == []
    assert {row["metric"] for row in results} - {None} == metrics


def test_the_page_about_the_rules_says_what_they_are() -> None:
    assert (ROOT / "docs" / "rules.md").read_text() == rules_document(), "run `make docs`"


BREAKAGES = {
    "cubes.missing_partitions": "delete from main.fct_readings where reading_date = '2024-03-28'",
    "cubes.hourly_mismatches": "delete from main.cube_readings_hourly where hour_start = '2024-03-28 12:00:00'",
    "cubes.daily_mismatches": "update main.cube_readings_daily set reading_count = 7 where day = '2024-03-28'",
    "cubes.utc_daily_mismatches": "update main.cube_readings_utc_daily set value_sum = value_sum + 1",
    "cubes.utc_monthly_mismatches": "update main.cube_readings_utc_monthly set valid_count = valid_count - 1",
    "cubes.site_mismatches": "update main.cube_fleet_readings_daily set value_sum = -value_sum where level = 'site'",
    "cubes.tenant_mismatches": "delete from main.cube_fleet_readings_daily where level = 'tenant' and metric = 'power'",
    "cubes.fleet_mismatches": "update main.cube_fleet_daily set reading_count = 0 where site_id = 'site-01'",
    "cubes.impossible_figures": "update main.cube_readings_daily set value_avg = value_max + 1",
    "readings.unique": "insert into main.fct_readings from main.fct_readings where reading_date = '2024-03-28'",
    "readings.present.device_id": "update main.fct_readings set device_id = null where reading_date = '2024-03-28'",
}


@pytest.mark.parametrize("key", BREAKAGES)
def test_a_build_that_loses_doubles_or_contradicts_is_withheld(key: str, copy: Settings) -> None:
    with duckdb.connect(str(copy.warehouse)) as connection:
        for column in ("device_id",) if "null" in BREAKAGES[key] else ():
            connection.execute(f"alter table main.fct_readings alter column {column} drop not null")
        connection.execute(BREAKAGES[key])
    assert not any(verdict.passed for verdict in gate(copy))
    assert failed(copy, CLEAN)[key] == "critical"


def test_a_day_with_far_fewer_readings_than_the_days_before_it_marks(copy: Settings) -> None:
    with duckdb.connect(str(copy.warehouse)) as connection:
        connection.execute("update build.lake_partitions set reading_count = 700 where day = '2024-04-02'")
    gate(copy)
    assert failed(copy, CLEAN) == {"arrival.freshness": "info", "arrival.volume": "warning"}


def test_a_row_of_the_registry_makes_a_rule_withhold_the_tenant_that_it_names(copy: Settings) -> None:
    write_rules(copy, (FAULTY, "readings.gaps", "critical", ""), ("", "arrival.freshness", "", 1))
    new = build(copy).build_id
    gate(copy)
    assert failed(copy, FAULTY)["readings.gaps"] == "critical"
    assert "arrival.freshness" not in failed(copy, FAULTY) and failed(copy, CLEAN) == {}
    published = publish_all(copy)
    assert len(published.withheld) == 1 and f"{FAULTY} was withheld" in published.withheld[0]
    assert verdict_of(copy, CLEAN, new).passed
    keys = query(copy, "select count(*), count(distinct expectation) from quality_results", CLEAN).rows[0]
    assert keys[0] == keys[1] > 50
    assert query(copy, "select count(*) from quality_findings", CLEAN).rows == [(0,)]


def test_the_tenants_own_row_and_the_longer_key_stand_before_others() -> None:
    rule = rules.RANGE.of("power", "Power")
    everyone = [("readings", "info", None, False), ("readings.range.power", "critical", 0.5, False)]
    assert (rules.as_set(rule, everyone).severity, rules.as_set(rule, everyone).max_share) == ("critical", 0.5)
    own = rules.as_set(rule, [*everyone, ("readings.range", "warning", None, True)])
    assert (own.severity, own.max_share) == ("warning", 0.5)
    assert rules.as_set(rule, [("readings.range.pow", "critical", 1, True), ("cubes", "info", 1, True)]) == rule


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (("", "readings.rage", "critical", ""), "there is no expectation 'readings.rage'"),
        (("", "readings.range.fury", "info", ""), "fury is not in metrics.csv"),
        (("nobody", "readings", "info", ""), "nobody is not in tenants.csv"),
        (("", "readings", "", ""), "changes nothing"),
        (("", "readings", "fatal", ""), "severity"),
        (("", "readings", "", 2), "less than or equal to 1"),
    ],
)
def test_a_wrong_row_is_told_with_its_line(row: tuple, says: str, copy: Settings) -> None:
    write_rules(copy, ("", "cubes", "warning", ""), row)
    with pytest.raises(FleetmartError, match=r"quality_rules.csv, line 3") as error:
        Registry(copy.registry)
    assert says in str(error.value)


def write_rules(settings: Settings, *given: tuple) -> None:
    with (settings.registry / "quality_rules.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("tenant_id", "expectation", "severity", "max_share"), *given])


def test_a_day_of_a_fleet_in_another_unit_is_withheld_until_it_is_mended(tmp_path: Path) -> None:
    simulate(Fleet(1, 3, 4, 11, 5, START, 900, ()), tmp_path / "fleet")
    settings = settings_of(tmp_path, tmp_path / "fleet")
    days = sorted((tmp_path / "fleet" / "landing" / "simulated" / "daily").iterdir())
    change(days[0], lambda row: row | {"note": "first"})
    deliver(settings, "simulated", days[:9])
    load_waiting(settings)
    build(settings)
    gate(settings)
    assert publish_all(settings).withheld == []

    right = days[9].read_text()
    wrong = {"temperature": lambda v: v * 1.8 + 32, "humidity": lambda v: v / 100, "power": lambda v: v * 1000}
    change(days[9], lambda row: row | {"value": wrong.get(row["metric"], str)(float(row["value"])), "firmware": "2"})
    deliver(settings, "simulated", [days[9]])
    load_waiting(settings)
    build(settings)
    assert [verdict.passed for verdict in gate(settings)] == [False]
    names = failed(settings, FAULTY)
    assert {key for key, severity in names.items() if severity == "critical"} == {
        "change.level.temperature",
        "change.level.humidity",
        "change.valid_share.temperature",
        "change.valid_share.power",
    }
    assert {"arrival.new_columns", "arrival.missing_columns", "change.devices", "readings.range.power"} <= set(names)

    # a right day after it does not make the wrong one right
    deliver(settings, "simulated", [days[10]])
    load_waiting(settings)
    build(settings)
    assert [verdict.passed for verdict in gate(settings)] == [False]
    days[9].with_name("mended.csv").write_text(right)
    deliver(settings, "simulated", [days[9].with_name("mended.csv")])
    load_waiting(settings)
    build(settings)
    assert [verdict.passed for verdict in gate(settings)] == [True]


def change(path: Path, changed: Callable[[dict], dict]) -> None:
    """Rewrite a file of readings row by row."""
    with path.open(newline="") as file:
        new = [changed(row) for row in csv.DictReader(file)]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(new[0]))
        writer.writeheader()
        writer.writerows(new)


def test_what_is_judged_does_not_depend_on_the_clock(small: Callable[..., Settings], tmp_path: Path) -> None:
    settings = small()
    meter = sorted((ROOT / "orchestration" / "sample" / "lhb_meter").iterdir())
    deliver(settings, "lhb_meter", meter[:1])
    load_waiting(settings)
    build(settings)
    gate(settings)
    publish_all(settings)
    with ledger(settings) as connection:
        connection.execute("update snapshots set published_at = '2999-01-01 00:00:00'")
    head, *lines = meter[1].read_text().splitlines()
    (tmp_path / "bad.csv").write_text("\n".join([head, *(line.replace(",", ",broken ", 1) for line in lines)]) + "\n")
    shutil.copy(meter[0], tmp_path / "again.csv")
    deliver(settings, "lhb_meter", [tmp_path / "bad.csv", tmp_path / "again.csv"])
    load_waiting(settings)
    build(settings)
    gate(settings)
    names = failed(settings, "la-haute-borne")
    assert (names["arrival.mostly_rejected"], names["arrival.repeated_files"]) == ("critical", "info")
