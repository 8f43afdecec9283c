"""A trucking company as a simulated tenant: the IoT use case of the Time Series Benchmark Suite (TSBS).

Domains, random walks and dirt are TSBS's (https://github.com/timescale/tsbs, pkg/data/usecases/iot). Two sources,
readings and diagnostics, are written as wide CSV, so many rows at a time that memory does not grow with the fleet.
The same arguments write the same bytes.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from orchestration.errors import WrongUse
from orchestration.simulate import new_simulation, write_registry

TENANT = "trucks"
FLEETS = ("East", "West", "North", "South")
DRIVERS = ("Derek", "Rodney", "Albert", "Andy", "Seth", "Trish")
VERSIONS = ("v1.0", "v1.5", "v2.0", "v2.3")
# model → load capacity, fuel capacity, nominal fuel consumption
MODELS = {"F-150": (2000, 200, 15), "G-2000": (5000, 300, 19), "H-2": (1500, 150, 12)}
ATTRIBUTES = ("driver", "device_version", "load_capacity", "fuel_capacity", "nominal_fuel_consumption")
TAGS = ("name", "fleet", "driver", "model", *ATTRIBUTES[1:])
STATE_RULES = (
    ("moving", "velocity", "value", ">", 1),
    ("moving", "velocity", "average", ">", 1),
    ("driving", "velocity", "average", ">", 5),
    ("well", "status", "average", "<", 1),
    ("broken", "status", "positive_share", ">=", 0.5),
)
ROWS_AT_ONCE = 500_000
# TSBS's dirt, as shares; entries come in batches of ten.
BATCH = 10
BATCH_MISSING, BATCH_LATE, MISSING, LATE, NULL_FIELD, NULL_TAG = 0.01, 0.05, 0.10, 0.30, 0.10, 0.01
SOURCE = """source: {source}
description: {description}
tenant: trucks
site: unassigned  # the registry knows each truck's fleet
device: {{column: name}}
format: {{type: csv}}
measured_at: {{column: time, format: iso}}
metrics:
{metrics}
"""


@dataclass(frozen=True)
class Field:
    """A metric of the trucks: its registry row, and the bounds, first values, steps and decimals of its walk."""

    name: str
    unit: str
    description: str
    high: float
    low: float = 0
    first: tuple[float, float] = (0, 0)
    step: float = 0
    decimals: int = 0


READINGS = (
    Field("latitude", "degree", "Degrees north.", 90, -90, (0, 90), 0.005, 5),
    Field("longitude", "degree", "Degrees east.", 180, -180, (0, 180), 0.005, 5),
    Field("elevation", "m", "Height of the truck.", 5000, 0, (0, 500), 10),
    Field("velocity", "km/h", "Speed of the truck.", 100, step=10),
    Field("heading", "degree", "Direction in which the truck goes.", 360, 0, (0, 360), 5),
    Field("grade", "percent", "Steepness of the road.", 100, step=5),
    Field("fuel_consumption", "l/h", "Fuel used at the moment.", 50, 0, (25, 25), 5, 1),
)
STATUS = Field("status", "1", "0 is healthy, above it are failures.", 5, step=1)
DIAGNOSTICS = (
    Field("fuel_state", "1", "Share of the tank that is full.", 1, decimals=1),
    Field("current_load", "kg", "What the truck carries.", 5000),
    STATUS,
)
SOURCES = {
    "truck_readings": (READINGS, "Where the trucks are and how they drive, after TSBS."),
    "truck_diagnostics": (DIAGNOSTICS, "Tank, load and health of the trucks, after TSBS."),
}


@dataclass(frozen=True)
class Trucks:
    """The arguments of a simulation; `interval` in seconds."""

    trucks: int
    days: int
    seed: int
    start: date
    interval: int


@dataclass
class Dirt:
    """What was injected into the rows of one source; `null_names` are rows without a device."""

    rows: int = 0
    missing: int = 0
    late: int = 0
    null_fields: int = 0
    null_tags: int = 0
    null_names: int = 0


@dataclass
class TruckTruth:
    """What was written; `readings` are values of named trucks, `empty` those that are null, `rejected` rows of none."""

    files: int = 0
    rows: int = 0
    readings: int = 0
    empty: int = 0
    rejected: int = 0
    sources: dict[str, Dirt] = field(default_factory=lambda: {source: Dirt() for source in SOURCES})


@dataclass(frozen=True)
class Walks:
    """Clamped random walks of all trucks; `levels` goes on from one call of `go` to the next."""

    fields: tuple[Field, ...]
    levels: np.ndarray

    @classmethod
    def begun(cls, fields: tuple[Field, ...], trucks: int, chance: np.random.Generator) -> "Walks":
        return cls(fields, np.stack([chance.uniform(*one.first, trucks) for one in fields]))

    def go(self, noise: np.ndarray) -> np.ndarray:
        """Levels by instant, field and truck, of as many instants as there is noise."""
        steps, low, high = (
            np.array([[getattr(one, bound)] for one in self.fields], float) for bound in ("step", "low", "high")
        )
        noise *= steps
        level = self.levels
        for instant in noise:
            np.clip(np.add(instant, level, out=instant), low, high, out=instant)
            level = instant
        self.levels[:] = level
        return noise


@dataclass(frozen=True)
class Fleet:
    """The trucks on their way: everything that goes on from instant to instant."""

    driving: Walks
    health: Walks
    fuel: np.ndarray
    load: np.ndarray

    def go(self, ticks: int, chance: np.random.Generator) -> dict[str, np.ndarray]:
        """The next instants of each source: values by instant, field and truck."""
        shape = (ticks, len(self.fuel))
        driving = self.driving.go(chance.uniform(-1, 1, (ticks, len(READINGS), len(self.fuel))))
        status = self.health.go(chance.normal(0, 1, (ticks, 1, len(self.fuel))))[:, 0]
        fuel = _tanks(self.fuel, chance.uniform(0, 0.001, shape))
        load = _loads(self.load, chance.uniform(0, 5000, shape), chance.random(shape) < 0.05)
        return {"truck_readings": driving, "truck_diagnostics": np.stack([fuel, load, status], axis=1)}


def _tanks(fuel: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Tanks that fall by what is used and are filled when empty; `fuel` becomes their last level."""
    level = fuel
    for instant in used:
        np.subtract(level, instant, out=instant)
        instant[instant <= 0] = 1
        level = instant
    fuel[:] = level
    return used


def _loads(load: np.ndarray, drawn: np.ndarray, is_new: np.ndarray) -> np.ndarray:
    """Loads that stay until a new one is taken; `load` becomes the last one."""
    level = load
    for instant, new in zip(drawn, is_new, strict=True):
        np.copyto(instant, level, where=~new)
        level = instant
    load[:] = level
    return drawn


def simulate_trucks(trucks: Trucks, folder: Path, report: Callable[[str], None] = lambda line: None) -> TruckTruth:
    """Write the trucks below `folder`: landing/, sources/, registry/ and truth.json; returns the truth.

    Raises WrongUse when `folder` holds anything but an earlier simulation.
    """
    _check(trucks)
    chance = np.random.default_rng(trucks.seed)
    tags = _tags(trucks, chance)
    fleet = Fleet(
        Walks.begun(READINGS, trucks.trucks, chance),
        Walks.begun((STATUS,), trucks.trucks, chance),
        np.ones(trucks.trucks),
        chance.uniform(0, 5000, trucks.trucks),
    )
    truth = TruckTruth()
    with new_simulation(folder) as partial, duckdb.connect() as connection:
        for source, (fields, description) in SOURCES.items():
            (partial / "landing" / source).mkdir()
            metrics = "\n".join(f"  {one.name}: {one.name}" for one in fields)
            declared = SOURCE.format(source=source, description=description, metrics=metrics)
            (partial / "sources" / f"{source}.yml").write_text(declared)
        write_registry(_registry(trucks, tags), partial / "registry")
        for name, instants in _parts(trucks):
            for source, values in fleet.go(len(instants), chance).items():
                table = _dirty_table(tags, instants, source, values, chance, truth)
                _write(connection, table, SOURCES[source][0], partial / "landing" / source / f"{name}.csv")
                truth.files += 1
            report(f"simulate trucks {name}: {truth.rows:,} rows in {truth.files:,} files")
        content = {"fleet": dataclasses.asdict(trucks), **dataclasses.asdict(truth)}
        (partial / "truth.json").write_text(json.dumps(content, indent=1, default=str) + "\n")
    return truth


def _check(trucks: Trucks) -> None:
    for name in ("trucks", "days", "interval"):
        if getattr(trucks, name) < 1:
            raise WrongUse(f"--{name} must be at least 1, not {getattr(trucks, name)}.")
    if 86_400 % trucks.interval:
        raise WrongUse(f"--interval must divide a day of 86,400 seconds, and {trucks.interval} does not.")


def _tags(trucks: Trucks, chance: np.random.Generator) -> dict[str, np.ndarray]:
    """The tags of each truck, which it keeps, as texts."""
    models = chance.choice(list(MODELS), trucks.trucks)
    capacities = np.array([MODELS[model] for model in models]).T.astype(str)
    return {
        "name": np.array([f"truck_{number}" for number in range(trucks.trucks)]),
        "fleet": chance.choice(FLEETS, trucks.trucks),
        "driver": chance.choice(DRIVERS, trucks.trucks),
        "model": models,
        "device_version": chance.choice(VERSIONS, trucks.trucks),
        "load_capacity": capacities[0],
        "fuel_capacity": capacities[1],
        "nominal_fuel_consumption": capacities[2],
    }


def _parts(trucks: Trucks) -> Iterator[tuple[str, np.ndarray]]:
    """Files to write: their names, and their instants as seconds since 1970."""
    ticks = 86_400 // trucks.interval
    at_once = max(1, min(ticks, ROWS_AT_ONCE // trucks.trucks))
    for offset in range(trucks.days):
        midnight = datetime.combine(trucks.start + timedelta(days=offset), datetime.min.time(), UTC)
        for first in range(0, ticks, at_once):
            instants = np.arange(first, min(first + at_once, ticks)) * trucks.interval + int(midnight.timestamp())
            yield f"{midnight + timedelta(seconds=first * trucks.interval):%Y-%m-%dT%H%M%S}", instants


def _dirty_table(
    tags: dict[str, np.ndarray],
    instants: np.ndarray,
    source: str,
    values: np.ndarray,
    chance: np.random.Generator,
    truth: TruckTruth,
) -> pa.Table:
    """The rows of one file in the order in which they arrive, without those that are lost."""
    fields, trucks = SOURCES[source][0], values.shape[2]
    order, dirt = _arrival(len(instants) * trucks, chance)
    tick, truck = np.divmod(order, trucks)
    null_field = np.where(chance.random(len(order)) < NULL_FIELD, chance.integers(0, len(fields), len(order)), -1)
    null_tag = np.where(chance.random(len(order)) < NULL_TAG, chance.integers(0, len(TAGS), len(order)), -1)
    columns = {"time": pa.array(instants[tick], pa.timestamp("s"))}
    for number, tag in enumerate(TAGS):
        places = pa.array(truck, pa.int32(), mask=null_tag == number)
        columns[tag] = pa.DictionaryArray.from_arrays(places, pa.array(tags[tag].tolist()))
    for number, one in enumerate(fields):
        level = values[:, number][tick, truck] * 10**one.decimals
        columns[one.name] = pa.array(np.trunc(level) / 10**one.decimals, mask=null_field == number)
    dirt.null_fields, dirt.null_tags = int((null_field >= 0).sum()), int((null_tag >= 0).sum())
    is_named = null_tag != TAGS.index("name")
    dirt.null_names = int((~is_named).sum())
    _add_up(truth, source, dirt, int(is_named.sum()) * len(fields), int((null_field[is_named] >= 0).sum()))
    return pa.table(columns)


def _arrival(entries: int, chance: np.random.Generator) -> tuple[np.ndarray, Dirt]:
    """Which of the entries arrive, in the order in which they do: what is held back waits for a coin at each slot."""
    batch = np.arange(entries) // BATCH
    batches = batch[-1] + 1
    is_missing = (chance.random(batches) < BATCH_MISSING)[batch] | (chance.random(entries) < MISSING)
    batch_late, late = chance.random(batches) < BATCH_LATE, chance.random(entries) < LATE
    slot = np.arange(entries) + late * chance.geometric(0.5, entries)
    slot += (batch_late * chance.geometric(0.5, batches) * BATCH)[batch]
    order = np.argsort(slot, kind="stable")
    order = order[~is_missing[order]]
    is_late = late | batch_late[batch]
    return order, Dirt(len(order), int(is_missing.sum()), int(is_late[order].sum()))


def _add_up(truth: TruckTruth, source: str, dirt: Dirt, values: int, empty: int) -> None:
    total = truth.sources[source]
    for name, count in dataclasses.asdict(dirt).items():
        setattr(total, name, getattr(total, name) + count)
    truth.rows += dirt.rows
    truth.rejected += dirt.null_names
    truth.empty += empty
    truth.readings += values - empty


def _write(connection: duckdb.DuckDBPyConnection, table: pa.Table, fields: tuple[Field, ...], path: Path) -> None:
    connection.register("arrived", table)
    columns = ", ".join([*TAGS, *(one.name for one in fields)])
    connection.execute(
        f"copy (select strftime(time, '%Y-%m-%dT%H:%M:%SZ') as time, {columns} from arrived) "
        f"to '{path}' (format csv, header)"
    )
    connection.unregister("arrived")


def _registry(trucks: Trucks, tags: dict[str, np.ndarray]) -> dict[str, tuple[str, list[tuple]]]:
    """The registry's tables: columns and rows."""
    described = list(zip(*(tags[name].tolist() for name in ("name", "fleet", "model")), strict=True))
    fields = [*READINGS, *DIAGNOSTICS]
    return {
        "tenants": ("tenant_id,tenant_name,industry", [(TENANT, "Simulated trucks", "Road haulage")]),
        "sites": (
            "tenant_id,site_id,site_name,timezone,latitude,longitude",
            [(TENANT, fleet, f"{fleet} fleet", "UTC", "", "") for fleet in FLEETS],
        ),
        "device_models": ("model_id,model_name,manufacturer", [(model, model, "") for model in MODELS]),
        "devices": (
            "tenant_id,site_id,device_id,device_name,model_id,commissioned_on,decommissioned_on",
            [
                (TENANT, fleet, name, name.replace("_", " ").capitalize(), model, trucks.start, "")
                for name, fleet, model in described
            ],
        ),
        "metrics": (
            "metric,metric_label,description,kind,unit,value_type",
            [
                (
                    one.name,
                    one.name.replace("_", " ").capitalize(),
                    one.description,
                    "state" if one is STATUS else "gauge",
                    one.unit,
                    "number",
                )
                for one in fields
            ],
        ),
        "device_model_metrics": (
            "model_id,metric,unit,interval_seconds,valid_min,valid_max,stuck_after_minutes",
            [(model, one.name, "", trucks.interval, one.low, one.high, "") for model in MODELS for one in fields],
        ),
        "headline_metrics": (
            "tenant_id,metric,rank,aggregation,label",
            [(TENANT, "velocity", 1, "avg", "Velocity (km/h)"), (TENANT, "current_load", 2, "avg", "Load (kg)")],
        ),
        "device_attributes": (
            "tenant_id,device_id,attribute,value",
            [
                (TENANT, name, attribute, value)
                for attribute in ATTRIBUTES
                for name, value in zip(tags["name"].tolist(), tags[attribute].tolist(), strict=True)
            ],
        ),
        "state_rules": (
            "model_id,state,metric,figure,comparison,bound",
            [(model, *rule) for model in MODELS for rule in STATE_RULES],
        ),
    }
