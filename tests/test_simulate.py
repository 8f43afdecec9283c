"""A simulated fleet is the same every time, and the product finds in it what the truth says was injected."""

import filecmp
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from orchestration.bench_cubes import make_plain_cubes
from orchestration.build import build
from orchestration.landing import deliver
from orchestration.ledger import rows
from orchestration.load import Loaded, load_waiting
from orchestration.settings import Settings
from orchestration.simulate import simulate
from orchestration.simulate_faults import FAULTS
from orchestration.simulate_fleet import Fleet
from tests.conftest import run_fleetmart
from tests.independent import KEYS, assert_equal, daily_cube, hourly_cube, simulated_readings

START = date(2024, 3, 25)  # the week in which Berlin's clocks go forward


def fleet(seed: int = 3, faults: tuple[str, ...] = (), days: int = 10) -> Fleet:
    return Fleet(2, 7, 5, days, seed, START, 900, faults)


def loaded(folder: Path, home: Path) -> tuple[Settings, Loaded]:
    settings = Settings(home=home, sources=folder / "sources", registry=folder / "registry", settle_seconds=0)
    parts = []
    for part in ("daily", "later"):
        deliver(settings, "simulated", sorted((folder / "landing" / "simulated" / part).iterdir()))
        parts.append(load_waiting(settings))
    return settings, Loaded(**{key: getattr(parts[0], key) + getattr(parts[1], key) for key in vars(parts[0])})


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Loaded, dict]:
    """A fleet with every kind of fault, loaded and built."""
    folder = tmp_path_factory.mktemp("faulty")
    simulate(fleet(faults=tuple(FAULTS)), folder / "fleet")
    settings, total = loaded(folder / "fleet", folder / "home")
    build(settings)
    return settings, total, json.loads((folder / "fleet" / "truth.json").read_text())


def injected(truth: dict, kind: str) -> list[dict]:
    return [fault for fault in truth["faults"] if fault["kind"] == kind]


def ask(settings: Settings, query: str, **parameters: object) -> list[tuple]:
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        return connection.execute(query, parameters).fetchall()


def readings_of(
    settings: Settings, fault: dict, columns: str, years_late: int = 0, condition: str = "true", **parameters: object
) -> list[tuple]:
    """Columns of the readings where a fault was injected, or so many years after."""
    return ask(
        settings,
        f"select {columns} from main.fct_readings where tenant_id = $tenant and device_id = $device "
        "and metric = $metric and measured_at - to_years($years_late) between $first::timestamp and $last::timestamp "
        f"and {condition}",
        tenant=fault["tenant_id"],
        device=fault["device_id"],
        metric=fault["metric"],
        first=fault["first_at"],
        last=fault["last_at"],
        years_late=years_late,
        **parameters,
    )


def test_the_same_arguments_write_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        simulate(fleet(seed, tuple(FAULTS)), tmp_path / name)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    same, different, missing = filecmp.cmpfiles(tmp_path / "one", tmp_path / "two", files, shallow=False)
    assert (len(same), different, missing) == (len(files), [], [])
    daily = [file for file in files if "daily" in file.parts]
    assert filecmp.cmpfiles(tmp_path / "one", tmp_path / "other", daily, shallow=False)[0] == []


def test_a_clean_fleet_loads_to_the_last_reading(tmp_path: Path) -> None:
    truth = simulate(fleet(days=3), tmp_path / "fleet")
    settings, total = loaded(tmp_path / "fleet", tmp_path / "home")
    assert total.readings == truth.rows == sum(truth.readings.values()) == 2 * 7 * 5 * 96 * 3
    assert (total.rejected, total.empty, total.already_loaded, total.problems) == (0, 0, 0, [])
    build(settings)
    assert ask(settings, "select count(*), bool_and(is_valid) from main.fct_readings") == [(truth.rows, True)]
    shares = ask(settings, "select min(completeness), max(completeness) from main.cube_device_health_daily")
    assert shares[0][1] == 1


def test_garbage_is_rejected_and_repeated_files_change_nothing(faulty: tuple[Settings, Loaded, dict]) -> None:
    settings, total, truth = faulty
    assert total.rejected == sum(fault["rows"] for fault in injected(truth, "garbage")) > 0
    assert total.already_loaded == len(injected(truth, "repeated_file")) > 0
    repeats = rows(settings, "select sum(repeat_count) as n from loads")[0]["n"]
    assert repeats == total.already_loaded
    repeated = sum(fault["rows"] for fault in injected(truth, "repeated_file"))
    assert total.readings + total.rejected == truth["rows"] - repeated


def test_every_instant_stands_once(faulty: tuple[Settings, Loaded, dict]) -> None:
    settings, _, truth = faulty
    found = dict(ask(settings, "select tenant_id, count(*) from main.fct_readings group by 1"))
    assert found == truth["readings"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("unregistered", "device not registered"),
        ("unknown_metric", "metric not registered for the device's model"),
        ("future", "measured after it was received"),
        ("spike", "above the valid range"),
    ],
)
def test_what_must_be_flagged_is_flagged(kind: str, reason: str, faulty: tuple[Settings, Loaded, dict]) -> None:
    settings, _, truth = faulty
    for fault in injected(truth, kind):
        years_late = 100 if kind == "future" else 0
        flagged = readings_of(settings, fault, "count(*)", years_late, "invalid_reason = $reason", reason=reason)
        assert flagged[0][0] > 0.5 * fault["rows"] > 0, fault


ALARMS = {
    "gap": "gap_count",
    "silent": "gap_count",
    "stuck": "stuck_count",
    "spike": "out_of_range_count",
    "wrong_unit": "out_of_range_count",
    "reset": "reset_count",
}


@pytest.mark.parametrize("kind", ALARMS)
def test_every_fault_raises_its_alarm(kind: str, faulty: tuple[Settings, Loaded, dict], alarmed: set[tuple]) -> None:
    settings, _, truth = faulty
    assert injected(truth, kind)
    for fault in injected(truth, kind):
        assert days_of(settings, fault, ALARMS[kind]) & alarmed, fault


def test_nothing_but_a_fault_raises_an_alarm(faulty: tuple[Settings, Loaded, dict], alarmed: set[tuple]) -> None:
    """Gaps aside up to the local day on which a device's data begin, and from that on which they end."""
    settings, _, truth = faulty
    explained = {
        day
        for kind, alarm in ALARMS.items()
        for fault in injected(truth, kind)
        for day in days_of(settings, fault, alarm)
    }
    health = "main.cube_device_health_daily"
    heard = "select device_id, min(day), max(day) from {} where reading_count > 0 group by all"
    spans = {device: days for device, *days in ask(settings, heard.format(health))}
    false_alarms = {
        (tenant, device, day, alarm)
        for tenant, device, day, alarm in alarmed - explained
        if alarm != "gap_count" or spans[device][0] < day < spans[device][1]
    }
    assert len(alarmed) > 10
    assert false_alarms == set()


def test_rows_that_came_late_stand_where_they_belong(faulty: tuple[Settings, Loaded, dict]) -> None:
    settings, _, truth = faulty
    assert injected(truth, "late")
    for fault in injected(truth, "late"):
        file = rows(settings, "select load_id from loads where file_name like ?", f"%{Path(fault['file']).name}")
        loads = [row["load_id"] for row in file]
        found = readings_of(settings, fault, "count(*)", 0, "list_contains($loads, load_id)", loads=loads)
        assert found == [(fault["rows"],)], fault


@pytest.fixture(scope="module")
def alarmed(faulty: tuple[Settings, Loaded, dict]) -> set[tuple]:
    """Tenant, device, local day and kind of every alarm in the cubes about a registered device."""
    settings, _, _ = faulty
    alarms = {"cube_device_health_daily": ("gap_count", "stuck_count", "out_of_range_count")}
    alarms["cube_readings_daily"] = ("reset_count",)
    return {
        found
        for cube, columns in alarms.items()
        for column in columns
        for found in ask(
            settings,
            f"select distinct tenant_id, device_id, day, '{column}' from main.{cube} where {column} > 0 "
            "and device_id in (select device_id from registry.devices)",
        )
    }


def days_of(settings: Settings, fault: dict, alarm: str) -> set[tuple]:
    """The alarms that a fault may raise: one for each local day that it touches."""
    found = ask(
        settings,
        "select distinct (instant at time zone 'UTC' at time zone timezone)::date as day "
        "from range($first::timestamp, $last::timestamp + interval 1 second, interval 15 minute) as spans (instant) "
        "cross join registry.devices join registry.sites using (tenant_id, site_id) "
        "where tenant_id = $tenant and device_id = $device",
        tenant=fault["tenant_id"],
        device=fault["device_id"],
        first=fault["first_at"],
        last=fault["last_at"],
    )
    return {(fault["tenant_id"], fault["device_id"], day, alarm) for (day,) in found}


@pytest.mark.parametrize(
    ("cube", "table"), [(daily_cube, "cube_readings_daily"), (hourly_cube, "cube_readings_hourly")]
)
def test_the_cubes_agree_with_an_independent_computation(
    cube: Callable[..., pd.DataFrame], table: str, faulty: tuple[Settings, Loaded, dict]
) -> None:
    settings, _, truth = faulty
    fleet_folder = settings.registry.parent
    theirs = cube(simulated_readings(fleet_folder / "landing" / "simulated"), settings.registry)
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        ours = connection.execute(
            f"select * from main.{table} where reading_count > 0 and metric <> 'mystery' "
            "and device_id in (select device_id from registry.devices)"
        ).df()
    assert len(theirs) > 500 and injected(truth, "unit")
    assert_equal(ours, theirs, KEYS["day" if "daily" in table else "hour"])


def test_the_script_that_builds_are_timed_against_makes_the_same_cubes(tmp_path: Path) -> None:
    """Of a fleet whose units are canonical and whose values are in range, as the benches' is."""
    simulate(fleet(faults=("late", "resent", "gap", "reset")), tmp_path / "fleet")
    settings, _ = loaded(tmp_path / "fleet", tmp_path / "home")
    build(settings)
    make_plain_cubes(settings, tmp_path / "plain.duckdb")
    with duckdb.connect(str(tmp_path / "plain.duckdb"), read_only=True) as connection:
        connection.execute(f"attach '{settings.warehouse}' as ours (read_only)")
        for plain, mart in PLAIN_CUBES_OF.items():
            theirs = connection.execute(f"select * from {plain} order by all").df()
            period = next(name for name in ("hour_start", "day", "month_start") if name in columns_of(connection, mart))
            columns = ", ".join(theirs).replace("period_start", f"{period} as period_start")
            ours = connection.execute(
                f"select {columns} from ours.main.{mart} where reading_count > 0 order by all"
            ).df()
            assert len(ours) > 10, mart
            pd.testing.assert_frame_equal(ours, theirs, check_dtype=False, rtol=1e-9)


PLAIN_CUBES_OF = {
    "hourly": "cube_readings_hourly",
    "daily": "cube_readings_daily",
    "monthly": "cube_readings_monthly",
    "utc_daily": "cube_readings_utc_daily",
    "utc_monthly": "cube_readings_utc_monthly",
    "fleet_hourly": "cube_fleet_readings_hourly",
    "fleet_daily": "cube_fleet_readings_daily",
    "fleet_monthly": "cube_fleet_readings_monthly",
}


def columns_of(connection: duckdb.DuckDBPyConnection, mart: str) -> list[str]:
    return connection.execute(f"from ours.main.{mart} limit 0").df().columns.to_list()


def test_readings_of_the_future_are_in_no_cube(faulty: tuple[Settings, Loaded, dict]) -> None:
    settings, _, truth = faulty
    assert ask(settings, "select max(measured_at) > '2100-01-01' from main.fct_readings") == [(True,)]
    for cube, time in (("cube_readings_hourly", "hour_start"), ("cube_readings_daily", "day"), ("dim_dates", "day")):
        assert ask(settings, f"select max({time}) < '2030-01-01' from main.{cube}") == [(True,)]
    assert injected(truth, "future")


def test_units_that_come_along_are_converted_and_corrections_stand(faulty: tuple[Settings, Loaded, dict]) -> None:
    settings, _, truth = faulty
    assert ask(settings, "select count(*) from registry.sent_units join registry.metrics using (metric)")[0][0] > 5
    assert (
        ask(
            settings,
            "select s.metric, s.unit from registry.sent_units s join registry.metrics using (metric) "
            "where unit_factor is null",
        )
        == []
    )
    for fault in injected(truth, "unit"):
        assert ("unit not convertible",) not in readings_of(settings, fault, "distinct invalid_reason")
    for fault in injected(truth, "resent"):
        twice = "received_count = 2 and source_row <= $rows"
        later = readings_of(settings, fault, "count(*)", 0, twice, rows=fault["rows"])
        assert later == [(fault["rows"],)], "the rows that stand are those of the short, later file"


def test_what_is_wrongly_asked_for_is_told(tmp_path: Path, small: Callable[..., Settings]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    for arguments, says in (
        (["--devices", "0"], "--devices must be at least 1"),
        (["--faults", "gap,flood"], "no fault 'flood'"),
        (["--interval", "7"], "must divide a day"),
        (["--to", str(tmp_path / "mine")], "something else than a simulation"),
    ):
        done = run_fleetmart(tmp_path / "home", "simulate", *arguments)
        assert done.returncode == 2 and says in done.stderr
    assert (tmp_path / "mine" / "thesis.txt").exists()
