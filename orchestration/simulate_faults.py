"""The faults of a simulated fleet, each with the truth about it.

A day of a tenant is a table that faults change before it is written, so whatever was injected is counted where it
happens.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import duckdb

from orchestration.simulate_fleet import Fleet


@dataclass(frozen=True)
class Fault:
    """One injected fault: what, where, when (UTC, ISO), on how many rows, in which file, and what makes it right."""

    kind: str
    tenant_id: str
    device_id: str | None
    metric: str | None
    first_at: str
    last_at: str
    rows: int
    file: str
    detail: str


@dataclass(frozen=True)
class Day:
    """One tenant's day while it is made: `today` is its table, `later` that of what comes with the next file.

    `name` is that of its files.
    """

    fleet: Fleet
    connection: duckdb.DuckDBPyConnection
    chance: random.Random
    tenant_id: str
    day: date
    name: str

    def change(self, sql: str, **parameters: object) -> int:
        """Run a statement on the day's tables; returns the rows that it changed."""
        return self.connection.execute(sql, parameters).fetchone()[0]

    def place(self, hours: float) -> dict[str, object]:
        """A device, a metric and a span of `hours` within the day."""
        first = self.chance.uniform(0, 24 - hours)
        return {
            "device": f"device-{self.chance.randrange(self.fleet.devices):05d}",
            "metric": self.chance.choice(self.fleet.catalogue).name,
            "first": f"{self.day} {_clock(first)}",
            "last": f"{self.day} {_clock(first + hours)}",
        }


OF_DEVICE = "device_id = $device and taken_at between $first::timestamp and $last::timestamp"
OF_METRIC = f"{OF_DEVICE} and metric = $metric"


def _changed(by: str) -> str:
    """SQL of a changed value; what another fault made no number of stays as it is."""
    return f"coalesce((try_cast(value as double) {by})::varchar, value)"


def _clock(hours: float) -> str:
    seconds = min(86_399, int(hours * 3600))
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _gap(day: Day) -> tuple[dict, int, str]:
    place = day.place(4)
    place.pop("metric")
    return place, day.change(f"delete from today where {OF_DEVICE}", **place), "rows are missing"


def _silent(day: Day) -> tuple[dict, int, str]:
    place = {"device": day.place(1)["device"], "first": f"{day.day} 00:00:00", "last": f"{day.day} 23:59:59"}
    return place, day.change(f"delete from today where {OF_DEVICE}", **place), "the device sends nothing all day"


def _stuck(day: Day) -> tuple[dict, int, str]:
    place = day.place(8)
    value = "(select value from today where device_id = $device and metric = $metric order by taken_at limit 1)"
    return place, day.change(f"update today set value = {value} where {OF_METRIC}", **place), "one value all the time"


def _spike(day: Day) -> tuple[dict, int, str]:
    place = day.place(2)
    high = 100 * max(1, next(m.valid_max for m in day.fleet.catalogue if m.name == place["metric"]))
    return place, day.change(f"update today set value = '{high:g}' where {OF_METRIC}", **place), f"value {high:g}"


def _reset(day: Day) -> tuple[dict, int, str]:
    counters = [metric.name for metric in day.fleet.catalogue if metric.kind == "counter"]
    place = day.place(5) | {"metric": next(iter(counters), None)}
    first = "(select min(value::double) from today where value <> 'ERR' and " + OF_METRIC + ")"
    changed = day.change(f"update today set value = {_changed(f'- {first}')} where {OF_METRIC}", **place)
    return place, changed, "the counter begins again at 0; afterwards it is as if it had not"


def _duplicate(day: Day) -> tuple[dict, int, str]:
    place = day.place(3)
    return place, day.change(f"insert into today from today where {OF_METRIC}", **place), "each row comes twice"


def _late(day: Day) -> tuple[dict, int, str]:
    place = day.place(5)
    day.change(f"insert into later from today where {OF_METRIC}", **place)
    return place, day.change(f"delete from today where {OF_METRIC}", **place), "the rows come in a file of later/"


def _resent(day: Day) -> tuple[dict, int, str]:
    place = day.place(3)
    columns = f"* replace ({_changed('+ 1')} as value)"
    sent = day.change(f"insert into later select {columns} from today where {OF_METRIC}", **place)
    return place, sent, "the rows come again in a file of later/, each value greater by 1: that one is right"


def _unit(day: Day) -> tuple[dict, int, str]:
    place = day.place(6)
    unit, factor, offset = next(m.other_unit for m in day.fleet.catalogue if m.name == place["metric"])
    changed = day.change(
        f"update today set value = {_changed(f'* {factor} + {offset}')}, unit = '{unit}' where {OF_METRIC}",
        **place,
    )
    return place, changed, f"sent in {unit}, and says so"


def _wrong_unit(day: Day) -> tuple[dict, int, str]:
    place = day.place(6) | {"metric": day.fleet.catalogue[min(1, day.fleet.metrics - 1)].name}
    unit, factor, offset = next(m.other_unit for m in day.fleet.catalogue if m.name == place["metric"])
    changed = day.change(f"update today set value = {_changed(f'* {factor} + {offset}')} where {OF_METRIC}", **place)
    return place, changed, f"sent in {unit}, and does not say so"


def _clock_jump(day: Day) -> tuple[dict, int, str]:
    place = day.place(3)
    changed = day.change(f"update today set taken_at = taken_at + interval 7 second where {OF_METRIC}", **place)
    return place, changed, "the device's clock is 7 seconds ahead"


def _future(day: Day) -> tuple[dict, int, str]:
    place = day.place(2)
    changed = day.change(f"update today set taken_at = taken_at + interval 100 year where {OF_METRIC}", **place)
    return place, changed, "the device's clock is 100 years ahead"


def _garbage(day: Day) -> tuple[dict, int, str]:
    place = day.place(2)
    return place, day.change(f"update today set value = 'ERR' where {OF_METRIC}", **place), "ERR instead of a number"


def _unregistered(day: Day) -> tuple[dict, int, str]:
    place = day.place(4)
    ghost = f"ghost-{day.chance.randrange(1000):03d}"
    changed = day.change(
        f"insert into today select * replace ('{ghost}' as device_id) from today where {OF_METRIC}", **place
    )
    return place | {"device": ghost}, changed, "the device is not in the registry"


def _unknown_metric(day: Day) -> tuple[dict, int, str]:
    place = day.place(4)
    changed = day.change(
        f"insert into today select * replace ('mystery' as metric) from today where {OF_METRIC}", **place
    )
    return place | {"metric": "mystery"}, changed, "the metric is not in the registry"


def _repeated_file(day: Day) -> tuple[dict, int, str]:
    place = {"first": f"{day.day} 00:00:00", "last": f"{day.day} 23:59:59"}
    return place, day.change("create or replace temp table again as from today"), "the whole file comes again in later/"


FAULTS: dict[str, Callable[[Day], tuple[dict, int, str]]] = {
    "gap": _gap,
    "silent": _silent,
    "stuck": _stuck,
    "spike": _spike,
    "reset": _reset,
    "duplicate": _duplicate,
    "late": _late,
    "resent": _resent,
    "unit": _unit,
    "wrong_unit": _wrong_unit,
    "clock_jump": _clock_jump,
    "future": _future,
    "garbage": _garbage,
    "unregistered": _unregistered,
    "unknown_metric": _unknown_metric,
    "repeated_file": _repeated_file,
}


def inject(kinds: list[str], day: Day) -> list[Fault]:
    """Inject faults of these kinds into the day; returns those that found rows to change."""
    faults = []
    # the whole file can only come again when it is whole
    for kind in sorted(kinds, key=lambda kind: kind == "repeated_file"):
        place, changed, detail = FAULTS[kind](day)
        if not changed:
            continue  # another fault of the day took the rows away
        faults.append(
            Fault(
                kind,
                day.tenant_id,
                place.get("device"),
                place.get("metric"),
                place["first"],
                place["last"],
                changed,
                f"{'later' if kind in ('late', 'resent') else 'daily'}/{day.name}",
                detail,
            )
        )
    return faults
