"""A tenant that leaves: out of Superset, out of the log-ins, and out of what is served.

Its rows of the registry go first. What the lake, the archive and the warehouse hold of it stays.
"""

from collections.abc import Callable
from typing import Any

from orchestration.demo import home_environment
from orchestration.errors import FleetmartError, WrongUse
from orchestration.people import ensure_credentials, ensure_secrets, forget_log_ins
from orchestration.registry import Registry
from orchestration.registry_rows import OPERATOR
from orchestration.serving import swapping
from orchestration.settings import Settings
from orchestration.superset_process import ask_superset


def remove_tenant(settings: Settings, tenant_id: str, report: Callable[[str], None]) -> dict[str, Any]:
    """Remove the tenant's people, their own work and every note of them from Superset; nothing of it is served then.

    Returns how many rows of Superset's records went, by table, and in `mentions` what others made that names it still.
    Raises FleetmartError while the registry has the tenant.
    """
    if tenant_id == OPERATOR:
        raise WrongUse("The operator is no tenant, and stays.")
    registry = Registry(settings.registry)
    if tenant_id in registry.tenant_ids:
        raise FleetmartError(
            f"{settings.registry / 'tenants.csv'} still has {tenant_id}. Take its rows out of the registry first, "
            f"then run this again."
        )
    settings.prepare_home()
    ensure_credentials(settings)
    ensure_secrets(settings)
    done = ask_superset(["forget", tenant_id], home_environment(settings), report)
    forget_log_ins(settings, tenant_id)
    links = _unlink_what_it_sees(settings, tenant_id)
    return {**done["removed"], "links": links}


def _unlink_what_it_sees(settings: Settings, tenant_id: str) -> list[str]:
    """Nobody opens the tenant's files from now on; the files stay."""
    folder = settings.serving / tenant_id
    links = [link for link in (folder / "current", folder / "records" / "current") if link.is_symlink()]
    with swapping(settings):
        for link in links:
            link.unlink()
    return [str(link) for link in links]
