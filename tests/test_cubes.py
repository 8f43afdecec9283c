"""The cubes against an independent computation, to the last count and to 1e-9 in figures."""

import duckdb
import pandas as pd
import pytest

from orchestration.settings import ROOT, Settings
from tests.independent import KEYS, assert_equal, daily_cube, hourly_cube, received_readings

SAMPLE, REGISTRY = ROOT / "orchestration" / "sample", ROOT / "orchestration" / "registry"


def published(settings: Settings, tenant: str, table: str) -> pd.DataFrame:
    with duckdb.connect(str(settings.serving / tenant / "current"), read_only=True) as connection:
        return connection.execute(f"select * from {table}").df()


@pytest.fixture(scope="session")
def independent_days() -> pd.DataFrame:
    return daily_cube(received_readings(SAMPLE), REGISTRY)


@pytest.mark.parametrize("tenant", ["la-haute-borne", "nyc-airports", "nrel-pv"])
def test_days_agree_with_an_independent_computation(
    tenant: str, demo_settings: Settings, independent_days: pd.DataFrame
) -> None:
    theirs = independent_days[independent_days["tenant_id"] == tenant].copy()
    assert len(theirs) > 100
    ours = published(demo_settings, tenant, "cube_readings_daily")
    assert (ours.loc[ours["reading_count"] == 0, "expected_count"] > 0).all(), "due, but nothing came"
    assert_equal(ours[ours["reading_count"] > 0].copy(), theirs, KEYS["day"])


def test_hours_agree_with_an_independent_computation(demo_settings: Settings) -> None:
    theirs = hourly_cube(received_readings(SAMPLE), REGISTRY)
    assert_equal(published(demo_settings, "operator", "cube_readings_hourly"), theirs, KEYS["hour"])


def test_every_grain_counts_every_reading_once(demo_settings: Settings) -> None:
    with duckdb.connect(str(demo_settings.warehouse), read_only=True) as connection:
        counts = {
            table: connection.execute(f"select sum({column})::bigint from main.{table}").fetchone()[0]
            for table, column in {
                "fct_readings": "1",
                "cube_readings_hourly": "reading_count",
                "cube_readings_daily": "reading_count",
                "cube_readings_monthly": "reading_count",
                "cube_readings_utc_daily": "reading_count",
                "cube_readings_utc_monthly": "reading_count",
                "cube_device_health_daily": "reading_count",
                "cube_fleet_daily": "reading_count",
            }.items()
        }
    assert len(set(counts.values())) == 1, counts


def test_a_day_of_23_or_25_hours_expects_as_many_readings(demo_settings: Settings) -> None:
    with duckdb.connect(str(demo_settings.warehouse), read_only=True) as connection:
        expected = dict(
            connection.execute(
                "select day::varchar, any_value(expected_count) from main.cube_readings_daily "
                "where tenant_id = 'nyc-airports' and metric = 'ambient_temperature' "
                "and day in ('2013-03-10', '2013-07-01', '2013-11-03') group by 1"
            ).fetchall()
        )
    assert expected == {"2013-03-10": 23, "2013-07-01": 24, "2013-11-03": 25}


def test_an_impossible_value_is_kept_flagged_and_out_of_the_figures(demo_settings: Settings) -> None:
    """1,048 mph at Newark on 2013-02-12T08:00Z, counted in the data set's manifest."""
    with duckdb.connect(str(demo_settings.serving / "nyc-airports" / "current"), read_only=True) as connection:
        reading = connection.execute(
            "select is_valid, invalid_reason, round(value) from fct_readings where device_id = 'EWR' "
            "and metric = 'wind_speed' and measured_at = '2013-02-12 08:00:00'"
        ).fetchone()
        highest = connection.execute(
            "select max(value_max) from cube_readings_daily where metric = 'wind_speed'"
        ).fetchone()[0]
    assert reading == (False, "above the valid range", 469)
    assert highest < 60


def test_the_clock_changes_double_hour_counts_each_instant_once(demo_settings: Settings) -> None:
    """The manifest counts six instants per turbine sent twice on 2014-03-30; seven channels each."""
    with duckdb.connect(str(demo_settings.serving / "la-haute-borne" / "current"), read_only=True) as connection:
        repeated = connection.execute(
            "select device_id, count(*), max(received_count) from fct_readings where received_count > 1 group by 1"
        ).fetchall()
    assert sorted(repeated) == [(f"R80{n}", 42, 2) for n in (711, 721, 736, 790)]
