"""A past span, or everything, is rebuilt from the lake: by command and as Dagster's jobs."""

import os
from collections.abc import Callable
from datetime import date

import dagster as dg
import duckdb
import pytest

from orchestration.build import Span, latest_build
from orchestration.errors import WrongUse
from orchestration.ledger import rows
from orchestration.run import rebuild, run_waiting
from orchestration.settings import Settings
from tests.conftest import run_fleetmart
from tests.soak_kills import deliver_day
from tests.state import State, assert_same, marts_of, state_of


@pytest.fixture
def built(small: Callable[..., Settings]) -> Settings:
    """Six days of two tenants, the last of a month and the first of the next."""
    import random

    settings = small()
    for day in (28, 29, 30, 31, 32, 33):
        deliver_day(settings, day, random.Random(day))
    run_waiting(settings)
    return settings


def damage(settings: Settings, day: str) -> None:
    """What a defect of a model might have done to a day."""
    with duckdb.connect(str(settings.warehouse)) as connection:
        connection.execute("update main.fct_readings set value = -1 where reading_date = $day", {"day": day})
        connection.execute("delete from main.cube_readings_daily where day = $day", {"day": day})


def tables(state: State) -> State:
    return {name: table for name, table in state.items() if not name.endswith(("/loads", "landing"))}


def test_a_span_is_rebuilt_month_by_month_and_published(built: Settings) -> None:
    before = tables(state_of(built))
    damage(built, "2014-01-30")
    damage(built, "2014-02-02")
    said: list[str] = []
    done = rebuild(built, Span(date(2014, 1, 30), date(2014, 2, 2), "la-haute-borne"), said.append)
    assert [build.partitions for build in done.builds] == [2, 2]
    assert any("backfill 2/2: 2014-02" in line for line in said)
    assert {snapshot.tenant_id for snapshot in done.published.snapshots} == {"la-haute-borne", "operator"}
    assert_same(tables(state_of(built)), before)


def test_a_span_without_readings_is_wrong_use(built: Settings) -> None:
    with pytest.raises(WrongUse, match="no readings"):
        rebuild(built, Span(date(1999, 1, 1), date(1999, 1, 2)))
    for arguments, says in (
        (["--from", "2014-02-02"], "--from and --to"),
        (["--from", "2014-02-02", "--to", "2014-01-01"], "is after"),
        (["--full-refresh", "--tenant", "la-haute-borne"], "of all tenants"),
    ):
        done = run_fleetmart(built.home, "backfill", *arguments)
        assert done.returncode == 2 and says in done.stderr


def test_dagsters_jobs_do_the_same_with_progress(
    fleetmart_home: object, built: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEETMART_HOME", str(fleetmart_home))
    from orchestration.defs.jobs import JOBS

    before = marts_of(built)
    for name in ("home", "sources", "registry"):
        monkeypatch.setenv(f"FLEETMART_{name.upper()}", str(getattr(built, name)))
    jobs = {job.name: job for job in JOBS}
    damage(built, "2014-02-01")
    span = {"first_day": "2014-02-01", "last_day": "2014-02-01"}
    with dg.DagsterInstance.ephemeral() as instance:
        done = jobs["backfill"].execute_in_process({"ops": {"rebuild_span": {"config": span}}}, instance=instance)
        assert done.success
        log = [record.user_message for record in instance.all_logs(done.run_id)]
        assert any("backfill 1/1: 2014-02" in line for line in log)
    assert_same(marts_of(built), before)
    builds = latest_build(built).build_id
    assert jobs["full_refresh"].execute_in_process().success
    assert rows(built, "select full_refresh from builds where build_id > ?", builds) == [{"full_refresh": 1}]
    assert jobs["maintain"].execute_in_process().success
    assert_same(marts_of(built), before)
    assert os.environ["FLEETMART_HOME"] == str(built.home)
