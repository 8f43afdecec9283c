"""Which tenant is asking, and which file answers: the boundary that row filters cannot give.

Every user carries exactly one role `tenant:<tenant_id>`. Whoever carries none, or two, gets an error
and never a file. Nothing here needs Superset, so the rule is tested by itself.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OPERATOR = "operator"
ROLE_PREFIX = "tenant:"
TENANT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
# read_only alone still lets SQL read any file of the server, attach others and write new ones.
LOCKED_DOWN = {
    "enable_external_access": "false",
    "lock_configuration": "true",
    "memory_limit": "1GB",
    "threads": "2",
}


class NoData(Exception):
    """Why this caller gets no file. No OSError: file caches take those for a miss and go on."""


class UnknownCaller(NoData):
    """Nobody, or somebody who does not belong to exactly one tenant."""


class NothingPublished(NoData):
    """The caller's tenant has no snapshot yet."""


@dataclass(frozen=True)
class Snapshot:
    """The file that a tenant sees now; `version` differs between any two files, even of the same name."""

    tenant_id: str
    path: Path
    version: str


def tenant_of(roles: Iterable[str]) -> str:
    """The one tenant that these roles name.

    Raises UnknownCaller when they name none, several, or something that cannot be a tenant.
    """
    tenants = {role.removeprefix(ROLE_PREFIX) for role in roles if role.startswith(ROLE_PREFIX)}
    if len(tenants) != 1:
        raise UnknownCaller(
            "This log-in does not belong to exactly one tenant, so there is no data to show. "
            "Ask your administrator to give it one."
        )
    (tenant_id,) = tenants
    if not TENANT_ID.fullmatch(tenant_id):
        raise UnknownCaller("This log-in's tenant is not a valid key. Ask your administrator to correct it.")
    return tenant_id


def roles_of(user: Any) -> list[str]:
    """Names of a user's own roles and those of its groups; guests carry theirs in the same way."""
    own = list(getattr(user, "roles", None) or [])
    grouped = [role for group in getattr(user, "groups", None) or [] for role in group.roles]
    return [role.name for role in own + grouped]


def tenant_of_user(user: Any) -> str:
    """The one tenant of a logged-in user or guest.

    Raises UnknownCaller for nobody, the anonymous user, and whoever has not exactly one tenant.
    """
    if user is None or (getattr(user, "is_anonymous", False) and not getattr(user, "is_guest_user", False)):
        raise UnknownCaller("Nobody is logged in, so there is no data to show. Log in first.")
    return tenant_of(roles_of(user))


def snapshot_of(home: Path, tenant_id: str) -> Snapshot:
    """The tenant's current snapshot.

    Raises NothingPublished when there is none, UnknownCaller when the link leads out of the tenant's folder.
    """
    folder = home / "serving" / tenant_id
    try:
        path = (folder / "current").resolve(strict=True)
        facts = path.stat()
    except FileNotFoundError:
        raise NothingPublished(
            f"Nothing has been published for {tenant_id} yet. Run `fleetmart run`; "
            "its data appears here as soon as it has passed the gate."
        ) from None
    if path.parent != folder.resolve() or not path.is_file():
        raise UnknownCaller(f"The current snapshot of {tenant_id} lies outside its own folder and was refused.")
    return Snapshot(tenant_id, path, f"{path.stem}-{facts.st_ino:x}-{facts.st_mtime_ns:x}")


def fleetmart_home() -> Path:
    """Where all data lives; the same default as the command line's."""
    default = Path(__file__).resolve().parents[2] / "var"
    return Path(os.environ.get("FLEETMART_HOME") or default).expanduser().absolute()


def current_user() -> Any:
    """Whoever makes this request; None outside of one."""
    from flask import g, has_app_context

    return getattr(g, "user", None) if has_app_context() else None


def caller_snapshot() -> Snapshot:
    """The snapshot of whoever makes this request; raises what `tenant_of_user` and `snapshot_of` raise."""
    return snapshot_of(fleetmart_home(), tenant_of_user(current_user()))


def route_to_own_snapshot(
    uri: Any, params: dict[str, Any], username: str | None, security_manager: Any, source: Any
) -> tuple[Any, dict[str, Any]]:
    """Superset's DB_CONNECTION_MUTATOR: every connection opens the caller's own file, locked down.

    The stored address and options are re-applied at each import, so nothing of them is relied on.
    """
    snapshot = caller_snapshot()
    arguments = {"read_only": True, "config": dict(LOCKED_DOWN)}
    return uri.set(drivername="duckdb", database=str(snapshot.path), query={}), {**params, "connect_args": arguments}
