"""Killed with `kill -9` at any step and run again, a home ends in the state of an uninterrupted one."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

from orchestration.ledger import rows
from orchestration.load import deliver
from orchestration.run import run_waiting
from orchestration.settings import ROOT, Settings
from tests.conftest import FLEETMART, environment_of, run_fleetmart
from tests.state import assert_same, state_of

SAMPLE = ROOT / "orchestration" / "sample"
FILES = {
    "lhb_meter": sorted((SAMPLE / "lhb_meter").iterdir())[:2],
    "lhb_scada": sorted((SAMPLE / "lhb_scada").iterdir())[:2],
    "pv_snow": sorted((SAMPLE / "pv_snow").iterdir()),
}
KILLS = 5


def test_killed_anywhere_and_run_again_a_home_ends_in_the_same_state(small: Callable[..., Settings]) -> None:
    undisturbed, killed = small("undisturbed"), small("killed")
    for settings in (undisturbed, killed):
        for source, files in FILES.items():
            deliver(settings, source, files)
    start = time.monotonic()
    run_waiting(undisturbed)
    seconds = time.monotonic() - start
    instants = random.Random(2024)
    for _ in range(KILLS):
        kill_run_after(killed, instants.uniform(0.5, seconds + 3))
        readers_see_whole_snapshots(killed)
    run_waiting(killed)
    assert_same(state_of(killed), state_of(undisturbed))
    assert rows(killed, "select * from loads where status = 'reading'") == []


def kill_run_after(settings: Settings, seconds: float) -> None:
    environment = environment_of(settings.home) | {
        "FLEETMART_SOURCES": str(settings.sources),
        "FLEETMART_REGISTRY": str(settings.registry),
    }
    process = subprocess.Popen(
        [FLEETMART, "run"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def readers_see_whole_snapshots(settings: Settings) -> None:
    for current in settings.serving.glob("*/current"):
        with duckdb.connect(str(current), read_only=True) as connection:
            assert connection.execute("select count(*) > 0 from cube_fleet_daily").fetchone() == (True,)


def test_a_demo_killed_outright_leaves_no_orphan_and_run_again_ends_in_the_same_state(
    fleetmart_home: Path, tmp_path: Path
) -> None:
    home = tmp_path / "killed"
    for seconds in (9, 16):
        demo = subprocess.Popen(
            [FLEETMART, "demo", "--no-serve"],
            env=environment_of(home),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(seconds)
        demo.kill()
        demo.wait()
    done = run_fleetmart(home, "demo", "--no-serve")
    assert done.returncode == 0, done.stderr[-3000:]
    assert_same(state_of(Settings(home=home)), state_of(Settings(home=fleetmart_home)))


def test_a_second_writer_waits_and_says_for_whom(tmp_path: Path) -> None:
    home = tmp_path / "home"
    hold = (
        "import sys, time; from orchestration.settings import Settings; from orchestration.writer_lock import writer\n"
        "with writer(Settings(), 'build'):\n    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", hold], env=environment_of(home), stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        environment = environment_of(home) | {"FLEETMART_LOCK_WAIT_SECONDS": "0.5"}
        second = subprocess.run([FLEETMART, "load"], env=environment, capture_output=True, text=True, check=False)
    finally:
        holder.kill()
        holder.wait()
    assert second.returncode == 1
    assert "Another writer is at work (build, process" in second.stderr
    assert subprocess.run([FLEETMART, "load"], env=environment_of(home), check=False).returncode == 0
