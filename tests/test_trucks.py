"""The trucks of the Time Series Benchmark Suite: its twelve questions, asked of the marts and of the raw files."""

import filecmp
import json
import math
import random
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pytest

from orchestration.build import build
from orchestration.landing import deliver
from orchestration.load import Loaded, load_waiting
from orchestration.questions import questions
from orchestration.settings import ROOT, Settings
from orchestration.simulate_trucks import SOURCES, Trucks, TruckTruth, simulate_trucks
from tests.conftest import run_fleetmart
from tests.state import assert_same, marts_of

TRUCKS = Trucks(trucks=20, days=2, seed=9, start=date(2016, 1, 1), interval=96)
FLEETS = ("East", "West", "North", "South")
START = "2016-01-01 10:10:00"  # trucks of this seed stand still then

# Each question asked of the files: `readings`, `diagnostics` of named trucks and `trucks` with their tags.
RAW = {
    "01_last_location": """
        select name, driver, arg_max(longitude, time), arg_max(latitude, time)
        from readings join trucks using (name) where fleet = $fleet group by all""",
    "02_low_fuel": """
        select name, driver, arg_max(fuel_state, time) from diagnostics join trucks using (name)
        where fleet = $fleet group by all having arg_max(fuel_state, time) < 0.1""",
    "03_high_load": """
        select name, driver, arg_max(current_load, time) from diagnostics join trucks using (name)
        where fleet = $fleet group by name, driver, load_capacity
        having arg_max(current_load, time) > 0.9 * load_capacity""",
    "04_stationary_trucks": """
        select name, driver from readings join trucks using (name)
        where fleet = $fleet and time >= $start::timestamp and time < $start::timestamp + interval 10 minute
        group by all having avg(velocity) < 1""",
    "05_long_driving_sessions": """
        select name, driver from (
            select name, epoch_us(time) // 600_000_000 as bucket from readings
            where time >= $start::timestamp and time < $start::timestamp + interval 4 hour
            group by all having avg(velocity) > 1
        ) join trucks using (name) where fleet = $fleet group by all having count(*) > 22""",
    "06_long_daily_sessions": """
        select name, driver from (
            select name, epoch_us(time) // 600_000_000 as bucket from readings
            where time >= $start::timestamp and time < $start::timestamp + interval 1 day
            group by all having avg(velocity) > 1
        ) join trucks using (name) where fleet = $fleet group by all having count(*) > 60""",
    "07_consumption": """
        select fleet, avg(fuel_consumption), avg(nominal_fuel_consumption)
        from readings join trucks using (name) where velocity > 1 group by all""",
    "08_daily_driving_duration": """
        select fleet, name, driver, avg(hours) from (
            select name, bucket // 144 as day, floor(count(*) / 6) as hours from (
                select name, epoch_us(time) // 600_000_000 as bucket from readings group by all having avg(velocity) > 1
            ) group by all
        ) join trucks using (name) group by all""",
    "09_daily_driving_session": """
        with buckets as (
            select name, epoch_us(time) // 600_000_000 as bucket, avg(velocity) > 5 as driving
            from readings where velocity is not null group by all
        ), changes as (
            select * from buckets
            qualify driving <> lag(driving) over (partition by name order by bucket)
        ), ended as (
            select *, lead(bucket) over (partition by name order by bucket) - bucket as length from changes
        )
        select name, make_timestamp(bucket * 600_000_000)::date as day, 10 * avg(length)
        from ended where driving group by all""",
    "10_average_load": """
        select fleet, model, load_capacity, avg(load / load_capacity)
        from (select name, avg(current_load) as load from diagnostics group by all) join trucks using (name)
        group by all""",
    "11_daily_activity": """
        select fleet, model, make_timestamp(bucket * 600_000_000)::date as day, count(*) / 6
        from (select name, epoch_us(time) // 600_000_000 as bucket from diagnostics group by all having avg(status) < 1)
        join trucks using (name) group by all""",
    "12_breakdown_frequency": """
        with buckets as (
            select name, epoch_us(time) // 600_000_000 as bucket, avg((status > 0)::int) >= 0.5 as broken
            from diagnostics where status is not null group by all
        ), starts as (
            select name from buckets
            qualify broken and not lag(broken) over (partition by name order by bucket)
        )
        select model, count(*) from starts join trucks using (name) group by all""",
}
OF_A_FLEET = [name for name, sql in RAW.items() if "$fleet" in sql]


def simulated(folder: Path) -> tuple[Path, TruckTruth]:
    return folder / "fleet", simulate_trucks(TRUCKS, folder / "fleet")


def deliveries(fleet: Path, folder: Path) -> Iterator[dict[str, Path]]:
    """All rows of each source in three files, each row in any of them, in any order.

    The first has a row more of each truck, later than all others; the last one takes it back with values that
    no truck can have.
    """
    chance = random.Random(5)
    parts: list[dict[str, Path]] = [{}, {}, {}]
    for source, (fields, _) in SOURCES.items():
        texts = [path.read_text().splitlines() for path in sorted((fleet / "landing" / source).iterdir())]
        header, lines = texts[0][0], [line for text in texts for line in text[1:]]
        chance.shuffle(lines)
        extra = [f"2016-01-02T23:59:59Z,truck_{number}" + "," * 7 for number in range(TRUCKS.trucks)]
        first, last = (",".join(["", *[value] * len(fields)]) for value in ("0", "99999"))
        contents = [
            lines[0::3] + [line + first for line in extra],
            lines[1::3],
            lines[2::3] + [line + last for line in extra],
        ]
        for number, content in enumerate(contents):
            path = folder / f"{source}-{number}.csv"
            path.write_text("\n".join([header, *content]) + "\n")
            parts[number][source] = path
    yield from parts


@pytest.fixture(scope="module")
def trucks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path, TruckTruth, list[Loaded]]:
    """The trucks in three loads, built after the first and after the last one."""
    folder = tmp_path_factory.mktemp("trucks")
    fleet, truth = simulated(folder)
    settings = Settings(home=folder / "home", sources=fleet / "sources", registry=fleet / "registry", settle_seconds=0)
    loads = []
    for number, delivery in enumerate(deliveries(fleet, folder)):
        for source, path in delivery.items():
            deliver(settings, source, [path])
        loads.append(load_waiting(settings))
        if number != 1:
            build(settings)
    return settings, fleet, truth, loads


@pytest.fixture(scope="module")
def compiled(trucks: tuple[Settings, Path, TruckTruth, list[Loaded]]) -> dict[str, str]:
    """The analyses, with the fleet yet to be put in."""
    settings = trucks[0]
    return questions(settings, settings.home / "questions", fleet="THE-FLEET", window_start=START)


@pytest.fixture(scope="module")
def raw(trucks: tuple[Settings, Path, TruckTruth, list[Loaded]]) -> Iterator[duckdb.DuckDBPyConnection]:
    """The files as they were written, without rows that name no truck."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        for source in SOURCES:
            files = f"read_csv('{trucks[1]}/landing/{source}/*.csv')"
            connection.execute(f"create table {source}_rows as from {files} where name is not null")
            connection.execute(
                f"create table {source.removeprefix('truck_')} as "
                f"select * exclude (fleet, driver, model, load_capacity, nominal_fuel_consumption) from {source}_rows"
            )
        connection.execute(
            "create table trucks as select name, max(fleet) as fleet, max(driver) as driver, max(model) as model, "
            "max(load_capacity) as load_capacity, max(nominal_fuel_consumption) as nominal_fuel_consumption "
            "from truck_readings_rows group by name"
        )
        yield connection


def rounded(rows: list[tuple]) -> Counter:
    """Rows in any order; figures to nine digits, since sums are added up in any order."""

    def plain(value: object) -> object:
        is_figure = isinstance(value, int | float) and value != 0
        return round(value, 9 - math.ceil(math.log10(abs(value)))) + 0.0 if is_figure else value

    return Counter(tuple(plain(value) for value in row) for row in rows)


@pytest.mark.parametrize("name", RAW)
def test_the_marts_answer_as_the_raw_readings_do(
    name: str,
    trucks: tuple[Settings, Path, TruckTruth, list[Loaded]],
    compiled: dict[str, str],
    raw: duckdb.DuckDBPyConnection,
) -> None:
    answered = 0
    with duckdb.connect(str(trucks[0].warehouse), read_only=True) as marts:
        for fleet in FLEETS if name in OF_A_FLEET else FLEETS[:1]:
            ours = marts.execute(compiled[f"tsbs_{name}"].replace("THE-FLEET", fleet)).fetchall()
            named = {"fleet": fleet, "start": START}
            theirs = raw.execute(RAW[name], {key: named[key] for key in named if f"${key}" in RAW[name]}).fetchall()
            assert rounded(ours) == rounded(theirs), fleet
            answered += len(ours)
    assert answered > 0, "a question without any answer proves nothing"


def test_every_question_is_proved(compiled: dict[str, str]) -> None:
    assert sorted(compiled) == sorted(f"tsbs_{name}" for name in RAW)
    for path in (ROOT / "dbt_project" / "analyses").glob("*.sql"):
        assert path.read_text().startswith("-- ") and "?" in path.read_text().split("\nwith")[0], path


def test_every_value_ends_once_and_rows_without_a_name_are_rejected(
    trucks: tuple[Settings, Path, TruckTruth, list[Loaded]],
) -> None:
    _, _, truth, loads = trucks
    taken_back = 2 * TRUCKS.trucks * sum(len(fields) for fields, _ in SOURCES.values())
    assert sum(one.readings for one in loads) == truth.readings + taken_back
    assert sum(one.empty for one in loads) == truth.empty > 0
    assert sum(one.rejected for one in loads) == truth.rejected > 0
    assert all(dirt.missing and dirt.late and dirt.null_tags for dirt in truth.sources.values())


def test_no_truck_is_heard_of_that_is_none(trucks: tuple[Settings, Path, TruckTruth, list[Loaded]]) -> None:
    with duckdb.connect(str(trucks[0].warehouse), read_only=True) as connection:
        found = connection.execute(
            "select count(*), bool_and(is_registered), count(distinct site_id) from main.dim_devices"
        ).fetchone()
        latest = connection.execute("select max(measured_at) < '2016-01-02 23:59:59' from main.cube_readings_latest")
        assert latest.fetchone() == (True,)
    assert found[:2] == (TRUCKS.trucks, True) and found[2] > 1


def test_the_marts_equal_a_full_refresh(trucks: tuple[Settings, Path, TruckTruth, list[Loaded]]) -> None:
    incremental = marts_of(trucks[0])
    build(trucks[0], full_refresh=True)
    assert_same(marts_of(trucks[0]), incremental)


def test_the_same_arguments_write_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        simulate_trucks(Trucks(5, 2, seed, date(2016, 2, 28), 600), tmp_path / name)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    same, different, missing = filecmp.cmpfiles(tmp_path / "one", tmp_path / "two", files, shallow=False)
    assert (len(same), different, missing) == (len(files), [], [])
    landed = [file for file in files if "landing" in file.parts]
    assert filecmp.cmpfiles(tmp_path / "one", tmp_path / "other", landed, shallow=False)[0] == []


def test_the_command_writes_trucks_beside_any_other_fleet(tmp_path: Path) -> None:
    done = run_fleetmart(tmp_path, "simulate", "trucks", "--trucks", "2", "--days", "1", "--interval", "3600", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"] == 2
    assert (tmp_path / "trucks" / "registry" / "device_attributes.csv").exists()
    wrong = run_fleetmart(tmp_path, "simulate", "trucks", "--interval", "7")
    assert wrong.returncode == 2 and "must divide a day" in wrong.stderr
