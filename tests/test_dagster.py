"""Dagster shows one lineage over the same functions, and its sensor asks once for what waits."""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

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
