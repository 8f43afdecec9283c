"""Work that is asked for rather than waited for, with its progress in the run's log."""

from datetime import date

import dagster as dg

from orchestration.build import Span
from orchestration.errors import FleetmartError
from orchestration.run import Rebuilt, maintain, rebuild
from orchestration.settings import Settings


class BackfillConfig(dg.Config):
    """UTC days, both included; without a tenant, all of them."""

    first_day: str
    last_day: str
    tenant: str | None = None


@dg.op(pool="writer")
def rebuild_span(context: dg.OpExecutionContext, config: BackfillConfig) -> None:
    """Rebuild a past span of days from the lake, judge it and publish it."""
    _tell(context, rebuild(Settings(), _span(config), context.log.info))


@dg.op(pool="writer")
def rebuild_everything(context: dg.OpExecutionContext) -> None:
    """Rebuild everything that the lake holds, judge it and publish it."""
    _tell(context, rebuild(Settings(), None, context.log.info))


@dg.op(pool="writer")
def maintain_lake(context: dg.OpExecutionContext) -> None:
    """Make few files of the lake's many, and delete those that no recent version needs."""
    done = maintain(Settings())
    context.add_output_metadata({"files_spared": done.files_spared, "files_deleted": done.files_deleted})


@dg.job(name="backfill")
def backfill_job() -> None:
    """Rebuild a past span of days."""
    rebuild_span()


@dg.job(name="full_refresh")
def full_refresh_job() -> None:
    """Rebuild everything."""
    rebuild_everything()


@dg.job(name="maintain")
def maintain_job() -> None:
    """Keep the lake's files few."""
    maintain_lake()


def _span(config: BackfillConfig) -> Span:
    try:
        return Span(date.fromisoformat(config.first_day), date.fromisoformat(config.last_day), config.tenant)
    except ValueError as error:
        raise FleetmartError(f"{error}. Write days as 2024-01-31.") from error


def _tell(context: dg.OpExecutionContext, done: Rebuilt) -> None:
    for reason in done.published.withheld:
        context.log.error(reason)
    context.add_output_metadata(
        {
            "builds": [build.build_id for build in done.builds],
            "tenant_days": sum(build.partitions for build in done.builds),
            "published": {snapshot.tenant_id: snapshot.build_id for snapshot in done.published.snapshots},
            "withheld": len(done.published.withheld),
        }
    )


JOBS = [backfill_job, full_refresh_job, maintain_job]
SCHEDULES = [dg.ScheduleDefinition(job=maintain_job, cron_schedule="17 3 * * *")]
