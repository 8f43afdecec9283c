"""The gate against a simulator's truth: each fault in one tenant of ten, and clean days that must withhold nothing.

`make soak` runs all of it and writes docs/soak-gate.md; the tests run a part.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import count
from pathlib import Path

from orchestration.bench import machine
from orchestration.landing import deliver
from orchestration.ledger import rows
from orchestration.quality_cases import cases
from orchestration.run import run_waiting
from orchestration.settings import Settings
from orchestration.simulate import simulate
from orchestration.simulate_fleet import Fleet
from orchestration.snapshot_sql import query
from tests.conftest import FLEETMART, environment_of

START = date(2024, 3, 1)
TENANTS, DAYS, EARLIEST = 10, 9, 5
FAULTY = "tenant-004"
# The rule that is about each kind of fault. A unit that comes along is converted, and a clock that is seconds ahead
# measures at other instants: neither is wrong. What is late is late only after the next day's (tests/test_suites.py).
NAMED_BY = {
    "gap": "readings.gaps",
    "silent": "arrival.silent_devices",
    "stuck": "readings.stuck",
    "spike": "readings.sensor_range",
    "reset": "readings.resets",
    "duplicate": "readings.duplicates",
    "resent": "readings.duplicates",
    "wrong_unit": "readings.sensor_range",
    "future": "readings.future",
    "garbage": "arrival.rejected_values",
    "unregistered": "arrival.unregistered_devices",
    "unknown_metric": "arrival.unknown_metrics",
    "repeated_file": "arrival.repeated_files",
}
# A right file in place of the wrong one mends these; of the others what came stays, so a steward waives them.
MENDED_BY_A_FILE = ("gap", "silent", "stuck", "spike", "reset", "wrong_unit")
SEEN = (
    "select max(day)::varchar, sum(reading_count)::bigint, round(sum(value_sum), 3) from cube_readings_daily "
    f"where tenant_id = '{FAULTY}'"
)


@dataclass(frozen=True)
class Withheld:
    """What became of a fault: who was withheld, what failed there, and what readers saw how often meanwhile."""

    kind: str
    withheld: list[str]
    failed: set[str]
    published: set[str]
    polls: int
    seen_before: set[tuple]
    seen_meanwhile: set[tuple]
    seen_after: set[tuple]


def withhold_and_mend(kind: str, folder: Path) -> Withheld:
    """Let a fault of this kind come into one tenant of ten, where its rule withholds, and mend it with one command."""
    day = _fleet_with_a_late_fault(kind, folder)
    settings = Settings(
        home=folder / "home", sources=folder / "clean/sources", registry=folder / "clean/registry", settle_seconds=0
    )
    with (settings.registry / "quality_rules.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("tenant_id", "expectation", "severity", "max_share"), ("", NAMED_BY[kind], "critical", "")]
        )
    clean, faulty = folder / "clean/landing/simulated", folder / "faulty/landing/simulated"
    deliver(settings, "simulated", [one for one in sorted((clean / "daily").iterdir()) if one.name[:10] < str(day)])
    _fleetmart(settings, "run")
    before = _seen(settings)

    theirs = [one for one in (clean / "daily").glob(f"{day}_*.csv") if FAULTY not in one.name]
    deliver(settings, "simulated", [*sorted(theirs), faulty / "daily" / f"{day}_{FAULTY}.csv"])
    polls, meanwhile = _poll_while(settings, "load")
    if later := sorted((faulty / "later").glob(f"*{FAULTY}.csv")):
        deliver(settings, "simulated", later)
    more, seen = _poll_while(settings, "run")
    polls, meanwhile = polls + more, meanwhile | seen | _seen(settings)
    latest = rows(settings, "select max(build_id) as build_id from builds")[0]["build_id"]
    verdicts = rows(
        settings, "select tenant_id from quality_verdicts where build_id = ? and verdict = 'failed'", latest
    )
    snapshots = rows(settings, "select tenant_id from snapshots where build_id = ?", latest)
    failed = rows(
        settings,
        "select expectation from quality_results where build_id = ? and severity = 'critical' and not is_met",
        latest,
    )

    if kind in MENDED_BY_A_FILE:
        right = folder / f"mended-{day}_{FAULTY}.csv"
        shutil.copyfile(clean / "daily" / f"{day}_{FAULTY}.csv", right)
        deliver(settings, "simulated", [right])
        _fleetmart(settings, "run")
    else:
        (case,) = [case for case in cases(settings, FAULTY) if case["severity"] == "critical"]
        _fleetmart(settings, "quality", "waive", str(case["case_id"]), f"--build={latest}", "--why=Known and harmless.")
    return Withheld(
        kind,
        [row["tenant_id"] for row in verdicts],
        {row["expectation"] for row in failed},
        {row["tenant_id"] for row in snapshots},
        polls,
        before,
        meanwhile,
        _seen(settings),
    )


def _fleet_with_a_late_fault(kind: str, folder: Path) -> date:
    """Write a clean fleet and the same with the fault; returns the day of the fault in FAULTY."""
    for seed in count(1):
        shutil.rmtree(folder / "faulty", ignore_errors=True)
        simulate(Fleet(TENANTS, 3, 5, DAYS, seed, START, 1800, (kind,)), folder / "faulty")
        truth = json.loads((folder / "faulty" / "truth.json").read_text())
        days = [date.fromisoformat(one["first_at"][:10]) for one in truth["faults"] if one["tenant_id"] == FAULTY]
        if days and days[0] >= START + timedelta(days=EARLIEST):
            simulate(Fleet(TENANTS, 3, 5, DAYS, seed, START, 1800, ()), folder / "clean")
            return days[0]
    raise AssertionError("unreachable")


def _seen(settings: Settings) -> set[tuple]:
    """What the tenant's own people and the operator's see of it now."""
    return {query(settings, SEEN, tenant_id).rows[0] for tenant_id in (FAULTY, "operator")}


def _poll_while(settings: Settings, *command: str) -> tuple[int, set[tuple]]:
    """Ask again and again while a command runs; returns how often, and all that was seen."""
    polls, seen = 0, set()
    with subprocess.Popen(
        [FLEETMART, *command], env=_environment(settings), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            seen |= _seen(settings)
            polls += 1
    return polls, seen


def _fleetmart(settings: Settings, *command: str) -> None:
    subprocess.run([FLEETMART, *command], env=_environment(settings), capture_output=True, text=True, check=True)


def _environment(settings: Settings) -> dict[str, str]:
    folders = {"FLEETMART_SOURCES": str(settings.sources), "FLEETMART_REGISTRY": str(settings.registry)}
    return environment_of(settings.home) | folders | {"FLEETMART_SETTLE_SECONDS": "0"}


def clean_days(
    folder: Path, seed: int, days: int, report: Callable[[str], None] = lambda line: None
) -> tuple[Counter, Counter]:
    """Run a clean fleet of three tenants day by day; returns the verdicts, and the expectations that were not met."""
    simulate(Fleet(3, 4, 5, days, seed, START, 1800, ()), folder / "fleet")
    settings = Settings(
        home=folder / "home", sources=folder / "fleet/sources", registry=folder / "fleet/registry", settle_seconds=0
    )
    files = sorted((folder / "fleet/landing/simulated/daily").iterdir())
    for number in range(days):
        deliver(settings, "simulated", files[3 * number : 3 * number + 3])
        run_waiting(settings)
        report(f"seed {seed}: {number + 1}/{days} days")
    verdicts = rows(settings, "select verdict from quality_verdicts")
    failed = rows(settings, "select expectation, severity from quality_results where not is_met")
    return Counter(row["verdict"] for row in verdicts), Counter((row["severity"], row["expectation"]) for row in failed)


def document(faults: list[Withheld], clean: dict[int, tuple[Counter, Counter]], days: int) -> str:
    """docs/soak-gate.md."""
    found = "\n".join(
        f"| {one.kind} | `{NAMED_BY[one.kind]}` | {', '.join(one.withheld)} | {len(one.published - {'operator'})} "
        f"| {one.polls:,} | {len(one.seen_meanwhile - one.seen_before)} "
        f"| {'a right file, `fleetmart run`' if one.kind in MENDED_BY_A_FILE else '`fleetmart quality waive`'} |"
        for one in faults
    )
    alarms = "\n".join(
        f"| {seed} | {verdicts.total()} | {verdicts['failed']} | {verdicts['passed with warnings']} "
        f"| {_alarms(failed)} |"
        for seed, (verdicts, failed) in clean.items()
    )
    return f"""# The gate, put to the test

`make soak`, its last result. A simulator injects faults and writes down the truth about them.

## Each fault in one tenant of ten

Ten tenants have published days; in the next, `{FAULTY}` has one fault of a kind whose rule the registry makes critical.
While `fleetmart load` and `fleetmart run` work, a reader asks the tenant's and the operator's snapshot without a pause.

| fault | rule that names it | withheld | tenants published | answers to the reader | of the bad batch | mended by |
| --- | --- | --- | --- | --- | --- | --- |
{found}

Afterwards the tenant and the operator see the day. A sent unit (`unit`) is converted and a clock that is seconds ahead
(`clock_jump`) measures at other instants; neither is wrong, so no rule is about them. Rows that come later (`late`) are
late only after the next day's; `tests/test_suites.py` proves their rule.

## Clean days

{days} clean days, day by day, of three tenants with 4 devices of 5 metrics every half hour.

| seed | verdicts | withheld | with warnings | not met, false alarms |
| --- | --- | --- | --- | --- |
{alarms}

{machine()}.
"""


def _alarms(failed: Counter) -> str:
    """What marks or withholds, and how often; what is only kept is no alarm."""
    return (
        ", ".join(f"`{key}` {n} times" for (severity, key), n in sorted(failed.items()) if severity != "info") or "none"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--write", type=Path, required=True)
    given = parser.parse_args()
    faults, clean = [], {}
    for kind in NAMED_BY:
        with tempfile.TemporaryDirectory() as folder:
            faults.append(withhold_and_mend(kind, Path(folder)))
            proved(faults[-1])
            print(f"{kind}: withheld, mended, {faults[-1].polls} answers", flush=True)
    for seed in range(1, given.seeds + 1):
        with tempfile.TemporaryDirectory() as folder:
            clean[seed] = clean_days(Path(folder), seed, given.days, lambda line: print(line, flush=True))
    given.write.write_text(document(faults, clean, given.days))
    return int(any(verdicts["failed"] for verdicts, _ in clean.values()))


def proved(one: Withheld) -> None:
    """The right tenant was withheld by the right rule, nobody saw the bad batch, and the others moved on."""
    assert one.withheld == [FAULTY], one
    assert one.failed == {NAMED_BY[one.kind]}, one
    assert one.published == {f"tenant-{number:03d}" for number in range(TENANTS)} - {FAULTY} | {"operator"}, one
    assert one.polls > 20 and one.seen_meanwhile == one.seen_before and len(one.seen_before) == 1, one
    assert len(one.seen_after) == 1 and max(one.seen_after) > max(one.seen_before), one


if __name__ == "__main__":
    sys.exit(main())
