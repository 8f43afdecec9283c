"""Two more real fleets, where their files stand beside the checkout: date parts with NA, and nested messages."""

from pathlib import Path

import duckdb
import pytest

from expectations.gate import gate
from orchestration.build import build
from orchestration.landing import deliver
from orchestration.load import Loaded, load_waiting
from orchestration.publish import publish_all
from orchestration.settings import ROOT, Settings

SHARED = ROOT.parent / "shared" / "data"
LOCAL = ROOT / "tests" / "data"
BEIJING = sorted((SHARED / "beijing_air_12stations").glob("*.csv.gz"))
LORAWAN = {
    "campusiot_helium_ems": "Helium/EMS_A81758FFFE04B1C1.ndjson.gz",
    "campusiot_helium_ftd": "Helium/FTD_0018B20000020.ndjson.gz",
    "campusiot_sainteynard": "SaintEynard/d1d1e80000000032_campusiot.ndjson.gz",
    "campusiot_tourperret": "TourPerret/ems-tourperret-A81758FFFE04B1C1.ndjson.gz",
}
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="no folder shared/data beside the checkout")


def home_of(fleet: str, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", registry=LOCAL / fleet / "registry", sources=LOCAL / fleet / "sources")


def beijing(tmp_path: Path, files: list[Path]) -> tuple[Settings, Loaded]:
    settings = home_of("beijing", tmp_path)
    deliver(settings, next(settings.sources.glob("*.yml")).stem, files)
    return settings, load_waiting(settings)


def test_beijing_loads_every_value(tmp_path: Path) -> None:
    _, loaded = beijing(tmp_path, BEIJING)
    assert loaded.rejected == 0 and loaded.readings + loaded.empty == 12 * 35_064 * 12 and loaded.empty == 74_027


def test_beijing_builds_four_years_of_two_stations_and_publishes(tmp_path: Path) -> None:
    settings, _ = beijing(tmp_path, BEIJING[:2])
    assert build(settings).partitions == 1_462
    assert all(verdict.passed for verdict in gate(settings))
    assert publish_all(settings).withheld == []
    with duckdb.connect(str(settings.serving / "operator" / "current"), read_only=True) as connection:
        days = connection.execute("select min(day)::varchar, max(day)::varchar from cube_fleet_daily").fetchone()
        highest = connection.execute("select max(value) from fct_readings where metric = 'co'").fetchone()[0]
    sent = duckdb.read_csv([str(file) for file in BEIJING[:2]], all_varchar=True)
    micrograms = sent.aggregate("max(try_cast(CO as double))").fetchone()[0]
    assert days == ("2013-03-01", "2017-02-28")
    assert highest == pytest.approx(micrograms / 1000)


def test_lorawan_messages_become_readings_and_overlaps_count_once(tmp_path: Path) -> None:
    settings = home_of("lorawan", tmp_path)
    for source, file in LORAWAN.items():
        deliver(settings, source, [SHARED / "campusiot_lorawan" / file])
    loaded = load_waiting(settings)
    assert loaded.files == len(LORAWAN)
    assert loaded.rejected == 0 and loaded.readings > 300_000
    build(settings)
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        kept, received = connection.execute(
            "select count(*), sum(received_count)::bigint from main.fct_readings"
        ).fetchone()
    assert received == loaded.readings
    assert kept < received
