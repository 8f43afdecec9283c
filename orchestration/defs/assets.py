"""From landing to the dashboards' datasets, each asset a call of the function that the command line calls."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtCliResource, dbt_assets

from expectations.gate import PASSED, gate
from orchestration.build import candidate, dbt_flags
from orchestration.dbt_process import DBT, DBT_PROJECT, dbt_environment
from orchestration.errors import FleetmartError
from orchestration.load import load_waiting
from orchestration.publish import publish_all
from orchestration.published_rows import published_marts
from orchestration.settings import Settings


def _manifest() -> Path:
    path = Settings().dbt_target / "manifest.json"
    if not path.exists():
        raise FleetmartError(f"{path} is missing. Run `fleetmart demo --no-serve` or `fleetmart serve` once.")
    return path


def _source_names() -> list[str]:
    return sorted(path.stem for path in Settings().sources.glob("*.yml"))


class _Translator(DagsterDbtTranslator):
    """Models keep their public names as keys; the lake's view is the asset that load writes."""

    def get_group_name(self, dbt_resource_props: dict) -> str | None:
        return dbt_resource_props["path"].split("/")[0]


LANDING = [
    dg.AssetSpec(["landing", name], group_name="landing", description="Files as the network delivers them.")
    for name in _source_names()
]
MARTS = json.loads(_manifest().read_text())["nodes"].values()
MART_KEYS = [
    dg.AssetKey([node["name"]])
    for node in MARTS
    if node["resource_type"] == "model" and node["path"].startswith("marts/")
]


@dg.asset(key=["lake", "readings"], deps=LANDING, group_name="load", pool="writer", kinds={"deltalake"})
def lake_readings(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Readings taken in since the last load; what could not be read is in rejected_rows or set aside."""
    loaded = load_waiting(Settings(), _say)
    if loaded.problems:
        context.log.warning(f"{len(loaded.problems)} files or kinds of rows were not taken in; the ledger says why.")
    return dg.MaterializeResult(
        metadata={
            "files": loaded.files,
            "already_loaded": loaded.already_loaded,
            "readings": loaded.readings,
            "empty_values": loaded.empty,
            "rejected": loaded.rejected,
            "partitions_touched": loaded.partitions,
            "problems": len(loaded.problems),
        }
    )


@dbt_assets(
    manifest=_manifest(),
    project=None,
    dagster_dbt_translator=_Translator(settings=DagsterDbtTranslatorSettings(enable_code_references=False)),
    exclude="resource_type:unit_test tag:whole",
    pool="writer",
)
def warehouse(context: dg.AssetExecutionContext) -> Iterator[object]:
    """Staging, dimensions, fact and cubes of the partitions that the new loads touched."""
    settings = Settings()
    os.environ.update(dbt_environment(settings))
    with candidate(settings, report=_say) as new:
        if new.partitions:
            dbt = DbtCliResource(project_dir=str(DBT_PROJECT), profiles_dir=str(DBT_PROJECT), dbt_executable=DBT)
            invocation = dbt.cli(["build", *dbt_flags(new)], context=context, target_path=settings.dbt_target)
            for event in invocation.stream():
                if isinstance(event, dg.Output):
                    _say(f"build {new.build_id}: {event.output_name}")
                yield event
        else:
            for key in context.job_def.asset_layer.asset_graph.toposorted_asset_keys:
                if key not in context.selected_asset_keys:
                    continue
                yield dg.MaterializeResult(asset_key=key, metadata={"partitions_replaced": 0})
            for check in context.selected_asset_check_keys:
                yield dg.AssetCheckResult(
                    asset_key=check.asset_key,
                    check_name=check.name,
                    passed=True,
                    description=f"Nothing new since build {new.build_id}, which passed this test.",
                )


@dg.asset(
    key=["gate", "verdicts"],
    deps=MART_KEYS,
    group_name="gate",
    pool="writer",
    kinds={"greatexpectations"},
    check_specs=[dg.AssetCheckSpec("no_tenant_failed", asset=["gate", "verdicts"])],
)
def verdicts(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """One verdict per tenant and build; a failed one withholds that tenant's snapshot and no other's."""
    found = gate(Settings(), _say)
    failed = [verdict.tenant_id for verdict in found if not verdict.passed]
    return dg.MaterializeResult(
        metadata={
            "verdicts": {verdict.tenant_id: verdict.verdict for verdict in found},
            "expectations": sum(verdict.expectation_count for verdict in found),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="no_tenant_failed",
                passed=not failed,
                metadata={"failed": failed, "with_warnings": sum(verdict.verdict != PASSED for verdict in found)},
            )
        ],
    )


@dg.multi_asset(
    specs=[
        dg.AssetSpec(["serving", "snapshots"], deps=[["gate", "verdicts"]], group_name="publish", kinds={"duckdb"}),
        *(
            dg.AssetSpec(["dashboards", key.path[-1]], deps=[["serving", "snapshots"]], group_name="dashboards")
            for key in MART_KEYS
        ),
    ],
    pool="writer",
)
def snapshots(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
    """One immutable file per tenant that passed; the dashboards' datasets read the current one."""
    settings = Settings()
    published = publish_all(settings, _say)
    for reason in published.withheld:
        context.log.error(reason)
    builds = {snapshot.tenant_id: snapshot.build_id for snapshot in published.snapshots}
    yield dg.MaterializeResult(
        asset_key=["serving", "snapshots"], metadata={"published": builds, "withheld": len(published.withheld)}
    )
    known = {mart.name for mart in published_marts(settings)}
    for key in MART_KEYS:
        if key.path[-1] in known:
            yield dg.MaterializeResult(asset_key=["dashboards", key.path[-1]], metadata={"builds": builds})


def _say(line: str) -> None:
    """A line for whoever watches the run's output, such as `fleetmart demo`."""
    print(f"fleetmart: {line}", flush=True)


ASSETS = [*LANDING, lake_readings, warehouse, verdicts, snapshots]
EVERYTHING = dg.define_asset_job("everything", selection=dg.AssetSelection.all(), description="All that is waiting.")
