"""In whatever order, split, doubled or late readings arrive, the marts are those of a full refresh."""

import itertools
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from expectations.gate import gate
from orchestration.build import build
from orchestration.load import load_waiting
from orchestration.publish import publish_all
from orchestration.settings import Settings
from tests.state import State, assert_same, marts_of, state_of

HEADER = "time_utc,net_energy_kwh,availability_kwh,curtailment_kwh"
START = datetime(2014, 3, 29, 21)  # Paris puts its clocks forward in the night after
HOMES = itertools.count()
DAYS = [-800, -35, -1, 0, 1, 2, 30, 40_000]  # years and weeks before, and a century after

Row = tuple[int, int, int]  # day, step of ten minutes, value
rows = st.lists(
    st.tuples(st.sampled_from(DAYS), st.integers(0, 143), st.integers(0, 99)), min_size=1, max_size=12, unique=True
)
deliveries = st.lists(rows, min_size=2, max_size=5)


def text_of(delivery: list[Row]) -> str:
    lines = [
        f"{START + timedelta(days=day, minutes=10 * step):%Y-%m-%d %H:%M:%S},{value},{value % 2},0"
        for day, step, value in delivery
    ]
    return "\n".join([HEADER, *lines]) + "\n"


def last_received(delivered: list[list[Row]]) -> dict[tuple[int, int], int]:
    """The value that must stand for each instant: that of the last row of the last delivery that had it."""
    return {(day, step): value for delivery in delivered for day, step, value in delivery}


@settings(
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(deliveries=deliveries, replayed=st.integers(0, 10))
def test_marts_and_snapshots_equal_a_full_refresh(
    small: Callable[..., Settings], deliveries: list[list[Row]], replayed: int
) -> None:
    home = small(f"home-{next(HOMES)}")
    count_energy(home)
    limit_repeats(home)
    delivered: list[list[Row]] = []
    for number, delivery in enumerate([*deliveries, deliveries[replayed % len(deliveries)]]):
        taken_in = deliver(home, number, delivery)
        delivered += [delivery] if taken_in else []
        build(home)
        gate(home)
        publish_all(home)
    incremental = state_of(home)
    assert standing_values(home) == last_received(delivered)
    build(home, full_refresh=True)
    assert_same(marts_of(home), only_marts(incremental))
    gate(home)
    publish_all(home)
    assert_same(only_tables(state_of(home)), only_tables(incremental))


def test_a_late_reading_ends_the_run_that_it_falls_into(small: Callable[..., Settings]) -> None:
    """Two weeks of one value, stuck from the end of the first one; then one other value in their midst."""
    home = small()
    limit_repeats(home)
    deliver(home, 0, [(day, 6 * hour, 0) for day in range(14) for hour in range(24)])
    build(home)
    stuck_days = "select sum(stuck_count) from main.cube_readings_daily where metric = 'curtailment_loss'"
    assert ask(home, stuck_days) == [(7 * 24,)]
    file = home.landing / "lhb_meter" / "other.csv"
    file.write_text(f"{HEADER}\n{START + timedelta(days=3, hours=12, minutes=30):%Y-%m-%d %H:%M:%S},0,0,1\n")
    load_waiting(home)
    build(home)
    # the run that goes on to the end began anew half a day later than three days after the first
    assert ask(home, stuck_days) == [(24 * 14 - (24 * 3 + 13) - 7 * 24,)]
    incremental = marts_of(home)
    build(home, full_refresh=True)
    assert_same(marts_of(home), incremental)


def ask(home: Settings, query: str) -> list[tuple]:
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        return connection.execute(query).fetchall()


def count_energy(home: Settings) -> None:
    """Make the energy a counter that rolls over: what it counted goes on over midnight and over silences."""
    metrics = home.registry / "metrics.csv"
    named = metrics.read_text()
    metrics.write_text(re.sub(r"(?m)^(net_energy,.*),gauge,", r"\1,counter,", named))
    rules = home.registry / "device_model_metrics.csv"
    head, *lines = rules.read_text().splitlines()
    if "rolls_over_at" not in head:
        lines = [f"{line},{100 if ',net_energy,' in line else ''}" for line in lines]
        rules.write_text("\n".join([f"{head},rolls_over_at", *lines]) + "\n")


def limit_repeats(home: Settings) -> None:
    """Let the two losses be stuck after an hour and after a week: one changes often, the other never."""
    rules = home.registry / "device_model_metrics.csv"
    text = rules.read_text()
    head = text.splitlines()[0].split(",")
    for metric, minutes in (("availability_loss", "60"), ("curtailment_loss", "10080")):
        row = next(line for line in text.splitlines() if f",{metric}," in line)
        cells = row.split(",")
        cells[head.index("stuck_after_minutes")] = minutes
        text = text.replace(row, ",".join(cells))
    rules.write_text(text)


def deliver(home: Settings, number: int, delivery: list[Row]) -> bool:
    """Put a file into landing and load it; False when its content was loaded before."""
    file: Path = home.landing / "lhb_meter" / f"{number}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text_of(delivery))
    return load_waiting(home).files == 1


def standing_values(home: Settings) -> dict[tuple[int, int], int]:
    values = {}
    for measured_at, value in ask(home, "select measured_at, value from main.fct_readings where metric = 'net_energy'"):
        minutes = (measured_at - START) // timedelta(minutes=10)
        values[(minutes // 144, minutes % 144)] = round(value)
    return values


def only_marts(state: State) -> State:
    return {name: table for name, table in state.items() if "/" not in name and name not in FILES}


def only_tables(state: State) -> State:
    """All but the lists of files: a repeat alone is no reason to publish, and shows in `loads` with what follows it."""
    return {name: table for name, table in state.items() if name not in FILES and not name.endswith("/loads")}


FILES = ("lake", "archive", "landing", "set-aside")
