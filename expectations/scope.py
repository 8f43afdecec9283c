"""What the gate looks at: one tenant's changed days in a database in memory, counted once for each expectation.

The warehouse is attached to it and only read, so other tenants may be published meanwhile. What is read grows with what
was touched since the tenant's last snapshot, and with 28 days of the daily cubes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from expectations import rules
from expectations.rules import Rule
from orchestration.ledger import rows
from orchestration.settings import Settings

# What is counted of readings and sensors comes first, others are counted from it.
STEPS = ("readings", "sensors", "arrival", "cubes", "change")
# A suite reads them some forty times: so many readings are kept in memory, of more the warehouse is read each time.
READINGS_IN_MEMORY = 5_000_000
# Memory beside what Great Expectations itself takes; what needs more goes to disk. As in dbt's profile, joins
# stay as they are written: estimates of how few rows a tenant's changed days hold are far off.
ENGINE = {"memory_limit": "1500MB", "disabled_optimizers": "join_order,build_side_probe_side"}
FINDINGS_KEPT = 50


@dataclass(frozen=True)
class Range:
    """The registry's range of a metric that came, in its canonical unit."""

    rule: Rule
    label: str
    unit: str | None
    valid_min: float | None
    valid_max: float | None


@dataclass(frozen=True)
class Scope:
    """A database in memory with views of one tenant's changed days, and what is expected of them.

    `single` are expectations about single readings, `counted` those about shares, each of which is the column of
    `gate.shares` that `columns` names for its key.
    """

    tenant_id: str
    url: str
    config: dict[str, str]
    run: Callable[..., Any]
    single: list[Rule]
    ranges: list[Range]
    counted: list[Rule]
    columns: dict[str, str]

    def counts(self) -> dict[str, tuple[int, int]]:
        """What was checked and what of it was not as it should be, by expectation."""
        found = self.run("select expectation, checked_count, unexpected_count from gate.counts").fetchall()
        return {key: (checked, unexpected) for key, checked, unexpected in found}

    def findings(self, key: str) -> list[dict[str, Any]]:
        """Where an expectation failed: keys and counts of the places with most; none of a rule that knows no place."""
        rule = next(one for one in [*self.single, *self.counted, *(one.rule for one in self.ranges)] if one.key == key)
        found = self.run(
            f"select source, site_id, device_id, metric, sum(unexpected_count)::bigint as unexpected_count from "
            f"(from gate.places union all by name from {_relation(rule.found_in or rule.name)}) "
            "where unexpected_count > 0 and coalesce(source, site_id, device_id, metric) is not null "
            f"and {'part = $1' if rule.part else '$1 is null'} group by all "
            f"order by unexpected_count desc, source, site_id, device_id, metric limit {FINDINGS_KEPT}",
            (rule.part,),
        )
        return [dict(row) for row in found.mappings()]


@contextmanager
def scope_of(settings: Settings, tenant_id: str, build_id: int) -> Iterator[Scope]:
    """What changed of the tenant up to this build since its last snapshot, counted."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    settings.staging.mkdir(exist_ok=True)
    url = f"duckdb:///:memory:{uuid4()}"
    config = ENGINE | {"temp_directory": str(settings.staging / f"gate-{tenant_id}")}
    # the database lives as long as this connection; Great Expectations opens others to it
    with create_engine(url, poolclass=NullPool, connect_args={"config": config}).connect() as connection:
        run = connection.exec_driver_sql
        _fill(settings, run, tenant_id, build_id)
        run(_sql("changes"))
        few = run("select count(*) from gate.changed_readings").fetchone()[0] <= READINGS_IN_MEMORY
        run(f"create {'table' if few else 'view'} gate.readings as from gate.changed_readings")
        for step in STEPS:
            run(_sql(step))
        for (day,) in run("from gate.days order by day").fetchall():
            run(_sql("instants"), (day,))
        settings_of_rules = _settings_of_rules(run)
        counted = [rules.as_set(rule, settings_of_rules) for rule in _counted_rules(run)]
        for rule in counted:
            _count(run, rule)
        run(_sql("shares"))
        columns = dict(run("select expectation, column_name from gate.named_shares").fetchall())
        single = [rules.as_set(rule, settings_of_rules) for rule in rules.READINGS]
        ranges = [
            Range(rules.as_set(rules.RANGE.of(metric, label), settings_of_rules), label, *limits)
            for metric, label, *limits in run("from gate.ranges order by metric").fetchall()
        ]
        yield Scope(tenant_id, url, config, run, single, ranges, counted, columns)


def _fill(settings: Settings, run: Callable[..., Any], tenant_id: str, build_id: int) -> None:
    """The tenant, its changed days and the loads that changed them, as tables that the views are made over."""
    warehouse = str(settings.warehouse).replace("'", "''")
    run(f"attach '{warehouse}' as warehouse (read_only)")
    run("create schema gate")
    run("create table gate.tenant as select $1::varchar as tenant_id", (tenant_id,))
    run("create table gate.days (day date)")
    run("insert into gate.days values (?)", [(row["reading_date"],) for row in _changed_days(settings, tenant_id)])
    run(
        "create table gate.arrived (load_id varchar, place bigint, source varchar, received_at timestamp, "
        "last_measured_at timestamp, heard_until timestamp, value_count bigint, rejected_count bigint, "
        "is_set_aside boolean, has_new_columns boolean, lacks_columns boolean, is_new boolean, is_repeated boolean)"
    )
    run("create table gate.rejections (source varchar, metric varchar, unexpected_count bigint)")
    for table, found in (
        ("arrived", _arrived(settings, tenant_id, build_id)),
        ("rejections", _rejections(settings, tenant_id, build_id)),
    ):
        if found:
            marks = ", ".join("?" for _ in found[0])
            run(f"insert into gate.{table} values ({marks})", [tuple(row.values()) for row in found])
    run(
        "create table gate.places (source varchar, site_id varchar, device_id varchar, metric varchar, part varchar, "
        "unexpected_count bigint)"
    )
    run(
        'create table gate."readings.unique" (site_id varchar, device_id varchar, metric varchar, '
        "checked_count bigint, unexpected_count bigint)"
    )
    run("create table gate.counts (expectation varchar, checked_count bigint, unexpected_count bigint, share double)")


def _changed_days(settings: Settings, tenant_id: str) -> list[dict[str, Any]]:
    return rows(
        settings,
        "select distinct reading_date from build_partitions join builds using (build_id) where status = 'built' "
        "and tenant_id = ? and build_id > coalesce((select max(build_id) from snapshots where tenant_id = ? "
        "and withdrawn_at is null), 0)",
        tenant_id,
        tenant_id,
    )


# The batches that this build has and the tenant's last snapshot has not; clocks may be set back, batches count up.
_NEW_BATCHES = (
    "between 1 + coalesce((select last_batch_id from builds "
    "where build_id = (select max(build_id) from snapshots where tenant_id = ?1 and withdrawn_at is null)), 0) "
    "and (select last_batch_id from builds where build_id = ?2)"
)


def _arrived(settings: Settings, tenant_id: str, build_id: int) -> list[dict[str, Any]]:
    """Loads that are new to the tenant, or came again; `heard_until` is what earlier loads of the source had reached.

    A reading of the future would make all after it late: loads with such say nothing of how far they reach.
    """
    return rows(
        settings,
        f"""
        with placed as (
            select l.load_id, l.batch_id, l.last_repeat_batch_id, l.source, l.received_at, l.status, l.new_columns,
                l.missing_columns, row_number() over (order by l.batch_id, l.rowid) as place,
                case when t.last_measured_at <= l.received_at then t.last_measured_at end as last_measured_at,
                coalesce(t.reading_count + t.empty_count + t.rejected_count, 0) as value_count,
                coalesce(t.rejected_count, 0) as rejected_count
            from loads l left join load_tenants t on t.load_id = l.load_id and t.tenant_id = ?1
            where t.tenant_id = ?1 or (l.status = 'set aside' and l.tenant_id = ?1)
        ),
        heard as (
            select *, max(last_measured_at) over (
                partition by source order by place rows between unbounded preceding and 1 preceding
            ) as heard_until
            from placed
        )
        select load_id, place, source, received_at, last_measured_at, heard_until, value_count, rejected_count,
            status = 'set aside' as is_set_aside,
            new_columns is not null as has_new_columns, missing_columns is not null as lacks_columns,
            (batch_id {_NEW_BATCHES}) as is_new, coalesce(last_repeat_batch_id {_NEW_BATCHES}, false) as is_repeated
        from heard
        where status in ('loaded', 'set aside') and (is_new or is_repeated)
        order by place
        """,
        tenant_id,
        build_id,
    )


def _rejections(settings: Settings, tenant_id: str, build_id: int) -> list[dict[str, Any]]:
    return rows(
        settings,
        "select l.source, r.metric, sum(r.rejected_count) from load_rejections r join loads l using (load_id) "
        f"where r.tenant_id = ?1 and l.status = 'loaded' and (l.batch_id {_NEW_BATCHES}) group by l.source, r.metric",
        tenant_id,
        build_id,
    )


def _settings_of_rules(run: Callable[..., Any]) -> list[rules.Setting]:
    """The registry's severities and limits for this tenant, of the registry that the build was made with."""
    return run(
        "select expectation, severity, max_share, tenant_id is not null from warehouse.registry.quality_rules "
        "where tenant_id is null or tenant_id = (select tenant_id from gate.tenant)"
    ).fetchall()


def _counted_rules(run: Callable[..., Any]) -> list[Rule]:
    """The expectations about counts, those about metrics for each metric that was counted."""
    found = list(rules.ARRIVAL + rules.SENSORS + rules.CUBES + rules.CHANGE)
    for rule in (rules.COMPLETENESS, rules.LEVEL, rules.VALID_SHARE):
        metrics = run(
            "select distinct part, coalesce(metric_label, part) "
            f"from {_relation(rule.key)} left join warehouse.registry.metrics on part = metrics.metric order by part"
        ).fetchall()
        found += [rule.of(metric, label) for metric, label in metrics]
    return found


def _count(run: Callable[..., Any], rule: Rule) -> None:
    """Add the rule's row to gate.counts."""
    share = "max(unexpected_count / checked_count)" if rule.per_row else "sum(unexpected_count) / sum(checked_count)"
    run(
        "insert into gate.counts select $1, coalesce(sum(checked_count), 0), coalesce(sum(unexpected_count), 0), "
        f"coalesce({share}, 0) from {_relation(rule.name)} "
        f"where checked_count > 0 and {'part = $2' if rule.part else '$2 is null'}",
        (rule.key, rule.part),
    )


def _relation(name: str) -> str:
    """A rule's own view or table; its name is written in rules.py, never taken from data."""
    return f'gate."{name}"'


def _sql(name: str) -> str:
    return Path(__file__).with_name(f"{name}.sql").read_text()
