"""What was rejected becomes readings once its source is mended: read again, counted once, killed or not."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from orchestration import lake
from orchestration.landing import deliver
from orchestration.ledger import rows
from orchestration.load import load_waiting
from orchestration.published_records import current_records
from orchestration.quality_record import entries
from orchestration.replay import Replayed, replay
from orchestration.run import run_waiting
from orchestration.settings import ROOT, Settings
from tests.conftest import environment_of, run_fleetmart
from tests.state import assert_same, state_of

SAMPLE = ROOT / "orchestration" / "sample"
METER, APRIL, *_ = sorted((SAMPLE / "lhb_meter").iterdir())
WEATHER = sorted((SAMPLE / "nyc_weather").iterdir())[0]
SPOILED, HOPELESS = 40, 3


def spoiled_meter(folder: Path) -> Path:
    """Real days of the meter: some values with a thousands mark that its source does not know, some without sense."""
    head, *lines = METER.read_text().splitlines()
    for place in range(0, SPOILED * 10, 10):
        instant, energy, *others = lines[place].split(",")
        lines[place] = ",".join([instant, f"1'{abs(float(energy)):07.3f}", *others])
    for place in range(5, 5 + HOPELESS):
        lines[place] = lines[place].replace(",", ",Secret 77 ", 1)
    path = folder / "meter.csv"
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


def mend(settings: Settings, source: str, old: str, new: str) -> None:
    path = settings.sources / f"{source}.yml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def replayed(settings: Settings, source: str = "lhb_meter", **options: object) -> Replayed:
    return replay(settings, source, "anna", "The thousands mark was declared.", **options)


def account(settings: Settings) -> dict:
    """What the ledger says of all loads, which must be what the lake holds."""
    found = rows(
        settings,
        "select count(distinct load_id) as files, sum(reading_count) as readings, sum(empty_count) as empty, "
        "sum(rejected_count) as rejected, sum(duplicate_count) as duplicates from load_tenants",
    )[0]
    assert found["readings"] == sum(file.rows for file in lake.files(settings.lake_readings))
    assert found["rejected"] == sum(count for _, count in lake.totals(settings.lake_rejected).values())
    assert found["rejected"] == sum(one["rejected_count"] for one in rows(settings, "select * from load_rejections"))
    kept = {path.name for path in settings.archive.rglob("*") if path.is_file()}
    loads = rows(settings, "select load_id, file_name from loads where status = 'loaded'")
    assert kept == {f"{one['load_id']}-{Path(one['file_name']).name}" for one in loads}
    return found


def values(settings: Settings, order: str = "measured_at, metric") -> list[tuple]:
    """Every reading of the lake, but for the load that it is of."""
    with duckdb.connect() as connection:
        paths = [file.path for file in lake.files(settings.lake_readings)]
        readings = connection.read_parquet(paths, hive_partitioning=True)
        return readings.project("tenant_id, measured_at, metric, value, source_row").order(order).fetchall()


def test_rejected_values_become_readings_and_nothing_is_counted_twice(
    small: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = small()
    deliver(settings, "lhb_meter", [spoiled_meter(tmp_path)])
    load_waiting(settings)
    before, received = account(settings), rows(settings, "select received_at from loads")
    assert before["rejected"] == SPOILED + HOPELESS
    mend(settings, "lhb_meter", "type: csv", 'type: csv\n  thousands: "\'"')
    done = replayed(settings)
    after = account(settings)
    assert after["readings"] == before["readings"] + SPOILED and after["rejected"] == HOPELESS
    assert after["readings"] + after["rejected"] == before["readings"] + before["rejected"]
    assert (done.files, done.readings_before, done.readings) == (1, before["readings"], after["readings"])
    assert (done.rejected_before, done.rejected) == (SPOILED + HOPELESS, HOPELESS)
    assert rows(settings, "select received_at from loads") == received, "it is as old as it was"
    reasons = rows(settings, "select metric, reason, rejected_count, example from load_rejections")
    assert reasons == [
        {"metric": "net_energy", "reason": "not a number", "rejected_count": 3, "example": reasons[0]["example"]}
    ]
    assert reasons[0]["example"].startswith("Aaaaaa 99 ")

    versions = lake.DeltaTable(settings.lake_readings).version(), lake.DeltaTable(settings.lake_rejected).version()
    again = replayed(settings)
    assert again == Replayed() and account(settings) == after, "read as its source says: nothing would come of it"
    assert versions == (
        lake.DeltaTable(settings.lake_readings).version(),
        lake.DeltaTable(settings.lake_rejected).version(),
    )
    told = [(one["tenant_id"], one["who"], one["action"], one["why"]) for one in entries(settings)]
    assert told == [("la-haute-borne", "anna", "replayed", "The thousands mark was declared. (source lhb_meter)")]
    deliver(settings, "lhb_meter", [tmp_path / "meter.csv"])
    repeated = load_waiting(settings)
    assert (repeated.files, repeated.already_loaded) == (0, 1), "the same content is still known"
    assert rows(settings, "select repeat_count from loads") == [{"repeat_count": 1}]


def test_a_replay_leads_to_the_home_that_a_right_source_would_have_made(
    small: Callable[..., Settings], tmp_path: Path
) -> None:
    """Days and months were taken for each other: some days were rejected, others became readings of wrong days."""
    right, wrong = (f"format: '{days} %H:%M:%S%z'" for days in ("%m/%d/%Y", "%d/%m/%Y"))
    american = tmp_path / "meter.csv"
    head, *lines = APRIL.read_text().splitlines()
    days = [f"{one[5:7]}/{one[8:10]}/{one[:4]}{one[10:]}" for one in lines]
    american.write_text("\n".join([head, *days]) + "\n")
    mended, fresh = small("mended"), small("fresh")
    mend(mended, "lhb_meter", "format: iso", wrong)
    deliver(mended, "lhb_meter", [american])
    deliver(mended, "nyc_weather", [WEATHER])
    run_waiting(mended)
    before = account(mended)
    assert before["rejected"] > 1000 and before["readings"] > 1000
    mend(mended, "lhb_meter", wrong, right)
    replayed(mended, tenant_id="la-haute-borne")
    run_waiting(mended)
    deliver(fresh, "lhb_meter", [american])
    deliver(fresh, "nyc_weather", [WEATHER])
    run_waiting(fresh)
    assert account(mended) == account(fresh)
    assert_same(without_replays(state_of(mended)), without_replays(state_of(fresh)))
    with duckdb.connect(str(current_records(mended, "la-haute-borne")), read_only=True) as records:
        loads = records.execute("select stage, rejected_count from loads").fetchall()
    assert loads == [("published", 0)]


def without_replays(state: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """A replayed load's id ends in its number; kept files are named by it."""
    for table in state.values():
        for column in {"load_id", "file"} & set(table):
            table[column] = [text if text is None else re.sub(r"-r\d+(?=-|$)", "", str(text)) for text in table[column]]
    return state


def test_a_correction_that_came_later_still_stands_above(small: Callable[..., Settings], tmp_path: Path) -> None:
    settings = small()
    deliver(settings, "lhb_meter", [spoiled_meter(tmp_path)])
    load_waiting(settings)
    correction = tmp_path / "correction.csv"
    head, first, *_ = METER.read_text().splitlines()
    instant, *_ = first.split(",")
    correction.write_text(f"{head}\n{instant},4711,0,0\n")
    deliver(settings, "lhb_meter", [correction])
    load_waiting(settings)
    mend(settings, "lhb_meter", "type: csv", 'type: csv\n  thousands: "\'"')
    assert replayed(settings).files == 1
    with duckdb.connect() as connection:
        readings = connection.read_parquet([file.path for file in lake.files(settings.lake_readings)])
        of_first = readings.filter(f"metric = 'net_energy' and measured_at = timestamptz '{instant}'")
        found = of_first.project("value, received_at").order("received_at desc").fetchall()
    assert len(found) == 2 and found[0][0] == 4711


def test_a_file_that_was_set_aside_is_taken_in(small: Callable[..., Settings], tmp_path: Path) -> None:
    settings = small()
    mend(settings, "lhb_meter", "net_energy_kwh:", "energy_kwh:")
    deliver(settings, "lhb_meter", [METER])
    load_waiting(settings)
    assert [one["status"] for one in rows(settings, "select status from loads")] == ["set aside"]
    still = replayed(settings)
    assert still == Replayed(), "its source is as it was"
    mend(settings, "lhb_meter", "energy_kwh:", "nett_energy_kwh:")
    still = replayed(settings)
    assert still.files == 0 and "column 'nett_energy_kwh' is not in" in still.problems[0]
    assert "nett_energy_kwh" in rows(settings, "select reason from loads")[0]["reason"]
    mend(settings, "lhb_meter", "nett_energy_kwh:", "net_energy_kwh:")
    assert replayed(settings).readings == account(settings)["readings"] > 1000
    assert not list(settings.set_aside.rglob("*.csv"))


def test_a_file_that_grew_meanwhile_is_counted_once(small: Callable[..., Settings], tmp_path: Path) -> None:
    """Set aside in the morning, whole at noon by a mended source, then replayed: the morning's lines count once."""
    settings, fresh = small(), small("fresh")
    head, *lines = METER.read_text().splitlines()
    day = tmp_path / "day.csv"
    mend(settings, "lhb_meter", "net_energy_kwh:", "energy_kwh:")
    for count in (100, 150, 200):
        if count == 200:
            mend(settings, "lhb_meter", "energy_kwh:", "net_energy_kwh:")
        day.write_text("\n".join([head, *lines[:count]]) + "\n")
        deliver(settings, "lhb_meter", [day])
        load_waiting(settings)
    assert account(settings)["readings"] == 600
    replayed(settings)
    for count in (100, 150, 200):
        day.write_text("\n".join([head, *lines[:count]]) + "\n")
        deliver(fresh, "lhb_meter", [day])
        load_waiting(fresh)
    assert account(settings) == account(fresh)
    assert values(settings) == values(fresh)


def test_what_the_source_can_no_longer_read_stays_as_it_was(small: Callable[..., Settings], tmp_path: Path) -> None:
    settings = small()
    deliver(settings, "lhb_meter", [spoiled_meter(tmp_path)])
    load_waiting(settings)
    before, readings = account(settings), values(settings)
    mend(settings, "lhb_meter", "net_energy_kwh:", "energy:")
    done = replayed(settings)
    assert done.files == 0 and "stays as it was" in done.problems[0]
    assert account(settings) == before and values(settings) == readings
    assert entries(settings) == []


def test_only_files_of_the_tenant_asked_for_are_read(small: Callable[..., Settings], tmp_path: Path) -> None:
    settings = small()
    deliver(settings, "lhb_meter", [spoiled_meter(tmp_path)])
    load_waiting(settings)
    mend(settings, "lhb_meter", "type: csv", 'type: csv\n  thousands: "\'"')
    assert replayed(settings, tenant_id="nyc-airports") == Replayed()
    assert replayed(settings, tenant_id="la-haute-borne").files == 1


KILLED = """
import os, signal, sys
from orchestration import batches, lake, load
from orchestration.replay import replay
from orchestration.settings import Settings

where, module, name = sys.argv[1], *sys.argv[2].split(".")
module = {"batches": batches, "lake": lake, "load": load}[module]
real = getattr(module, name)
def killed(*given, **named):
    done = real(*given, **named) if where == "after" else None
    os.kill(os.getpid(), signal.SIGKILL)
setattr(module, name, killed)
replay(Settings(), "lhb_meter", "anna", "The thousands mark was declared.")
"""


@pytest.mark.parametrize(
    ("where", "step"),
    [
        ("before", "load.note_staged"),
        ("before", "lake.add"),
        ("after", "lake.add"),
        ("before", "lake.replace_readings"),
        ("after", "lake.replace_readings"),
        ("after", "lake.take_back_rejected"),
        ("before", "batches.take_the_place"),
        ("after", "load.finish"),
    ],
)
def test_killed_anywhere_and_run_again_it_ends_in_the_same_state(
    where: str, step: str, small: Callable[..., Settings], tmp_path: Path
) -> None:
    settings, undisturbed = small("killed"), small("undisturbed")
    for one in (settings, undisturbed):
        deliver(one, "lhb_meter", [spoiled_meter(tmp_path), METER])
        load_waiting(one)
    before = account(settings)
    mend(settings, "lhb_meter", "type: csv", 'type: csv\n  thousands: "\'"')
    replayed(undisturbed)
    environment = environment_of(settings.home) | {"FLEETMART_SOURCES": str(settings.sources)}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, where, step], env=environment, cwd=ROOT, capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    load_waiting(settings)
    between = account(settings)
    assert between in (before, account(undisturbed)), "another command finds all of it or nothing"
    replayed(settings)
    assert account(settings) == account(undisturbed)
    assert values(settings, "all") == values(undisturbed, "all")
    assert len(entries(settings)) == 1
    assert {one["status"] for one in rows(settings, "select status from loads")} == {"loaded"}


def test_the_command_says_what_came_of_it_and_no_value_reaches_the_records(
    small: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = small()
    deliver(settings, "lhb_meter", [spoiled_meter(tmp_path)])
    run_waiting(settings)
    mend(settings, "lhb_meter", "type: csv", 'type: csv\n  thousands: "\'"')
    environment = {"FLEETMART_SOURCES": str(settings.sources), "FLEETMART_REGISTRY": str(settings.registry)}
    asked = ("quality", "replay", "--source", "lhb_meter", "--why", "The mark was declared.", "--by", "anna")
    done = run_fleetmart(settings.home, *asked, "--json", **environment)
    assert done.returncode == 1 and f"{HOPELESS} values of net_energy rejected" in done.stderr, done.stderr
    assert "Secret" not in done.stderr + done.stdout and "'Aaaaaa 99 " in done.stderr
    answer = json.loads(done.stdout)
    assert (answer["files"], answer["rejected_before"], answer["rejected"]) == (1, SPOILED + HOPELESS, HOPELESS)
    for owner in ("la-haute-borne", "operator"):
        path = current_records(settings, owner)
        assert b"Secret" not in path.read_bytes() and b"1'" not in path.read_bytes()
        with duckdb.connect(str(path), read_only=True) as records:
            found = records.execute("select example, rejected_count from rejected_rows_summary").fetchall()
        assert [count for _, count in found] == [HOPELESS] and found[0][0].startswith("Aaaaaa 99 ")
    for wrong in (("--source", "unheard", "--why", "x"), ("--source", "lhb_meter", "--why", " ")):
        assert run_fleetmart(settings.home, "quality", "replay", *wrong, **environment).returncode == 2
    unknown = run_fleetmart(settings.home, *asked, "--tenant", "nobody", **environment)
    assert unknown.returncode == 2 and "la-haute-borne" in unknown.stderr
