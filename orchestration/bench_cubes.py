"""What cubes cost to build against one hand-written script, and what they save dashboards: ratios within one run."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from orchestration import lake
from orchestration.bench import FLEET, FLEETMART, READERS, Timed, deliver_minute, delivered, machine, timed
from orchestration.bench_dashboards import Asked, ask_dashboards, dashboards_section
from orchestration.registry import Registry
from orchestration.settings import Settings

PLAIN_CUBES = Path(__file__).with_name("plain_cubes.sql")


@dataclass(frozen=True)
class CubesBench:
    """One size: readings, the hand-written script, build and gate, the dashboards' queries, a touched day on top."""

    readings: int
    script: Timed
    build: Timed
    gate: Timed
    dashboards: list[Asked]
    touched: Timed
    touched_gate: Timed

    @property
    def ratio(self) -> float:
        return self.build.seconds / self.script.seconds


def bench_cubes(folder: Path, millions: list[int], report: Callable[[str], None]) -> list[CubesBench]:
    """Build the cubes of fleets of so many million readings, smallest first.

    Raises FleetmartError when a step fails.
    """
    return [_bench_size(folder / f"{size}m", size * 1_000_000, report) for size in sorted(millions)]


def _bench_size(folder: Path, readings: int, report: Callable[[str], None]) -> CubesBench:
    fleet, rows, home = delivered(folder, readings, report)
    timed([FLEETMART, "load"], home)
    script = timed([sys.executable, "-m", "orchestration.bench_cubes", str(folder / "plain.duckdb")], home)
    report(f"{rows:,} readings: script {script.seconds:.1f} s, {script.megabytes:,} MB")
    build = timed([FLEETMART, "build"], home)
    report(f"{rows:,} readings: build {build.seconds:.1f} s, {build.megabytes:,} MB")
    gate = timed([FLEETMART, "gate"], home)
    report(f"{rows:,} readings: gate {gate.seconds:.1f} s, {gate.megabytes:,} MB")
    timed([FLEETMART, "publish"], home)
    dashboards = ask_dashboards(Settings(home=home, registry=folder / "fleet" / "registry"), "tenant-000")
    report(f"{rows:,} readings: {len(dashboards)} queries of dashboards")
    deliver_minute(fleet, home)
    timed([FLEETMART, "load"], home)
    touched = timed([FLEETMART, "build"], home)
    report(f"{rows:,} readings: a touched day on top {touched.seconds:.1f} s, {touched.megabytes:,} MB")
    touched_gate = timed([FLEETMART, "gate"], home)
    report(f"{rows:,} readings: its gate {touched_gate.seconds:.1f} s, {touched_gate.megabytes:,} MB")
    shutil.rmtree(folder)
    return CubesBench(rows, script, build, gate, dashboards, touched, touched_gate)


def make_plain_cubes(settings: Settings, path: Path) -> None:
    """Run the hand-written script over this home's lake and registry, into a database at `path`."""
    with duckdb.connect(str(path), config={"threads": READERS, "memory_limit": settings.memory_limit}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        Registry(settings.registry).write_to(connection, [])
        files = [file.path for file in lake.files(settings.lake_readings)]
        connection.read_parquet(files, hive_partitioning=True).create_view("lake")
        connection.execute(PLAIN_CUBES.read_text())


def table(results: list[CubesBench]) -> str:
    """The results as docs/bench-cubes.md has them."""
    rows = "\n".join(
        f"| {one.readings / 1e6:.0f} million | {one.script.seconds:.0f} s | {one.script.megabytes:,} MB "
        f"| {one.build.seconds:.0f} s | {one.build.megabytes:,} MB | **{one.ratio:.2f}** | {one.touched.seconds:.1f} s "
        f"| {one.touched.seconds / results[0].touched.seconds:.2f} |"
        for one in results
    )
    gates = "\n".join(
        f"| {one.readings / 1e6:.0f} million | {one.build.seconds:.0f} s | {one.gate.seconds:.0f} s "
        f"| **{one.gate.seconds / one.build.seconds:.2f}** | {one.gate.megabytes:,} MB | {one.touched.seconds:.1f} s "
        f"| {one.touched_gate.seconds:.1f} s | **{one.touched_gate.seconds / one.touched.seconds:.2f}** "
        f"| {one.touched_gate.megabytes:,} MB |"
        for one in results
    )
    return f"""# Cubes, measured

`fleetmart bench cubes`: the simulated fleet of [bench-load.md](bench-load.md). *Script* is
[one DuckDB script](../orchestration/plain_cubes.sql), written by hand, that makes the same cubes by hour, day and
month, of devices, sites and tenants, anew from the lake and within the same limit of memory. *Build* is
`fleetmart build`, from the lake to all marts. *Touched* is the build after one more minute's
{FLEET.tenants * FLEET.devices * FLEET.metrics:,} readings. Times are of whole processes.

| readings | script | its memory | build | its memory | build / script | touched | touched / on top of the first |
| --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

To reach: build / script at most 1.3, memory at most 4 GB, a touched day at most 1.2 times the same on top of 10
million.

## The gate

*Gate* is `fleetmart gate` after the build, over all of it and after the touched day.

| readings | build | gate | gate / build | its memory | touched | its gate | gate / touched | its memory |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
{gates}

To reach: no longer than the build, memory at most 2 GB.

{dashboards_section([(one.readings // FLEET.tenants, one.dashboards) for one in results])}
{machine()}.
"""


if __name__ == "__main__":
    make_plain_cubes(Settings(), Path(sys.argv[1]))
