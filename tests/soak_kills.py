"""Kill `fleetmart run` with `kill -9` at random instants, again and again, while a reader polls the snapshots.

`make soak` runs this for 200 kills and writes the result to docs/soak.md; a few kills are in `make test`.
"""

import argparse
import os
import platform
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from orchestration.ledger import rows
from orchestration.run import run_waiting
from orchestration.settings import Settings
from tests.conftest import FLEETMART, environment_of
from tests.state import assert_same, state_of

TENANTS = 2
STEPS = ("load", "build", "gate", "publish")
METER = "time_utc,net_energy_kwh,availability_kwh,curtailment_kwh"
WEATHER = "origin,year,month,day,hour,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib,time_hour"


@dataclass
class Soak:
    """What happened: kills by the step they hit, runs that ended by themselves, and what the reader asked."""

    kills: Counter = field(default_factory=Counter)
    ended: int = 0
    compared: int = 0
    reader_queries: int = 0
    reader_errors: list[str] = field(default_factory=list)


def soak(folder: Path, kills: int, seed: int, compare_every: int, after_build: bool = False) -> Soak:
    """Kill runs on one home and compare it with an undisturbed one; raises AssertionError when they differ.

    Each attempt brings a new day of two tenants, corrections of an earlier day and, now and then, a repeat.
    The instants are anywhere in a run or, `after_build`, in its gate and publish, which are short beside the build.
    """
    instants, result = random.Random(seed), Soak()
    killed, undisturbed = (Settings(home=folder / name, settle_seconds=0) for name in ("killed", "undisturbed"))
    deliver_day(killed, 0, instants)
    copy_landing(killed, undisturbed)
    start = time.monotonic()
    run_waiting(undisturbed)
    seconds = time.monotonic() - start + 3  # the command line's own start comes on top
    with polled(killed, result):
        day = 1
        while sum(result.kills.values()) < kills:
            deliver_day(killed, day, instants)
            copy_landing(killed, undisturbed, only=f"{day:05d}")
            day += 1
            step = killed_step(killed, instants.uniform(0.2, 6 if after_build else seconds), after_build)
            if step is None:
                result.ended += 1
            else:
                result.kills[step] += 1
            if day % compare_every == 0 or sum(result.kills.values()) == kills:
                for settings in (killed, undisturbed):
                    run_waiting(settings)
                assert_same(state_of(killed), state_of(undisturbed))
                assert rows(killed, "select 1 from loads where status in ('reading', 'staged')") == []
                result.compared += 1
                print(f"{sum(result.kills.values())} kills, {result.compared} comparisons", flush=True)
    assert result.reader_errors == [], result.reader_errors[:3]
    return result


def deliver_day(settings: Settings, day: int, instants: random.Random) -> None:
    """A day of the meter and of a weather station, with corrections of a day before; sometimes one comes twice."""
    corrected = instants.randrange(day) if day else None
    meter = [meter_row(day, step, 1.0) for step in range(144)]
    weather = [weather_row(day, hour, 50.0) for hour in range(24)]
    if corrected is not None:
        meter += [meter_row(corrected, step, 2.0 + day) for step in range(0, 144, 12)]
        weather += [weather_row(corrected, hour, 51.0 + day) for hour in range(0, 24, 6)]
    weather.append("EWR,2013,1,1,1,warm,,,,,,,,,not a time")
    write(settings.landing / "lhb_meter" / f"{day:05d}.csv", [METER, *meter])
    write(settings.landing / "nyc_weather" / f"{day:05d}.csv", [WEATHER, *weather])
    if day % 5 == 4:
        write(settings.landing / "lhb_meter" / f"{day:05d}-again.csv", [METER, *meter])


def meter_row(day: int, step: int, value: float) -> str:
    instant = datetime(2014, 1, 1) + timedelta(days=day, minutes=10 * step)
    return f"{instant:%Y-%m-%d %H:%M:%S},{value + step / 1000},0.0,0.0"


def weather_row(day: int, hour: int, temperature: float) -> str:
    instant = datetime(2013, 1, 1) + timedelta(days=day, hours=hour)
    local = f"{instant.year},{instant.month},{instant.day},{instant.hour}"
    return f"EWR,{local},{temperature},,,,,,,,,{instant:%Y-%m-%dT%H:%M:%SZ}"


def write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def copy_landing(source: Settings, target: Settings, only: str = "") -> None:
    for file in source.landing.rglob(f"{only}*.csv"):
        copy = target.landing / file.relative_to(source.landing)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())


def killed_step(settings: Settings, seconds: float, after_build: bool) -> str | None:
    """Start a run and kill it after a while; returns the step that it was in, None when it had ended."""
    log = settings.home / "run.log"
    with log.open("w") as lines:
        process = subprocess.Popen(
            [FLEETMART, "run"],
            env=environment_of(settings.home) | {"FLEETMART_SETTLE_SECONDS": "0"},
            stdout=subprocess.DEVNULL,
            stderr=lines,
            start_new_session=True,
        )
        while after_build and process.poll() is None and "Done. PASS" not in log.read_text():
            time.sleep(0.05)
        try:
            process.wait(timeout=seconds)
            return None
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return step_of(log.read_text().splitlines())


def step_of(lines: list[str]) -> str:
    """The step that a run was in when it had said so much; what it says of a step begins with its name."""
    words = [line.split()[0] for line in lines if line.strip()]
    if any("Done. PASS" in line for line in lines):
        return "publish" if words.count("gate") == TENANTS else "gate"
    return "build" if "build" in words else "load"


class polled:
    """A reader that opens every current snapshot all the time, as a dashboard does."""

    def __init__(self, settings: Settings, result: Soak) -> None:
        self._settings, self._result, self._stop = settings, result, threading.Event()
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._stop.wait(0.1):
            for current in self._settings.serving.glob("*/current"):
                try:
                    with duckdb.connect(str(current.resolve()), read_only=True) as connection:
                        days = connection.execute("select count(*) from cube_fleet_daily").fetchone()[0]
                    assert days > 0, f"{current} is empty"
                except Exception as error:  # whatever a reader sees is what is asked for here
                    self._result.reader_errors.append(f"{current}: {error}")
                self._result.reader_queries += 1


def report(anywhere: Soak, late: Soak, seed: int, seconds: float) -> str:
    """The result as docs/soak.md has it."""
    both = (anywhere, late)
    kills = "\n".join(f"| {step} | {anywhere.kills[step]} | {late.kills[step]} |" for step in STEPS)
    ended, compared, queries = (
        sum(getattr(one, key) for one in both) for key in ("ended", "compared", "reader_queries")
    )
    return f"""# Kills at random instants

`make soak` starts `fleetmart run` again and again and kills it with `kill -9` after a random while (seed {seed}).
Each attempt brings a new day of two tenants, corrections of an earlier day and now and then a repeated file, so
that every run has something to load, build, judge and publish. A reader opens every current snapshot ten times a
second throughout. Now and then the home is run to its end and compared with one that was never disturbed: lake,
marts, snapshots, archive, landing.

| killed while in | at any instant | after the build |
| --- | --- | --- |
{kills}
| all | {sum(anywhere.kills.values())} | {sum(late.kills.values())} |

{ended} more runs ended before their kill. {compared} comparisons, all equal.
The reader asked {queries:,} times and saw {sum(len(one.reader_errors) for one in both)} errors.

{datetime.now(UTC):%Y-%m-%d}, {seconds / 60:.0f} minutes, {os.cpu_count()} cores, {platform.machine()}
{platform.system()}, Python {platform.python_version()}, DuckDB {duckdb.__version__}.
"""


def main() -> None:
    """Run the soak and write its result."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--late-kills", type=int, default=50, help="Kills after the build.")
    options.add_argument("--seed", type=int, default=2024)
    options.add_argument("--write", type=Path, required=True, help="File for the result.")
    given = options.parse_args()
    start = time.monotonic()
    results = []
    for after_build, kills in ((False, given.kills), (True, given.late_kills)):
        with TemporaryDirectory(prefix="fleetmart-soak-") as folder:
            results.append(soak(Path(folder), kills, given.seed, 20, after_build))
    given.write.write_text(report(*results, given.seed, time.monotonic() - start))


if __name__ == "__main__":
    main()
