"""Dashboards inside other products, at the command line."""

from typing import Any

import click

from orchestration.cli_answers import as_json, give, report
from orchestration.settings import Settings

tenant = click.option("--tenant", required=True, help="Whose dashboards.")


@click.command("embed-token")
@tenant
@click.option("--dashboard", required=True, help="Slug of the one dashboard that the token opens.")
@click.option("--user", required=True, help="Who looks, for the record; grants nothing.")
@as_json
def embed_token(tenant: str, dashboard: str, user: str, as_json: bool) -> None:
    """Mint a guest token that opens one dashboard of one tenant for five minutes."""
    from orchestration.embedding import mint

    give(mint(Settings(), tenant, dashboard, user), as_json, lambda answer: click.echo(answer["token"]))


@click.command("embed-key")
@tenant
@click.option("--rotate", is_flag=True, help="Replace the key that there is; it ends at once.")
@as_json
def embed_key(tenant: str, rotate: bool, as_json: bool) -> None:
    """Make the key by which the tenant's product asks for tokens; it is shown this once."""
    from orchestration.embedding import make_key

    give(make_key(Settings(), tenant, rotate), as_json, _show_key)


@click.command("portal")
@tenant
@as_json
def portal(tenant: str, as_json: bool) -> None:
    """Serve the example of a customer's product that holds the tenant's dashboards, until Ctrl-C."""
    from orchestration.embedding import serve_portal

    serve_portal(Settings(), tenant, report)
    give({"stopped": True}, as_json, lambda answer: None)


def _show_key(answer: dict[str, Any]) -> None:
    report(f"The key of {answer['tenant']}; keep it on its product's server. It is not shown again:")
    click.echo(answer["key"])
