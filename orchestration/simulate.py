"""A fleet of any size as landing files, with faults injected and the truth about them in a file beside.

The same arguments write the same bytes.
"""

import csv
import dataclasses
import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import duckdb

from orchestration.errors import WrongUse
from orchestration.registry_rows import TABLES
from orchestration.simulate_faults import FAULTS, Day, Fault, inject
from orchestration.simulate_fleet import Fleet, SimulatedMetric

ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Sydney", "UTC"]
SITES = 5
SOURCE = """source: simulated
description: Readings of a simulated fleet, one CSV a tenant and day, and late ones after.
tenant: {column: tenant_id}
site: {column: site_id}
device: {column: device_id}
metric: {column: metric}
value: {column: value}
unit: {column: unit}
format: {type: csv}
measured_at: {column: measured_at, format: iso}
"""


@dataclass
class Truth:
    """What was written: `readings` is of distinct tenant, device, metric and instant, all that is not garbage."""

    files: int = 0
    rows: int = 0
    readings: dict[str, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def simulate(fleet: Fleet, folder: Path, report: Callable[[str], None] = lambda line: None) -> Truth:
    """Write the fleet below `folder`: landing/, sources/, registry/ and truth.json; returns the truth.

    Each kind of fault is injected once per tenant and ten days, each on a day of its own as far as there
    are days. Raises WrongUse when `folder` holds anything but an earlier simulation.
    """
    _check(fleet)
    with new_simulation(folder) as partial:
        landing = partial / "landing" / "simulated"
        for made in (landing / "daily", landing / "later"):
            made.mkdir(parents=True)
        (partial / "sources" / "simulated.yml").write_text(SOURCE)
        write_registry(_registry(fleet), partial / "registry")
        truth = Truth()
        with duckdb.connect() as connection:
            for number in range(fleet.tenants):
                plan = _plan(fleet, number)
                for offset in range(fleet.days):
                    _write_day(fleet, connection, landing, number, offset, plan.get(offset, []), truth)
                report(f"simulate tenant {number + 1}/{fleet.tenants}: {truth.rows:,} rows in {truth.files:,} files")
        content = {"fleet": dataclasses.asdict(fleet), **dataclasses.asdict(truth)}
        (partial / "truth.json").write_text(json.dumps(content, indent=1, default=str) + "\n")
    return truth


@contextmanager
def new_simulation(folder: Path) -> Iterator[Path]:
    """A folder to write a simulation into, which takes the place of `folder` when the block ends well.

    Raises WrongUse when `folder` holds anything but an earlier simulation.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "truth.json").exists():
        raise WrongUse(f"{folder} holds something else than a simulation. Give --to an empty or new folder.")
    partial = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    for made in ("landing", "sources", "registry"):
        (partial / made).mkdir(parents=True)
    yield partial
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def _check(fleet: Fleet) -> None:
    for name in ("tenants", "devices", "metrics", "days", "interval"):
        if getattr(fleet, name) < 1:
            raise WrongUse(f"--{name} must be at least 1, not {getattr(fleet, name)}.")
    if 86_400 % fleet.interval:
        raise WrongUse(f"--interval must divide a day of 86,400 seconds, and {fleet.interval} does not.")
    unknown = [kind for kind in fleet.faults if kind not in FAULTS]
    if unknown:
        raise WrongUse(f"There is no fault {unknown[0]!r}. Faults are {', '.join(FAULTS)}; or say all, or none.")


def _plan(fleet: Fleet, tenant: int) -> dict[int, list[str]]:
    """Which faults happen on which day of a tenant: spread, so that one does not hide another."""
    chance = random.Random(f"{fleet.seed} plan {tenant}")
    wanted = list(fleet.faults) * max(1, fleet.days // 10)
    days = [day for _ in range(len(wanted) // fleet.days + 1) for day in chance.sample(range(fleet.days), fleet.days)]
    plan: dict[int, list[str]] = {}
    for kind, day in zip(wanted, days, strict=False):
        plan.setdefault(day, []).append(kind)
    return plan


def _write_day(
    fleet: Fleet,
    connection: duckdb.DuckDBPyConnection,
    landing: Path,
    tenant: int,
    offset: int,
    kinds: list[str],
    truth: Truth,
) -> None:
    tenant_id, day = f"tenant-{tenant:03d}", fleet.start + timedelta(days=offset)
    name = f"{day}_{tenant_id}.csv"
    rows = fleet.devices * fleet.metrics * fleet.steps
    if not kinds:
        _write(connection, _readings(fleet, tenant, offset), landing / "daily" / name)
        _count(truth, tenant_id, rows, rows)
        return
    connection.execute(f"create or replace temp table today as {_readings(fleet, tenant, offset)}")
    connection.execute("create or replace temp table later as from today limit 0")
    connection.execute("create or replace temp table again as from today limit 0")
    chance = random.Random(f"{fleet.seed} {tenant} {offset}")
    truth.faults += inject(kinds, Day(fleet, connection, chance, tenant_id, day, name))
    _write(connection, "select * from today order by taken_at, device_id, metric", landing / "daily" / name)
    counted = "select count(*), count(distinct (device_id, metric, taken_at)) filter (where value <> 'ERR') from "
    both = "(from today union all from later)"
    sent, readings = connection.execute(counted + both).fetchone()
    _count(truth, tenant_id, sent, readings)
    for table, copy in (("later", name), ("again", f"again_{name}")):
        if connection.execute(f"select count(*) from {table}").fetchone()[0]:
            _write(connection, f"select * from {table} order by taken_at, device_id, metric", landing / "later" / copy)
            truth.files += 1
            truth.rows += connection.execute("select count(*) from again").fetchone()[0] if table == "again" else 0


def _count(truth: Truth, tenant_id: str, rows: int, readings: int) -> None:
    truth.files += 1
    truth.rows += rows
    truth.readings[tenant_id] = truth.readings.get(tenant_id, 0) + readings


def _readings(fleet: Fleet, tenant: int, offset: int) -> str:
    """SQL of a tenant's clean day, in the order of time; noise is a hash of all that makes a reading what it is."""
    values = " ".join(f"when {number} then {metric.value}" for number, metric in enumerate(fleet.catalogue))
    names, units = ([getattr(metric, key) for metric in fleet.catalogue] for key in ("name", "unit"))
    series = fleet.devices * fleet.metrics
    return f"""
        select 'tenant-{tenant:03d}' as tenant_id, format('site-{{:02d}}', device % {SITES}) as site_id,
            format('device-{{:05d}}', device) as device_id, {names}[metric_no + 1] as metric, taken_at,
            round(case metric_no {values} end, 3)::varchar as value, {units}[metric_no + 1] as unit
        from (
            select i // {fleet.metrics} % {fleet.devices} as device, i % {fleet.metrics} as metric_no,
                timestamp '{fleet.start}' + to_seconds(seconds) as taken_at, seconds,
                (hash(i, {offset}, {tenant}, {fleet.seed}) % 1000000) / 1e6 as u
            from (
                select i, {offset * 86_400} + i // {series} * {fleet.interval} as seconds
                from range({series * fleet.steps}) as r (i)
            )
        )
    """


def _write(connection: duckdb.DuckDBPyConnection, rows: str, path: Path) -> None:
    connection.execute(
        "copy (select tenant_id, site_id, device_id, metric, strftime(taken_at, '%Y-%m-%dT%H:%M:%SZ') as measured_at, "
        f"value, unit from ({rows})) to '{path}' (format csv, header)"
    )


def _registry(fleet: Fleet) -> dict[str, tuple[str, list[tuple]]]:
    """The registry's tables: columns and rows."""
    tenants = [f"tenant-{number:03d}" for number in range(fleet.tenants)]
    devices = [(f"device-{number:05d}", f"site-{number % SITES:02d}") for number in range(fleet.devices)]
    sites = sorted({site for _, site in devices})
    commissioned = fleet.start - timedelta(days=30)
    return {
        "plans": (
            "plan_id,plan_name,currency,price_per_month,included_gb,price_per_gb_month,price_per_million_readings",
            [("simulated", "Simulated plan", "EUR", 100, 10, 0.5, 0.2)],
        ),
        "tenants": (
            "tenant_id,tenant_name,industry,plan_id",
            [(t, f"Simulated fleet {t[-3:]}", "simulation", "simulated") for t in tenants],
        ),
        "sites": (
            "tenant_id,site_id,site_name,timezone,latitude,longitude",
            [(t, s, f"Site {s[-2:]}", ZONES[place], "", "") for t in tenants for place, s in enumerate(sites)],
        ),
        "device_models": ("model_id,model_name,manufacturer", [("simulated", "Simulated device", "")]),
        "devices": (
            "tenant_id,site_id,device_id,device_name,model_id,commissioned_on,decommissioned_on",
            [(t, s, d, f"Device {d[-5:]}", "simulated", commissioned, "") for t in tenants for d, s in devices],
        ),
        "metrics": (
            "metric,metric_label,description,kind,unit,value_type",
            [(m.name, _label(m.name), f"Simulated {m.kind}.", m.kind, m.unit, "number") for m in fleet.catalogue],
        ),
        "device_model_metrics": (
            "model_id,metric,unit,interval_seconds,valid_min,valid_max,stuck_after_minutes",
            [
                ("simulated", m.name, m.unit, fleet.interval, m.valid_min, m.valid_max, _stuck_after(fleet, m))
                for m in fleet.catalogue
            ],
        ),
        "headline_metrics": (
            "tenant_id,metric,rank,aggregation,label",
            [(t, fleet.catalogue[0].name, 1, "avg", _label(fleet.catalogue[0].name)) for t in tenants],
        ),
    }


def write_registry(tables: dict[str, tuple[str, list[tuple]]], folder: Path) -> None:
    """Write a registry of these columns and rows; a table that is not among them has none."""
    empty = {name: (",".join(kind.model_fields), []) for name, kind in TABLES.items()}
    for name, (header, rows) in {**empty, **tables}.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header.split(","), *rows])


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _stuck_after(fleet: Fleet, metric: SimulatedMetric) -> int | str:
    """Minutes: gauges with noise never stand still for so long; states and events may."""
    return max(240, fleet.interval // 60 * 10) if metric.kind == "gauge" else ""
