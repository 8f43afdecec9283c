"""The dashboards' files and Superset: what is wrong in the one, and what differs in the other."""

import dataclasses
import json
import sys
from collections.abc import Callable
from typing import Any

from orchestration.demo import home_environment
from orchestration.errors import FleetmartError
from orchestration.people import ensure_credentials, ensure_secrets
from orchestration.registry import Registry
from orchestration.settings import ROOT, Settings
from orchestration.superset_process import ask_superset

MARTS = ROOT / "dbt_project" / "models" / "marts"
Report = Callable[[str], None]


def validate(settings: Settings) -> list[dict[str, str]]:
    """Everything that is wrong in the files: `file`, `where` in it, `problem`, `remedy`, and all of it as `text`."""
    _know_supersets_folder()
    from check_files import check_files

    problems = check_files(settings.assets, MARTS, Registry(settings.registry).tenant_ids)
    return [{**dataclasses.asdict(problem), "text": str(problem)} for problem in problems]


def push(settings: Settings, report: Report) -> dict[str, Any]:
    """Make Superset what the files say, in one transaction; `changes` are what was not so before.

    Raises FleetmartError, and Superset stands as it did.
    """
    _prepare(settings)
    return ask_superset(["push", "--force"], home_environment(settings), report)


def diff(settings: Settings, report: Report) -> list[dict[str, Any]]:
    """What Superset holds of the files' own, and they do not say; raises FleetmartError."""
    _prepare(settings)
    return ask_superset(["diff"], home_environment(settings), report)["differences"]


def pull(settings: Settings, slug: str, report: Report) -> dict[str, Any]:
    """Write what was changed by hand of a dashboard, with its charts, or of a chart into their files.

    `files` are those written, `adopted` people's own charts that are the files' from now on; `left` is what stands in
    files for all dashboards together, to be written there by hand.
    Raises FleetmartError for what the files have no words for; nothing is written then.
    """
    held = ask_superset(["read", slug], home_environment(settings), report)
    _know_supersets_folder()
    from problems import AssetError
    from pull_files import PullError, pull_files

    try:
        pulled = pull_files(settings.assets, MARTS, slug, held)
    except (AssetError, PullError) as error:
        raise FleetmartError(str(error)) from error
    if pulled.adopted:
        pairs = [f"{chart}={number}" for chart, number in pulled.adopted.items()]
        ask_superset(["adopt", *pairs], home_environment(settings), report)
    return {"files": [str(path) for path in pulled.files], "adopted": sorted(pulled.adopted), "left": pulled.left}


def run_alerts(settings: Settings, report: Report) -> list[dict[str, str]]:
    """Ask the alerts that are due, and tell whoever is to know: `name`, `outcome` and `text` of each.

    Nothing is done without a mail server. Raises FleetmartError when there is no Superset yet.
    """
    if settings.smtp_url is None:
        report("Alerts are told by mail, and FLEETMART_SMTP_URL names no mail server: none was asked.")
        return []
    settings.prepare_home()
    tenants = Registry(settings.registry).rows["tenants"]
    stewards = {tenant.tenant_id: tenant.steward_email for tenant in tenants if tenant.steward_email}
    environment = home_environment(settings) | {
        "FLEETMART_SMTP_URL": settings.smtp_url.get_secret_value(),
        "FLEETMART_NOTICE_FROM": settings.notice_from,
        "FLEETMART_STEWARDS": json.dumps(stewards),
    }
    return ask_superset(["alerts"], environment, report)["alerts"]


def _prepare(settings: Settings) -> None:
    settings.prepare_home()
    ensure_credentials(settings)
    ensure_secrets(settings)


def _know_supersets_folder() -> None:
    """Make the modules of superset/ importable; they need nothing of Superset's."""
    for name in ("embedding", "branding", "security", ""):
        if (folder := str(ROOT / "superset" / name)) not in sys.path:
            sys.path.insert(0, folder)
