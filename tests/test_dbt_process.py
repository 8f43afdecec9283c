"""dbt's process may be started before there is anything to do, and never outlives its block."""

import os
from threading import Event

import pytest

from orchestration.dbt_process import Dbt
from orchestration.errors import FleetmartError
from orchestration.settings import Settings


def children() -> set[str]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return set(file.read().split())


def test_a_process_started_for_nothing_ends_with_its_block(tmp_path) -> None:
    before = children()
    with Dbt(Settings(home=tmp_path)) as dbt:
        dbt.start()
        assert len(children() - before) == 1
    assert children() == before


def test_what_dbt_said_last_is_told_when_it_fails(tmp_path) -> None:
    worked, lines = Event(), []
    with Dbt(Settings(home=tmp_path), worked.set) as dbt, pytest.raises(FleetmartError, match="No such option"):
        dbt.run(["parse", "--no-such-option"], lines.append)
    assert worked.wait(5)
    assert any("No such option" in line for line in lines)
