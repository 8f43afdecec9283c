"""Work that is asked for rather than waited for, with its progress in the run's log."""

from datetime import date

import dagster as dg

from orchestration.build import Span
from orchestration.dashboards import run_alerts
from orchestration.errors import FleetmartError
from orchestration.run import Rebuilt, maintain, rebuild
from orchestration.settings import Settings
from orchestration.silence import is_any_expected, watch


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


@dg.op
def watch_arrivals(context: dg.OpExecutionContext) -> None:
    """Look for sources from which nothing comes any more, and tell stewards of what needs them."""
    context.add_output_metadata({"silent": len(watch(Settings(), context.log.info))})


@dg.op
def ask_alerts(context: dg.OpExecutionContext) -> None:
    """Ask the dashboards' alerts that are due, and tell whoever is to know.

    Fails with what could not be asked or told.
    """
    asked = run_alerts(Settings(), context.log.info)
    context.add_output_metadata({"asked": len(asked), "told": sum(one["outcome"] == "told" for one in asked)})
    if failed := [one["text"] for one in asked if one["outcome"] == "failed"]:
        raise FleetmartError("\n".join(failed))


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


@dg.job(name="watch")
def watch_job() -> None:
    """Look for silent sources."""
    watch_arrivals()


@dg.job(name="alerts")
def alerts_job() -> None:
    """Ask the alerts that are due."""
    ask_alerts()


@dg.schedule(job=watch_job, cron_schedule="*/5 * * * *", default_status=dg.DefaultScheduleStatus.RUNNING)
def watch_schedule() -> dg.RunRequest | dg.SkipReason:
    """Asks for a watch where a source says how often its files come: a run costs seconds of a processor."""
    if not is_any_expected(Settings()):
        return dg.SkipReason("No source says how often its files come.")
    return dg.RunRequest()


@dg.schedule(job=alerts_job, cron_schedule="*/5 * * * *", default_status=dg.DefaultScheduleStatus.RUNNING)
def alerts_schedule() -> dg.RunRequest | dg.SkipReason:
    """Asks for a look at the alerts where they can be told of."""
    if Settings().smtp_url is None:
        return dg.SkipReason("FLEETMART_SMTP_URL names no mail server, and alerts are told by mail.")
    return dg.RunRequest()


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


JOBS = [backfill_job, full_refresh_job, maintain_job, watch_job, alerts_job]
SCHEDULES = [dg.ScheduleDefinition(job=maintain_job, cron_schedule="17 3 * * *"), watch_schedule, alerts_schedule]
