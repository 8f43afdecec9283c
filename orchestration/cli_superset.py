"""The command line of the dashboards' files and of tenants that leave: `fleetmart superset …`, `fleetmart tenant …`."""

import sys
from typing import Any

import click

from orchestration.cli_answers import as_json, exit_for, give, report, show_pairs
from orchestration.settings import Settings


@click.group()
def superset() -> None:
    """The dashboards as files: proved, pushed into Superset, compared with it, and taken back from it."""


@superset.command()
@as_json
def validate(as_json: bool) -> None:
    """Say everything that is wrong in the files; needs no server and no Superset. Exits with 1 when something is."""
    from orchestration.dashboards import validate as run_validate

    problems = run_validate(Settings())
    give({"problems": problems}, as_json, lambda _: click.echo(_lines(problems) or "Nothing is wrong."))
    sys.exit(1 if problems else 0)


@superset.command()
@as_json
def push(as_json: bool) -> None:
    """Make Superset what the files say, all of it or nothing; what people made themselves is left alone."""
    from orchestration.dashboards import push as run_push

    give(run_push(Settings(), report), as_json, _show_pushed)


@superset.command()
@as_json
def diff(as_json: bool) -> None:
    """Say what was changed by hand in Superset. Exits with 1 when something was, as other diffs do."""
    from orchestration.dashboards import diff as run_diff

    found = run_diff(Settings(), report)
    give({"differences": found}, as_json, lambda _: click.echo(_lines(found) or "Superset holds what the files say."))
    sys.exit(1 if found else 0)


@superset.command()
@click.argument("slug")
@as_json
def pull(slug: str, as_json: bool) -> None:
    """Write what was changed by hand of dashboard SLUG, with its charts, or of chart SLUG into the files."""
    from orchestration.dashboards import pull as run_pull

    pulled = run_pull(Settings(), slug, report)
    give(pulled, as_json, _show_pulled)
    exit_for(pulled["left"])


@superset.command()
@as_json
def alerts(as_json: bool) -> None:
    """Ask the alerts that are due, and tell whoever is to know by mail. Exits with 1 when one of them failed."""
    from orchestration.dashboards import run_alerts

    asked = run_alerts(Settings(), report)
    give({"alerts": asked}, as_json, lambda _: click.echo(_lines(asked) or "No alert was asked."))
    exit_for([one["text"] for one in asked if one["outcome"] == "failed"])


@click.group()
def tenant() -> None:
    """Tenants that leave; they come by a row in the registry."""


@tenant.command("remove")
@click.argument("tenant_id", metavar="TENANT")
@as_json
def remove(tenant_id: str, as_json: bool) -> None:
    """Remove TENANT, which the registry has no more: its people and all they made in Superset. There is no undo."""
    from orchestration.tenants import remove_tenant

    give(remove_tenant(Settings(), tenant_id, report), as_json, show_pairs)


def _lines(told: list[dict[str, Any]]) -> str:
    return "\n".join(one["text"] for one in told)


def _show_pushed(answer: dict[str, Any]) -> None:
    if answer["changes"]:
        click.echo(_lines(answer["changes"]))
    click.echo(f"{answer['changed']} objects were not as the files say, and are now.")


def _show_pulled(answer: dict[str, Any]) -> None:
    for path in answer["files"]:
        click.echo(f"written: {path}")
    for chart in answer["adopted"]:
        click.echo(f"now the files' own: chart {chart}")
    if not answer["files"]:
        click.echo("The files say it already.")
