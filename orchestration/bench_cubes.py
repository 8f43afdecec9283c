"""What a build costs against one hand-written script that makes the same cubes, as ratios within one run."""

import math
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from orchestration import lake
from orchestration.bench import A_DAY, FLEET, FLEETMART, READERS, Timed, deliver_minute, machine, timed
from orchestration.registry import Registry
from orchestration.settings import Settings
from orchestration.simulate import Fleet, simulate

PLAIN_CUBES = Path(__file__).with_name("plain_cubes.sql")


@dataclass(frozen=True)
class CubesBench:
    """One size: readings, the hand-written script, the build, and the build of one touched day on top."""

    readings: int
    script: Timed
    build: Timed
    touched: Timed

    @property
    def ratio(self) -> float:
        return self.build.seconds / self.script.seconds


def bench_cubes(folder: Path, millions: list[int], report: Callable[[str], None]) -> list[CubesBench]:
    """Build the cubes of fleets of so many million readings, smallest first.

    Raises FleetmartError when a step fails.
    """
    return [_bench_size(folder / f"{size}m", size * 1_000_000, report) for size in sorted(millions)]


def _bench_size(folder: Path, readings: int, report: Callable[[str], None]) -> CubesBench:
    shutil.rmtree(folder, ignore_errors=True)
    fleet = Fleet(**{**vars(FLEET), "days": math.ceil(readings / A_DAY)})
    truth = simulate(fleet, folder / "fleet", report)
    home = folder / "home"
    shutil.copytree(folder / "fleet" / "landing", home / "landing", copy_function=os.link, dirs_exist_ok=True)
    timed([FLEETMART, "load"], home)
    script = timed([sys.executable, "-m", "orchestration.bench_cubes", str(folder / "plain.duckdb")], home)
    report(f"{truth.rows:,} readings: script {script.seconds:.1f} s, {script.megabytes:,} MB")
    build = timed([FLEETMART, "build"], home)
    report(f"{truth.rows:,} readings: build {build.seconds:.1f} s, {build.megabytes:,} MB")
    deliver_minute(fleet, home)
    timed([FLEETMART, "load"], home)
    touched = timed([FLEETMART, "build"], home)
    report(f"{truth.rows:,} readings: a touched day on top {touched.seconds:.1f} s, {touched.megabytes:,} MB")
    shutil.rmtree(folder)
    return CubesBench(truth.rows, script, build, touched)


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
    return f"""# Cubes, measured

`fleetmart bench cubes`: the simulated fleet of [bench-load.md](bench-load.md). *Script* is
[one DuckDB script](../orchestration/plain_cubes.sql), written by hand, that makes the same cubes by hour, day and
month, of devices, sites and tenants, anew from the lake. *Build* is `fleetmart build`, from the lake to all marts.
*Touched* is the build after one more minute's {FLEET.tenants * FLEET.devices * FLEET.metrics:,} readings. Times are of
whole processes.

| readings | script | its memory | build | its memory | build / script | touched | touched / on top of the first |
| --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

To reach: build / script at most 1.3, memory at most 4 GB, a touched day at most 1.2 times the same on top of 10
million.

{machine()}.
"""


if __name__ == "__main__":
    make_plain_cubes(Settings(), Path(sys.argv[1]))
