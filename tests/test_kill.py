"""Killed with `kill -9` at any step and run again, a home ends in the state of an uninterrupted one."""

import subprocess
import sys
import time
from pathlib import Path

from orchestration.settings import Settings
from tests.conftest import FLEETMART, environment_of, run_fleetmart
from tests.processes import processes_of, until
from tests.soak_kills import soak
from tests.state import assert_same, state_of

KILLS = 1


def test_killed_anywhere_and_run_again_a_home_ends_in_the_same_state(tmp_path: Path) -> None:
    result = soak(tmp_path, KILLS, seed=7, compare_every=3)
    assert sum(result.kills.values()) == KILLS
    assert result.reader_queries > 0


def test_a_demo_killed_outright_leaves_no_orphan_and_run_again_ends_in_the_same_state(
    fleetmart_home: Path, tmp_path: Path
) -> None:
    home = tmp_path / "killed"
    demo = subprocess.Popen(
        [FLEETMART, "demo", "--no-serve"],
        env=environment_of(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    parts = ("-j everything", "provision.py")
    until(lambda: all(any(part in one for one in processes_of(home).values()) for part in parts))
    time.sleep(4)
    demo.kill()
    demo.wait()
    until(lambda: not processes_of(home))
    done = run_fleetmart(home, "demo", "--no-serve", FLEETMART_LOCK_WAIT_SECONDS="60")
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
