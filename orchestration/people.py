"""Who may log in, and the keys that sign their sessions: generated once, kept, readable by their owner only."""

import json
import os
import secrets
from pathlib import Path

from orchestration.errors import FleetmartError
from orchestration.registry import Registry
from orchestration.settings import Settings

OPERATOR = "operator"
ROLES = ("executive", "analyst", "engineer", "steward", "tenant-admin")


def ensure_credentials(settings: Settings) -> list[dict[str, str]]:
    """Users of the operator and of every tenant; those that stand in the file keep their passwords.

    Those of tenants that the registry has no more stand apart: they cannot log in, until it has them again.
    """
    kept = {user["username"]: user for user in [*read_credentials(settings), *read_credentials(settings, "left")]}
    tenants = [OPERATOR, *Registry(settings.registry).tenant_ids]
    wanted = [("admin", "admin", OPERATOR)]
    wanted += [(f"{tenant}-{role}", role, tenant) for tenant in tenants for role in ROLES]
    users = [
        kept.pop(name, None)
        or {"username": name, "password": secrets.token_urlsafe(15), "role": role, "tenant": tenant}
        for name, role, tenant in wanted
    ]
    users += [user for user in kept.values() if user["tenant"] in tenants]
    _write_credentials(settings, users, [user for user in kept.values() if user["tenant"] not in tenants])
    return users


def forget_log_ins(settings: Settings, tenant_id: str) -> None:
    """Drop the log-ins of a tenant that the registry has no more."""
    left = [user for user in read_credentials(settings, "left") if user["tenant"] != tenant_id]
    _write_credentials(settings, read_credentials(settings), left)


def _write_credentials(settings: Settings, users: list[dict[str, str]], left: list[dict[str, str]]) -> None:
    _write_private(settings.credentials, {"users": users, **({"left": left} if left else {})})


def read_credentials(settings: Settings, part: str = "users") -> list[dict[str, str]]:
    """Users of the credentials file, or of its part `left`; empty when there are none yet.

    Raises FleetmartError when others may read it, or it is not of its form.
    """
    if not settings.credentials.exists():
        return []
    _require_private(settings.credentials)
    try:
        content = json.loads(settings.credentials.read_text())
        return content["users"] if part == "users" else content.get(part, [])
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise FleetmartError(
            f'{settings.credentials} is not of the form {{"users": [{{"username", "password", "role", "tenant"}}]}} '
            f"({error}). Correct it, or remove it to have new passwords made."
        ) from error


def ensure_secrets(settings: Settings) -> None:
    """Keys that sign sessions and tokens; those that stand in the file are kept.

    Raises FleetmartError when others may read them.
    """
    _require_private(settings.secrets)
    kept = json.loads(settings.secrets.read_text()) if settings.secrets.exists() else {}
    names = ("superset_secret_key", "guest_token_jwt_secret")
    _write_private(settings.secrets, {name: secrets.token_urlsafe(48) for name in names} | kept)


def _require_private(path: Path) -> None:
    if path.exists() and path.stat().st_mode & 0o077:
        raise FleetmartError(
            f"{path} holds secrets, and others than its owner may use it. Run `chmod 600 {path}`; "
            "if somebody may have read it, remove it, and new secrets are made."
        )


def _write_private(path: Path, content: dict) -> None:
    """Whole or not at all, and never readable by others, not even for a moment."""
    partial = path.with_name(f".{path.name}.part")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
