"""Files as they really arrive: unfinished, grown, again, from elsewhere, with new columns, onto a full disk."""

import os
import random
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from orchestration import lake
from orchestration.errors import FleetmartError
from orchestration.landing import deliver, settled_files, waiting_files
from orchestration.ledger import ledger, rows
from orchestration.load import load_waiting
from orchestration.run import maintain
from orchestration.settings import Settings
from tests.conftest import FLEETMART, environment_of
from tests.soak_kills import METER, meter_row

DAY = [meter_row(0, step, 1.0) for step in range(144)]


def put(settings: Settings, name: str, lines: list[str], source: str = "lhb_meter", end: str = "\n") -> Path:
    path = settings.landing / source / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([METER, *lines]) + end)
    return path


def accounts(settings: Settings) -> list[tuple]:
    return [
        tuple(row.values())
        for row in rows(
            settings,
            "select row_count, duplicate_row_count, reading_count, empty_count, rejected_count, duplicate_count "
            "from loads join load_tenants using (load_id) order by loads.rowid",
        )
    ]


def test_a_file_being_written_is_left_until_it_lies_still(small: Callable[..., Settings]) -> None:
    settings = small().model_copy(update={"settle_seconds": 3.0})
    path = put(settings, "growing.csv", DAY[:2])
    put(settings, "hidden.csv.part", DAY)
    put(settings, ".hidden.csv", DAY)
    stop = threading.Event()

    def write_on() -> None:
        while not stop.wait(0.2):
            with path.open("a") as file:
                file.write(DAY[2] + "\n")

    writing = threading.Thread(target=write_on)
    writing.start()
    said: list[str] = []
    try:
        assert settled_files(settings, said.append) == []
    finally:
        stop.set()
        writing.join()
    assert "still being written" in said[0]
    assert [one.name for one in settled_files(settings, said.append)] == ["growing.csv"]


def test_a_grown_file_is_loaded_as_the_difference_and_every_value_is_accounted_for(
    small: Callable[..., Settings],
) -> None:
    settings = small()
    put(settings, "log.csv", DAY[:10])
    load_waiting(settings)
    put(settings, "log.csv", [*DAY[:30], "not a time,1,2,3"])
    grown = load_waiting(settings)
    assert (grown.readings, grown.rejected) == (60, 1)
    assert accounts(settings) == [(10, 0, 30, 0, 0, 0), (31, 10, 60, 0, 1, 30)]
    assert sum(file.rows for file in lake.files(settings.lake_readings)) == 90
    assert rows(settings, "select first_source_row from load_rejections") == [{"first_source_row": 31}]


def test_a_line_that_was_not_finished_is_read_again_when_it_is(small: Callable[..., Settings]) -> None:
    settings = small()
    unfinished = DAY[1][:-7]  # the last value lacks its end
    put(settings, "log.csv", [DAY[0], unfinished], end="")
    load_waiting(settings)
    put(settings, "log.csv", DAY[:3])
    load_waiting(settings)
    assert [(row[0], row[1]) for row in accounts(settings)] == [(2, 0), (3, 1)]


def test_a_source_may_refuse_grown_files(small: Callable[..., Settings]) -> None:
    settings = small()
    declared = settings.sources / "lhb_meter.yml"
    declared.write_text(declared.read_text() + "grown: refuse\n")
    put(settings, "log.csv", DAY[:10])
    load_waiting(settings)
    path = put(settings, "log.csv", DAY[:30])
    refused = load_waiting(settings)
    assert (refused.files, refused.readings) == (0, 0)
    assert "grew since it was loaded" in refused.problems[0]
    assert not path.exists() and len(list(settings.set_aside.rglob("*log.csv"))) == 1


def test_a_changed_file_of_the_same_name_is_another_file(small: Callable[..., Settings]) -> None:
    settings = small()
    put(settings, "log.csv", DAY[:10])
    load_waiting(settings)
    put(settings, "log.csv", [meter_row(0, step, 2.0) for step in range(30)])
    assert load_waiting(settings).readings == 90
    assert [row[1] for row in accounts(settings)] == [0, 0]


def test_new_columns_of_a_known_source_are_reported(small: Callable[..., Settings]) -> None:
    settings = small()
    put(settings, "a.csv", DAY[:3])
    assert load_waiting(settings).notices == []
    path = put(settings, "b.csv", [])
    path.write_text(f"{METER},firmware\n" + "\n".join(f"{line},2.1" for line in DAY[3:6]) + "\n")
    assert "firmware" in load_waiting(settings).notices[0]
    found = rows(settings, "select new_columns from loads order by rowid")
    assert [row["new_columns"] for row in found] == [None, "firmware"]


def test_new_keys_of_json_lines_are_reported(small: Callable[..., Settings]) -> None:
    settings = small()
    (settings.sources / "probes.yml").write_text(
        "{source: probes, description: d, tenant: nyc-airports, site: JFK, device: JFK, format: {type: jsonl}, "
        "measured_at: {column: at}, metrics: {payload.t: ambient_temperature}}"
    )
    folder = settings.landing / "probes"
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_text('{"at": "2024-01-01T00:00:00Z", "payload": {"t": 1}}\n')
    assert load_waiting(settings).notices == []
    (folder / "b.jsonl").write_text('{"at": "2024-01-01T01:00:00Z", "payload": {"t": 1, "co2": 400}}\n')
    assert "payload.co2" in load_waiting(settings).notices[0]


def test_a_file_of_which_nothing_could_be_taken_in_is_set_aside_and_may_come_again_mended(
    small: Callable[..., Settings],
) -> None:
    settings = small()
    lines = [line.replace("2014-", "14/", 1) for line in DAY[:5]]
    put(settings, "wrong.csv", lines)
    refused = load_waiting(settings)
    assert (refused.files, refused.rejected) == (0, 0)
    assert "none of its 5 rows could be taken in (5 times time stamp not understood)" in refused.problems[0]
    kept = next(settings.set_aside.rglob("*wrong.csv"))
    source = settings.sources / "lhb_meter.yml"
    mended = 'measured_at: {column: time_utc, format: "%y/%m-%d %H:%M:%S"}\n'
    source.write_text(re.sub(r"measured_at:\n( .*\n)+", mended, source.read_text()))
    deliver(settings, "lhb_meter", [kept])
    assert load_waiting(settings).readings == 15


def test_memory_does_not_grow_with_the_days_of_a_file(small: Callable[..., Settings]) -> None:
    """A day a row for 20 years: as many partitions, some of which are written at a time."""
    settings = small().model_copy(update={"memory_limit": "400MB"})
    rows_of_days = [meter_row(day, 0, 1.0) for day in range(7_300)]
    put(settings, "years.csv", rows_of_days)
    loaded = load_waiting(settings)
    assert (loaded.readings, loaded.partitions, loaded.problems) == (3 * 7_300, 7_300, [])
    days = {file.reading_date for file in lake.files(settings.lake_readings)}
    assert len(days) == 7_300


def test_files_below_a_url_are_fetched_and_deleted_there(small: Callable[..., Settings]) -> None:
    settings = small().model_copy(update={"landing_url": "memory://bucket/landing"})
    store = fsspec.filesystem("memory")
    for name, lines in (("lhb_meter/a.csv", DAY[:5]), ("lhb_meter/b.csv.part", DAY), ("lhb_meter/sub/c.csv", DAY[5:9])):
        store.pipe(f"/bucket/landing/{name}", ("\n".join([METER, *lines]) + "\n").encode())
    try:
        loaded = load_waiting(settings)
        assert (loaded.files, loaded.readings) == (2, 27)
        assert store.find("/bucket/landing") == ["/bucket/landing/lhb_meter/b.csv.part"]
        store.pipe("/bucket/landing/stray.csv", b"x")
        with pytest.raises(FleetmartError, match="not of the form <source>"):
            load_waiting(settings)
    finally:
        store.rm("/bucket", recursive=True)


def test_a_url_that_cannot_be_read_is_told(small: Callable[..., Settings]) -> None:
    settings = small().model_copy(update={"landing_url": "nowhere://bucket"})
    with pytest.raises(FleetmartError, match="FLEETMART_LANDING_URL"):
        load_waiting(settings)


def test_a_waiting_file_is_not_overwritten_by_another_of_its_name(
    small: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = small()
    put(settings, "a.csv", DAY[:5])
    (tmp_path / "a.csv").write_text(METER + "\n")
    with pytest.raises(FleetmartError, match="Another file"):
        deliver(settings, "lhb_meter", [tmp_path / "a.csv"])
    assert load_waiting(settings).readings == 15


def test_two_loaders_at_once_take_every_file_once(small: Callable[..., Settings]) -> None:
    settings = small()
    for number in range(20):
        put(settings, f"{number}.csv", DAY[number * 5 : number * 5 + 5])
    environment = environment_of(settings.home) | {
        "FLEETMART_SOURCES": str(settings.sources),
        "FLEETMART_SETTLE_SECONDS": "0",
    }
    loaders = [
        subprocess.Popen([FLEETMART, "load"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [loader.wait(timeout=120) for loader in loaders] == [0, 0]
    assert sum(file.rows for file in lake.files(settings.lake_readings)) == 300
    assert waiting_files(settings) == []


def limited(home: Path, sources: Path, largest_file: int) -> subprocess.CompletedProcess[str]:
    """A load that may write no file greater than that: the kernel refuses, as it does on a full disk."""
    return subprocess.run(
        [FLEETMART, "load"],
        env=environment_of(home) | {"FLEETMART_SOURCES": str(sources), "FLEETMART_SETTLE_SECONDS": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file)),
    )


def test_what_cannot_be_written_leaves_the_file_in_landing_and_nothing_half_done(
    small: Callable[..., Settings],
) -> None:
    settings = small()
    chance = random.Random(5)
    lines = [f"2014-01-01 {n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d},{chance.random()},0,0" for n in range(86_400)]
    load_waiting(settings)
    with ledger(settings):
        pass
    path = put(settings, "much.csv", lines)
    # too little for the ledger, and too little for the readings
    for largest_file in (4_096, 400_000):
        failed = limited(settings.home, settings.sources, largest_file)
        assert failed.returncode == 1, failed.stderr
        assert "Traceback" not in failed.stderr and "Make room" in failed.stderr
        assert path.exists() and not settings.set_aside.exists()
        assert lake.files(settings.lake_readings) == []
    loaded = load_waiting(settings)
    assert (loaded.files, loaded.readings) == (1, len(lines) * 3)


def test_many_small_files_become_one_and_old_ones_go_without_a_reader_noticing(
    small: Callable[..., Settings],
) -> None:
    settings = small().model_copy(update={"lake_hours": 0})
    for number in range(24):
        put(settings, f"{number}.csv", DAY[number * 6 : number * 6 + 6])
        load_waiting(settings)
    before = lake.files(settings.lake_readings)
    assert len(before) <= settings.lake_files + 2
    done = maintain(settings)
    after = lake.files(settings.lake_readings)
    assert done.files_spared > 0 and done.files_deleted >= done.files_spared
    assert len(after) == 1 and sum(file.rows for file in after) == 144 * 3
    assert all(os.path.exists(file.path) for file in after)
    on_disk = [path for path in settings.lake_readings.rglob("*.parquet") if "_delta_log" not in path.parts]
    assert len(on_disk) == len(after)


def test_rejected_rows_and_unknown_tenants_are_in_the_lake_with_their_text(small: Callable[..., Settings]) -> None:
    settings = small()
    put(settings, "a.csv", [DAY[0], "never,1,2,3", "2014-01-01 00:10:00,much,2,3", "2014-01-01 00:20:00,1"])
    loaded = load_waiting(settings)
    assert (loaded.readings, loaded.rejected) == (5, 3)
    import duckdb

    found = duckdb.execute(
        "select source_row, reason, raw from read_parquet($files) order by source_row",
        {"files": [str(path) for path in settings.lake_rejected.rglob("*.parquet")]},
    ).fetchall()
    assert [(row, reason) for row, reason, _ in found] == [
        (2, "time stamp not understood"),
        (3, "not a number"),
        (4, "missing columns"),
    ]
    assert "never" in found[0][2] and found[1][2] == "much" and found[2][2] == "2014-01-01 00:20:00,1"


def test_a_home_in_use_answers_status_while_it_loads(small: Callable[..., Settings]) -> None:
    settings = small()
    put(settings, "a.csv", DAY)
    asking = subprocess.Popen(
        [sys.executable, "-c", "from orchestration.cli import main; main(['status'])"],
        env=environment_of(settings.home),
        stdout=subprocess.DEVNULL,
    )
    load_waiting(settings)
    time.sleep(0.1)
    assert asking.wait(timeout=60) == 0
