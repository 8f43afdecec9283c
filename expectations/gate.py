"""The gate: one verdict per tenant and build, over what changed since the tenant's last snapshot.

Results are kept as rows of counts and rules; Data Docs are written per tenant, and for the operator.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from orchestration.build import Build, latest_build
from orchestration.errors import FleetmartError
from orchestration.ledger import ledger, now, rows
from orchestration.settings import Settings
from orchestration.writer_lock import writer

if TYPE_CHECKING:
    from expectations.suites import MetricRule

# Anything more would copy offending values into results and pages.
COUNTS_ONLY = {"result_format": "BASIC", "partial_unexpected_count": 0}
CHANGES, VIEWS = (Path(__file__).with_name(name) for name in ("changes.sql", "views.sql"))
# A suite reads them some forty times: so many readings are kept in memory, of more the warehouse is read each time.
READINGS_IN_MEMORY = 5_000_000
# Memory beside what Great Expectations itself takes; what needs more goes to disk. As in dbt's profile, joins
# stay as they are written: estimates of how few rows a tenant's changed days hold are far off.
ENGINE = {"memory_limit": "1500MB", "disabled_optimizers": "join_order,build_side_probe_side"}
PASSED, WARNED, FAILED = "passed", "passed with warnings", "failed"


@dataclass(frozen=True)
class Verdict:
    """What the gate decided for one tenant's part of one build."""

    tenant_id: str
    build_id: int
    verdict: str
    expectation_count: int
    critical_failures: int
    warning_failures: int
    decided_at: str
    data_docs: str

    @property
    def passed(self) -> bool:
        return self.verdict != FAILED


def verdict_of(settings: Settings, tenant_id: str, build_id: int) -> Verdict | None:
    """The verdict on exactly this tenant and build; None when there is none, which is not a pass."""
    found = rows(settings, "select * from quality_verdicts where tenant_id = ? and build_id = ?", tenant_id, build_id)
    return Verdict(**found[0]) if found else None


def changed_tenants(settings: Settings) -> list[str]:
    """Tenants whose data in the warehouse changed since their last snapshot, sorted."""
    found = rows(
        settings,
        "select distinct tenant_id from build_partitions p join builds using (build_id) where status = 'built' "
        "and build_id > coalesce((select max(build_id) from snapshots s where s.tenant_id = p.tenant_id), 0) "
        "order by tenant_id",
    )
    return [row["tenant_id"] for row in found]


def gate(settings: Settings, report: Callable[[str], None] = lambda line: None) -> list[Verdict]:
    """Judge the latest build for every tenant that it or an unpublished build before it changed.

    Returns one verdict per such tenant; a verdict that stands already is returned as it is.
    Raises FleetmartError when there is no finished build.
    """
    return list(judge(settings, report))


def judge(settings: Settings, report: Callable[[str], None] = lambda line: None) -> Iterator[Verdict]:
    """The verdicts of `gate`, each as soon as it is known, so that its tenant need not wait for the others."""
    with writer(settings, "gate"):
        build = latest_build(settings)
        if build is None:
            raise FleetmartError("There is no finished build to judge. Run `fleetmart build` first.")
        for tenant_id in changed_tenants(settings):
            yield verdict_of(settings, tenant_id, build.build_id) or _judge(settings, tenant_id, build, report)


def _judge(settings: Settings, tenant_id: str, build: Build, report: Callable[[str], None]) -> Verdict:
    from sqlalchemy.exc import DBAPIError

    try:
        with _scope(settings, tenant_id) as scope:
            results = _validate(settings, tenant_id, build, scope)
    except DBAPIError as error:
        raise FleetmartError(
            f"The gate could not check what changed of {tenant_id}: {str(error.orig).splitlines()[0]}. "
            "There is no verdict, so nothing is published."
        ) from error
    failed = [result for result in results if not result["is_met"]]
    critical = sum(result["severity"] == "critical" for result in failed)
    warnings = sum(result["severity"] == "warning" for result in failed)
    verdict = Verdict(
        tenant_id=tenant_id,
        build_id=build.build_id,
        verdict=FAILED if critical else WARNED if warnings else PASSED,
        expectation_count=len(results),
        critical_failures=critical,
        warning_failures=warnings,
        decided_at=now(),
        data_docs="index.html",
    )
    _record(settings, verdict, results)
    report(
        f"gate {tenant_id}: {verdict.verdict}, {len(results)} expectations, {critical} critical, {warnings} warnings"
    )
    return verdict


def _record(settings: Settings, verdict: Verdict, results: list[dict[str, Any]]) -> None:
    with ledger(settings) as connection:
        connection.execute(
            "delete from quality_results where tenant_id = ? and build_id = ?", (verdict.tenant_id, verdict.build_id)
        )
        connection.executemany(
            "insert into quality_results values (:tenant_id, :build_id, :suite, :rule, :severity, :metric, :is_met, "
            ":checked_count, :unexpected_count, :why, :checked_at)",
            results,
        )
        connection.execute(
            "insert into quality_verdicts values (:tenant_id, :build_id, :verdict, :expectation_count, "
            ":critical_failures, :warning_failures, :decided_at, :data_docs)",
            vars(verdict),
        )


@dataclass(frozen=True)
class Scope:
    """A database in memory with views of one tenant's changed days, and the registry's rules for its metrics."""

    url: str
    config: dict[str, str]
    rules: list["MetricRule"]


@contextmanager
def _scope(settings: Settings, tenant_id: str) -> Iterator[Scope]:
    """Views over the warehouse, which is only read: other tenants may be published meanwhile."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    from expectations.suites import MetricRule

    days = rows(
        settings,
        "select distinct reading_date from build_partitions join builds using (build_id) where status = 'built' "
        "and tenant_id = ? and build_id > coalesce((select max(build_id) from snapshots where tenant_id = ?), 0)",
        tenant_id,
        tenant_id,
    )
    loads = rows(
        settings,
        "select t.load_id, t.rejected_count, t.reading_count + t.empty_count + t.rejected_count as value_count "
        "from load_tenants t join loads l using (load_id) where t.tenant_id = ? and l.status = 'loaded' "
        "and l.finished_at > coalesce((select max(published_at) from snapshots where tenant_id = ?), '')",
        tenant_id,
        tenant_id,
    )
    settings.staging.mkdir(exist_ok=True)
    url = f"duckdb:///:memory:{uuid4()}"
    config = ENGINE | {"temp_directory": str(settings.staging / f"gate-{tenant_id}")}
    # the database lives as long as this connection; Great Expectations opens others to it
    with create_engine(url, poolclass=NullPool, connect_args={"config": config}).connect() as connection:
        run = connection.exec_driver_sql
        warehouse = str(settings.warehouse).replace("'", "''")
        run(f"attach '{warehouse}' as warehouse (read_only)")
        run("create schema gate")
        run("create table gate.tenant as select $1::varchar as tenant_id", (tenant_id,))
        run("create table gate.days (day date)")
        run("insert into gate.days values (?)", [(row["reading_date"],) for row in days])
        run("create table gate.loads (load_id varchar, rejected bigint, vals bigint)")
        if loads:
            run("insert into gate.loads values (?, ?, ?)", [tuple(load.values()) for load in loads])
        run(CHANGES.read_text())
        few = run("select count(*) from gate.changed_readings").fetchone()[0] <= READINGS_IN_MEMORY
        run(f"create {'table' if few else 'view'} gate.readings as from gate.changed_readings")
        run(VIEWS.read_text())
        found = run(
            "select m.metric, m.metric_label, m.unit, min(r.valid_min), max(r.valid_max) "
            "from warehouse.registry.devices d join warehouse.registry.device_model_metrics r using (model_id) "
            "join warehouse.registry.metrics m using (metric) where d.tenant_id = $1 "
            "and m.metric in (select distinct metric from gate.readings) group by all order by m.metric",
            (tenant_id,),
        ).fetchall()
        yield Scope(url, config, [MetricRule(*row) for row in found])


def _validate(settings: Settings, tenant_id: str, build: Build, scope: Scope) -> list[dict[str, Any]]:
    """Run every suite and write Data Docs; returns one row of counts per expectation."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.core.run_identifier import RunIdentifier

    from expectations import suites
    from expectations.data_docs import site_config, write_operator_index

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    docs = settings.quality / tenant_id / "docs"
    context.add_data_docs_site(site_name=tenant_id, site_config=site_config(docs))
    source = context.data_sources.add_sql(
        name=tenant_id,
        connection_string=scope.url,
        kwargs={
            # DuckDB drops an open result when its connection is given back to the pool.
            "pool_reset_on_return": None,
            "connect_args": {"config": scope.config},
        },
    )
    run = RunIdentifier(run_name=f"{tenant_id} build {build.build_id}")
    found: list[dict[str, Any]] = []
    try:
        for suite in (suites.arrival(), suites.readings(scope.rules), suites.cubes()):
            # each suite is about the view or table of its name
            asset = source.add_table_asset(name=suite.name, table_name=suite.name, schema_name="gate")
            batch = asset.add_batch_definition_whole_table(name=suite.name)
            context.suites.add(suite)
            definition = context.validation_definitions.add(
                gx.ValidationDefinition(name=suite.name, data=batch, suite=suite)
            )
            result = definition.run(result_format=COUNTS_ONLY, run_id=run)
            found += [_row(tenant_id, build, suite.name, one) for one in result.results]
    finally:
        source.get_execution_engine().close()
        source.get_engine().dispose()
    context.build_data_docs(site_names=[tenant_id])
    shutil.copytree(docs, settings.quality / "operator" / "docs" / tenant_id, dirs_exist_ok=True)
    write_operator_index(settings.quality / "operator" / "docs")
    return found


def _error_of(info: dict[str, Any]) -> str | None:
    """Why an expectation could not be computed: told at the top, or once for each metric that it needed."""
    told = [info, *(value for value in info.values() if isinstance(value, dict))]
    return next((one["exception_message"] for one in told if one.get("raised_exception")), None)


def _row(tenant_id: str, build: Build, suite: str, result: Any) -> dict[str, Any]:
    error = _error_of(result.exception_info or {})
    if error:
        raise FleetmartError(
            f"The gate could not check {result.expectation_config.meta['rule']!r} of {tenant_id}: "
            f"{error}. There is no verdict, so nothing is published."
        )
    config, counts = result.expectation_config, result.result
    # a column that counts what must not be
    observed = counts.get("observed_value") if config.type == "expect_column_max_to_be_between" else None
    return {
        "tenant_id": tenant_id,
        "build_id": build.build_id,
        "suite": suite,
        "rule": config.meta["rule"],
        "severity": str(getattr(config.severity, "value", config.severity)),
        "metric": config.meta["metric"],
        "is_met": bool(result.success),
        "checked_count": counts.get("element_count"),
        "unexpected_count": observed if observed is not None else counts.get("unexpected_count"),
        "why": config.meta["why"],
        "checked_at": now(),
    }
