"""What a data steward does at the command line; the desk in the dashboards' application calls the same commands."""

import dataclasses
import getpass
from datetime import datetime
from typing import Any

import click

from orchestration.cli_answers import as_json, exit_for, give, report, show_list, show_pairs
from orchestration.errors import WrongUse
from orchestration.settings import Settings

who = click.option("--by", "who", default=getpass.getuser, help="Who acts, for the record; by default this user.")
why = click.option("--why", required=True, help="The reason, for the record.")
tenant = click.option("--tenant", required=True, help="Whose snapshots.")


@click.group()
def quality() -> None:
    """A data steward's desk: cases, waivers, and what tenants see."""


@quality.command("cases")
@click.option("--tenant", help="Only this tenant's.")
@click.option("--all", "closed", is_flag=True, help="The mended ones too.")
@as_json
def list_cases(tenant: str | None, closed: bool, as_json: bool) -> None:
    """Say which expectations fail, since when, and what was done about it."""
    from orchestration.quality_cases import cases

    found = cases(Settings(), tenant, closed)
    shown = ("case_id", "tenant_id", "severity", "state", "rule", "failed_builds", "unexpected_count", "last_failed_at")
    brief = [{name: case[name] for name in shown} for case in found]
    give({"cases": found}, as_json, lambda _: show_list("cases")({"cases": brief}))


@quality.command("check")
@as_json
def check_arrivals(as_json: bool) -> None:
    """Look for sources from which nothing comes any more, and tell stewards of what needs them."""
    from orchestration.silence import watch

    give({"silent": watch(Settings(), report)}, as_json, lambda answer: _show_silent(answer["silent"]))


def _show_silent(cases: list[dict[str, Any]]) -> None:
    if not cases:
        click.echo("No source is silent that says how often its files come.")
    for case in cases:
        click.echo(f"{case['tenant_id']}: {case['rule']}; case {case['case_id']}, since {case['opened_at']} UTC")


@quality.command("record")
@click.option("--tenant", help="Only this tenant's.")
@as_json
def list_record(tenant: str | None, as_json: bool) -> None:
    """Say who did what, when and why, the newest first."""
    from orchestration.quality_record import entries

    give({"entries": entries(Settings(), tenant)}, as_json, show_list("entries"))


@quality.command("acknowledge")
@click.argument("case", type=int)
@why
@who
@as_json
def acknowledge(case: int, why: str, who: str, as_json: bool) -> None:
    """Say that somebody looks after CASE."""
    _triage(case, "acknowledged", who, why, as_json)


@quality.command("explain")
@click.argument("case", type=int)
@why
@who
@as_json
def explain(case: int, why: str, who: str, as_json: bool) -> None:
    """Say what is behind CASE."""
    _triage(case, "explained", who, why, as_json)


def _triage(case: int, state: str, who: str, why: str, as_json: bool) -> None:
    from orchestration.published_records import publish_records
    from orchestration.quality_cases import triage

    settings = Settings()
    done = triage(settings, case, state, who, why)
    publish_records(settings, [done["tenant_id"]])
    give(done, as_json, show_pairs)


@quality.command("waive")
@click.argument("case", type=int)
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Last UTC day, included.")
@click.option("--build", "build_id", type=int, help="Only for this build.")
@why
@who
@as_json
def waive_case(case: int, until: datetime | None, build_id: int | None, why: str, who: str, as_json: bool) -> None:
    """Let publishing go on although CASE's expectation fails, and publish what waited for it."""
    from orchestration.hold_back import publish_what_may
    from orchestration.published_records import publish_records
    from orchestration.quality_cases import waive

    settings = Settings()
    done = waive(settings, case, who, why, until and until.date(), build_id)
    publish_records(settings, [done["tenant_id"]])
    _give_published(done, publish_what_may(settings, report), done["tenant_id"], as_json)


@quality.command("replay")
@click.option("--source", required=True, help="Whose YAML was mended.")
@click.option("--tenant", help="Only files of which something of this tenant was rejected.")
@why
@who
@as_json
def replay_source(source: str, tenant: str | None, why: str, who: str, as_json: bool) -> None:
    """Read again the files of a source of which something was rejected; then `fleetmart run` publishes it."""
    from orchestration.published_records import publish_records
    from orchestration.replay import replay

    settings = Settings()
    done = replay(settings, source, who, why, tenant, report)
    publish_records(settings)
    give(dataclasses.asdict(done), as_json, show_pairs)
    exit_for(done.problems)


@quality.command("hold-back")
@tenant
@why
@who
@as_json
def hold_tenant_back(tenant: str, why: str, who: str, as_json: bool) -> None:
    """Let a tenant go on seeing what it sees, whatever passes the gate."""
    from orchestration.hold_back import hold_back

    hold_back(Settings(), tenant, who, why)
    give({"tenant_id": tenant, "held_back": True}, as_json, show_pairs)


@quality.command("release")
@tenant
@why
@who
@as_json
def release_tenant(tenant: str, why: str, who: str, as_json: bool) -> None:
    """Hold a tenant back no longer, and publish what passed meanwhile."""
    from orchestration.hold_back import release

    published = release(Settings(), tenant, who, why, report)
    _give_published({"tenant_id": tenant, "held_back": False}, published, tenant, as_json)


def roll_tenant_back(tenant: str | None, build_id: int | None, who: str, why: str | None, as_json: bool) -> None:
    """What `fleetmart publish --rollback` does."""
    from orchestration.hold_back import follow_in_the_operators, roll_back

    if not tenant or not why:
        raise WrongUse("A roll-back needs --tenant and --why; --to says which build, by default the one before.")
    settings = Settings()
    shown = roll_back(settings, tenant, who, why, build_id)
    follow_in_the_operators(settings)
    give({"tenant_id": tenant, "build_id": shown, "held_back": True}, as_json, show_pairs)


def _give_published(answer: dict[str, Any], published: Any, tenant_id: str, as_json: bool) -> None:
    """The answer with what was published; another tenant's trouble is not this act's."""
    give(answer | dataclasses.asdict(published), as_json, show_pairs)
    exit_for([reason for reason in published.withheld if reason.startswith(f"{tenant_id} ")])
