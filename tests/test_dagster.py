"""Dagster shows one lineage over the same functions, and its sensor asks once for what waits."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from orchestration.errors import FleetmartError
from orchestration.settings import Settings


@pytest.fixture(scope="module")
def definitions(fleetmart_home: Path) -> Iterator[dg.Definitions]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEETMART_HOME", str(fleetmart_home))
        patch.setenv("DAGSTER_HOME", str(fleetmart_home / "dagster"))
        from orchestration.defs import defs

        yield defs


def test_one_lineage_leads_from_landing_to_the_dashboards_datasets(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    upstream = graph.get_ancestor_asset_keys(dg.AssetKey(["dashboards", "cube_fleet_daily"]))
    names = {key.to_user_string() for key in upstream}
    assert {"landing/lhb_scada", "lake/readings", "fct_readings", "gate/verdicts", "serving/snapshots"} <= names


def test_the_demos_run_is_recorded_with_its_checks(definitions: dg.Definitions, fleetmart_home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_runs()
        assert [run.status for run in runs if run.job_name == "everything"][-1] is dg.DagsterRunStatus.SUCCESS
        for key in (["lake", "readings"], ["fct_readings"], ["gate", "verdicts"], ["serving", "snapshots"]):
            assert instance.get_latest_materialization_event(dg.AssetKey(key)) is not None, key
        checked = instance.event_log_storage.get_latest_asset_check_execution_by_key(
            [dg.AssetCheckKey(dg.AssetKey(["gate", "verdicts"]), "no_tenant_failed")]
        )
        assert len(checked) == 1


def test_whatever_writes_shares_one_pool(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    nodes = [graph.get(key) for key in graph.materializable_asset_keys]
    assert {pool for node in nodes for pool in node.pools} == {"writer"}


def test_the_sensor_asks_once_for_the_same_files(
    definitions: dg.Definitions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from orchestration.defs.sensors import landing_sensor

    monkeypatch.setenv("FLEETMART_HOME", str(tmp_path))
    assert isinstance(landing_sensor(dg.build_sensor_context()), dg.SkipReason)
    landing = Settings().landing / "lhb_meter"
    landing.mkdir(parents=True)
    (landing / "a.csv.part").write_text("being written")
    assert isinstance(landing_sensor(dg.build_sensor_context()), dg.SkipReason)
    os.rename(landing / "a.csv.part", landing / "a.csv")
    first, second = (landing_sensor(dg.build_sensor_context()) for _ in range(2))
    (landing / "b.csv").write_text("another")
    third = landing_sensor(dg.build_sensor_context())
    assert first.run_key == second.run_key != third.run_key


def test_alerts_are_asked_where_they_can_be_told(
    definitions: dg.Definitions, monkeypatch: pytest.MonkeyPatch, small: Callable[..., Settings]
) -> None:
    from orchestration.defs import jobs

    monkeypatch.setenv("FLEETMART_HOME", str(small().home))
    assert "FLEETMART_SMTP_URL" in jobs.alerts_schedule.evaluate_tick(dg.build_schedule_context()).skip_message
    monkeypatch.setenv("FLEETMART_SMTP_URL", "smtp://127.0.0.1:25")
    assert len(jobs.alerts_schedule.evaluate_tick(dg.build_schedule_context()).run_requests) == 1
    assert jobs.alerts_schedule in definitions.schedules
    came = [{"name": "a", "outcome": "told", "text": "alert a: holds."}]
    monkeypatch.setattr(jobs, "run_alerts", lambda *_: came)
    assert jobs.alerts_job.execute_in_process().success
    came.append({"name": "b", "outcome": "failed", "text": "alert b: nobody has an address."})
    with pytest.raises(FleetmartError, match="alert b: nobody has an address"):
        jobs.alerts_job.execute_in_process()


def test_silent_sources_are_looked_for_where_a_source_says_how_often_files_come(
    definitions: dg.Definitions, monkeypatch: pytest.MonkeyPatch, small: Callable[..., Settings]
) -> None:
    from orchestration.defs.jobs import watch_job, watch_schedule

    settings = small()
    monkeypatch.setenv("FLEETMART_HOME", str(settings.home))
    monkeypatch.setenv("FLEETMART_SOURCES", str(settings.sources))
    monkeypatch.setenv("FLEETMART_REGISTRY", str(settings.registry))
    assert watch_schedule.evaluate_tick(dg.build_schedule_context()).skip_message
    path = settings.sources / "lhb_meter.yml"
    path.write_text(f"{path.read_text()}arrives_every: 1 hour\n")
    assert len(watch_schedule.evaluate_tick(dg.build_schedule_context()).run_requests) == 1
    assert watch_schedule in definitions.schedules
    assert watch_job.execute_in_process().success
