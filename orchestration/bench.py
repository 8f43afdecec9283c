"""What a load costs against the plainest way to read the same files, as ratios within one run."""

import dataclasses
import math
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb

from orchestration.errors import FleetmartError
from orchestration.ledger import rows as ledger_rows
from orchestration.settings import Settings
from orchestration.simulate import simulate
from orchestration.simulate_fleet import Fleet

FLEETMART = str(Path(sys.executable).with_name("fleetmart"))
PLAIN = """
import duckdb, sys
with duckdb.connect(config={"threads": int(sys.argv[3]), "memory_limit": "4GB"}) as connection:
    connection.execute(f"copy (from read_csv('{sys.argv[1]}')) to '{sys.argv[2]}' (format parquet)")
"""
FLEET = Fleet(tenants=4, devices=250, metrics=10, days=0, seed=1, start=date(2024, 1, 1), interval=600, faults=())
A_DAY = FLEET.tenants * FLEET.devices * FLEET.metrics * FLEET.steps
READERS = 2
COLUMNS = (
    "readings", "plain", "load", "load / plain", "load, memory", "rest", "rest, memory",
    "minute", "minute / on top of the first", "minute, end", "minute, memory",
)  # fmt: skip


@dataclass(frozen=True)
class Timed:
    """A process from start to end: seconds, and its greatest resident memory in MB, its children's included."""

    seconds: float
    megabytes: int


@dataclass(frozen=True)
class LoadBench:
    """One size: readings, the plain script, the load, all that builds on it, and one minute's batch on top.

    `published` is the seconds from the start of the minute's run to its last snapshot; the run ends later, since it
    makes copies for the next one.
    """

    readings: int
    plain: Timed
    load: Timed
    rest: Timed
    minute: Timed
    published: float

    @property
    def ratio(self) -> float:
        return self.load.seconds / self.plain.seconds


def bench_load(folder: Path, millions: list[int], report: Callable[[str], None]) -> list[LoadBench]:
    """Load fleets of so many million readings, smallest first; `folder` needs about 150 bytes a reading.

    Raises FleetmartError when a step fails.
    """
    return [_bench_size(folder / f"{size}m", size * 1_000_000, report) for size in sorted(millions)]


def delivered(
    folder: Path, readings: int, report: Callable[[str], None], fleet: Fleet = FLEET
) -> tuple[Fleet, int, Path]:
    """Simulate at least so many readings anew, in the landing folders of a home: the fleet, its readings, the home."""
    shutil.rmtree(folder, ignore_errors=True)
    a_day = fleet.tenants * fleet.devices * fleet.metrics * fleet.steps
    fleet = dataclasses.replace(fleet, days=math.ceil(readings / a_day))
    truth = simulate(fleet, folder / "fleet", report)
    home = folder / "home"
    shutil.copytree(folder / "fleet" / "landing", home / "landing", copy_function=os.link)
    return fleet, truth.rows, home


def _bench_size(folder: Path, readings: int, report: Callable[[str], None]) -> LoadBench:
    fleet, rows, home = delivered(folder, readings, report)
    landing = folder / "fleet" / "landing"
    plain = timed([sys.executable, "-c", PLAIN, f"{landing}/*/*/*.csv", f"{folder}/plain.parquet", str(READERS)], home)
    report(f"{rows:,} readings: plain script {plain.seconds:.1f} s, {plain.megabytes:,} MB")
    load = timed([FLEETMART, "load"], home)
    report(f"{rows:,} readings: load {load.seconds:.1f} s, {load.megabytes:,} MB")
    rest = timed([FLEETMART, "run"], home)
    report(f"{rows:,} readings: build, gate and publish {rest.seconds:.1f} s, {rest.megabytes:,} MB")
    deliver_minute(fleet, home)
    start = datetime.now(UTC)
    minute = timed([FLEETMART, "run"], home)
    published = (_last_published(home) - start).total_seconds()
    report(f"{rows:,} readings: a minute's batch on top published after {published:.1f} s, {minute.megabytes:,} MB")
    shutil.rmtree(folder)
    return LoadBench(rows, plain, load, rest, minute, published)


def _last_published(home: Path) -> datetime:
    found = ledger_rows(Settings(home=home), "select max(published_at) as published_at from snapshots")
    return datetime.fromisoformat(found[0]["published_at"]).replace(tzinfo=UTC)


def deliver_minute(fleet: Fleet, home: Path, before_last: int = 0) -> None:
    """A reading of every device and metric, so many minutes before the fleet's last one: one file a tenant."""
    end = datetime.combine(fleet.start, datetime.min.time()) + timedelta(days=fleet.days)
    instant = end - timedelta(minutes=1 + before_last)
    measured_at = f"{instant:%Y-%m-%dT%H:%M:%SZ}"
    names = [(metric.name, metric.unit) for metric in fleet.catalogue]
    for number in range(fleet.tenants):
        lines = [
            f"tenant-{number:03d},site-{device % 5:02d},device-{device:05d},{metric},{measured_at},1,{unit}"
            for device in range(fleet.devices)
            for metric, unit in names
        ]
        header = "tenant_id,site_id,device_id,metric,measured_at,value,unit"
        (home / "landing" / "simulated" / f"minute-{number}-{before_last}.csv").write_text(
            "\n".join([header, *lines]) + "\n"
        )


def timed(command: list[str], home: Path, may_reject: bool = False) -> Timed:
    """Run a command on this home, with the registry and sources of `fleet` beside it.

    Raises FleetmartError when it fails; exit code 1 is what a load ends with that `may_reject` rows.
    """
    home.mkdir(parents=True, exist_ok=True)
    fleet = home.parent / "fleet"
    environment = os.environ | {
        "FLEETMART_HOME": str(home),
        "FLEETMART_SOURCES": str(fleet / "sources"),
        "FLEETMART_REGISTRY": str(fleet / "registry"),
        "FLEETMART_SETTLE_SECONDS": "0",
        "FLEETMART_READERS": str(READERS),
    }
    log = home.parent / "last.log"
    start = time.monotonic()
    with log.open("w") as lines:
        process = subprocess.Popen(command, env=environment, stdout=lines, stderr=lines)
        _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in ((0, 1) if may_reject else (0,)):
        raise FleetmartError(f"{' '.join(command)[:80]} failed: {log.read_text()[-2000:]}")
    return Timed(time.monotonic() - start, used.ru_maxrss // 1024)


def table(results: list[LoadBench]) -> str:
    """The results as docs/bench-load.md has them."""
    rows = "\n".join(
        f"| {one.readings / 1e6:.0f} million | {one.plain.seconds:.1f} s | {one.load.seconds:.1f} s "
        f"| **{one.ratio:.2f}** | {one.load.megabytes:,} MB | {one.rest.seconds:.0f} s | {one.rest.megabytes:,} MB "
        f"| {one.published:.1f} s | **{one.published / results[0].published:.2f}** | {one.minute.seconds:.1f} s "
        f"| {one.minute.megabytes:,} MB |"
        for one in results
    )
    return f"""# Load, measured

`fleetmart bench load`: a simulated fleet of {FLEET.tenants} tenants with {FLEET.devices} devices of {FLEET.metrics}
metrics every ten minutes, one CSV a tenant and day. *Plain* is the plainest DuckDB script that reads the same files
into one Parquet file. *Load* is `fleetmart load`, from landing to lake, archive and ledger. *Rest* builds, judges and
publishes all of it. *Minute* is the whole way of {FLEET.tenants * FLEET.devices * FLEET.metrics:,} readings of one
minute, from landing to the published snapshots of all tenants and the operator, on top of that, in a day that has
{A_DAY:,} readings already. Times are of whole processes, but that of a minute, which is from the start of
`fleetmart run` to the last snapshot that it published; until its *end* it makes copies for the next publish.

| {" | ".join(COLUMNS)} |
|{" --- |" * len(COLUMNS)}
{rows}

To reach: load / plain at most 1.5, memory at most 4 GB, a minute within 30 s and at most 1.2 times the same on top of
10 million.

{machine()}.
"""


def machine() -> str:
    """The day and the machine of a measurement."""
    memory = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {memory} GB of memory, {platform.machine()}\n"
        f"{platform.system()}, Python {platform.python_version()}, DuckDB {duckdb.__version__}"
    )


def bench_folder() -> Path:
    """Where benches work: below the home, as everything."""
    return Settings().home / "bench"
