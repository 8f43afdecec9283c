"""The gate: one verdict per tenant and build, over what changed since the tenant's last snapshot.

Results are kept as rows of counts and rules; Data Docs are written per tenant, and for the operator.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from expectations.scope import Scope, scope_of
from orchestration.build import Build, candidate_digest, latest_build
from orchestration.errors import FleetmartError
from orchestration.ledger import ledger, now, rows
from orchestration.quality_cases import take_results
from orchestration.settings import Settings
from orchestration.writer_lock import writer

# Anything more would copy offending values into results and pages.
COUNTS_ONLY = {"result_format": "BASIC", "partial_unexpected_count": 0}
# Pages of older builds are removed; what was found in them stays in the ledger.
BUILDS_WITH_PAGES = 50
PASSED, WARNED, FAILED = "passed", "passed with warnings", "failed"


@dataclass(frozen=True)
class Verdict:
    """What the gate decided for one tenant's part of one build; `candidate` is a digest of the warehouse then."""

    tenant_id: str
    build_id: int
    verdict: str
    expectation_count: int
    critical_failures: int
    warning_failures: int
    decided_at: str
    data_docs: str
    candidate: str

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
        "and build_id > coalesce((select max(build_id) from snapshots s where s.tenant_id = p.tenant_id "
        "and s.withdrawn_at is null), 0) order by tenant_id",
    )
    return [row["tenant_id"] for row in found]


def gate(settings: Settings, report: Callable[[str], None] = lambda line: None) -> list[Verdict]:
    """Judge the latest build for every tenant that it or an unpublished build before it changed.

    Returns one verdict per such tenant; one that stands already, on what the warehouse holds, is returned as it is.
    Raises FleetmartError when there is no finished build.
    """
    return list(judge(settings, report))


def judge(settings: Settings, report: Callable[[str], None] = lambda line: None) -> Iterator[Verdict]:
    """The verdicts of `gate`, each as soon as it is known, so that its tenant need not wait for the others."""
    with writer(settings, "gate"):
        build = latest_build(settings)
        if build is None:
            raise FleetmartError("There is no finished build to judge. Run `fleetmart build` first.")
        candidate = candidate_digest(settings)
        for tenant_id in changed_tenants(settings):
            standing = verdict_of(settings, tenant_id, build.build_id)
            is_same = standing is not None and standing.candidate == candidate
            yield standing if is_same else _judge(settings, tenant_id, build, candidate, report)


def _judge(settings: Settings, tenant_id: str, build: Build, candidate: str, report: Callable[[str], None]) -> Verdict:
    from sqlalchemy.exc import DBAPIError

    try:
        with scope_of(settings, tenant_id, build.build_id) as scope:
            results = _validate(settings, build, scope)
            findings = [
                {"tenant_id": tenant_id, "build_id": build.build_id, "expectation": result["expectation"], **place}
                for result in results
                if not result["is_met"]
                for place in scope.findings(result["expectation"])
            ]
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
        data_docs=f"builds/{build.build_id}.html",
        candidate=candidate,
    )
    _record(settings, verdict, results, findings)
    _write_pages(settings, verdict, results)
    report(
        f"gate {tenant_id}: {verdict.verdict}, {len(results)} expectations, {critical} critical, {warnings} warnings"
    )
    return verdict


def _record(
    settings: Settings, verdict: Verdict, results: list[dict[str, Any]], findings: list[dict[str, Any]]
) -> None:
    with ledger(settings) as connection:
        for table in ("quality_results", "quality_findings"):
            connection.execute(
                f"delete from {table} where tenant_id = ? and build_id = ?", (verdict.tenant_id, verdict.build_id)
            )
        connection.executemany(
            "insert into quality_results values (:tenant_id, :build_id, :suite, :expectation, :rule, :severity, "
            ":metric, :is_met, :checked_count, :unexpected_count, :why, :checked_at)",
            results,
        )
        connection.executemany(
            "insert into quality_findings values (:tenant_id, :build_id, :expectation, :source, :site_id, :device_id, "
            ":metric, :unexpected_count)",
            findings,
        )
        connection.execute(
            "insert or replace into quality_verdicts values (:tenant_id, :build_id, :verdict, :expectation_count, "
            ":critical_failures, :warning_failures, :decided_at, :data_docs, :candidate)",
            vars(verdict),
        )
        take_results(connection, results)


def _write_pages(settings: Settings, verdict: Verdict, results: list[dict[str, Any]]) -> None:
    from expectations.data_docs import write_build_pages, write_operator_index

    kept = rows(
        settings,
        "select * from quality_verdicts where tenant_id = ? order by build_id desc limit ?",
        verdict.tenant_id,
        BUILDS_WITH_PAGES,
    )
    run = _run_name(verdict.tenant_id, verdict.build_id)
    write_build_pages(settings.quality / verdict.tenant_id / "docs", kept, results, run)
    write_operator_index(settings.quality)


def _run_name(tenant_id: str, build_id: int) -> str:
    """What Great Expectations calls the runs of one build's suites."""
    return f"{tenant_id} build {build_id}"


def _validate(settings: Settings, build: Build, scope: Scope) -> list[dict[str, Any]]:
    """Run every suite and write Data Docs; returns one row of counts per expectation."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.core.run_identifier import RunIdentifier

    from expectations.data_docs import site_config
    from expectations.suites import configurations_kept, suites_of

    tenant_id, counts = scope.tenant_id, scope.counts()
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
    run = RunIdentifier(run_name=_run_name(tenant_id, build.build_id))
    found: list[dict[str, Any]] = []
    try:
        with configurations_kept():
            for suite, table in suites_of(scope):
                asset = source.add_table_asset(name=suite.name, table_name=table, schema_name="gate")
                batch = asset.add_batch_definition_whole_table(name=suite.name)
                context.suites.add(suite)
                definition = context.validation_definitions.add(
                    gx.ValidationDefinition(name=suite.name, data=batch, suite=suite)
                )
                result = definition.run(result_format=COUNTS_ONLY, run_id=run)
                found += [_row(tenant_id, build, one, counts) for one in result.results]
    finally:
        source.get_execution_engine().close()
        source.get_engine().dispose()
    context.build_data_docs(site_names=[tenant_id])
    return found


def _error_of(info: dict[str, Any]) -> str | None:
    """Why an expectation could not be computed: told at the top, or once for each metric that it needed."""
    told = [info, *(value for value in info.values() if isinstance(value, dict))]
    return next((one["exception_message"] for one in told if one.get("raised_exception")), None)


def _row(tenant_id: str, build: Build, result: Any, counts: dict[str, tuple[int, int]]) -> dict[str, Any]:
    config, found = result.expectation_config, result.result
    error = _error_of(result.exception_info or {})
    if error:
        raise FleetmartError(
            f"The gate could not check {config.meta['rule']!r} of {tenant_id}: "
            f"{error}. There is no verdict, so nothing is published."
        )
    key = config.meta["key"]
    checked, unexpected = counts.get(key, (found.get("element_count"), found.get("unexpected_count")))
    return {
        "tenant_id": tenant_id,
        "build_id": build.build_id,
        "suite": key.split(".")[0],
        "expectation": key,
        "rule": config.meta["rule"],
        "severity": str(getattr(config.severity, "value", config.severity)),
        "metric": config.meta["metric"],
        "is_met": bool(result.success),
        "checked_count": checked,
        "unexpected_count": unexpected,
        "why": config.meta["why"],
        "checked_at": now(),
    }
