"""Who may log in, and the keys that sign their sessions: generated once, kept, readable by their owner only."""

import json
import os
import secrets
from pathlib import Path

from orchestration.errors import FleetmartError
from orchestration.registry import Registry
from orchestration.settings import Settings

OPERATOR = "operator"
ROLES = ("executive", "analyst", "steward")


def ensure_credentials(settings: Settings) -> list[dict[str, str]]:
    """Users of the operator and of every tenant; those that stand in the file keep their passwords."""
    kept = {user["username"]: user for user in read_credentials(settings)}
    tenants = [OPERATOR, *Registry(settings.registry).tenant_ids]
    wanted = [("admin", "admin", OPERATOR)]
    wanted += [(f"{tenant}-{role}", role, tenant) for tenant in tenants for role in ROLES]
    users = [
        kept.pop(name, None)
        or {"username": name, "password": secrets.token_urlsafe(15), "role": role, "tenant": tenant}
        for name, role, tenant in wanted
    ]
    users += kept.values()
    _write_private(settings.credentials, {"users": users})
    return users


def read_credentials(settings: Settings) -> list[dict[str, str]]:
    """Users of the credentials file; empty when there is none yet."""
    if not settings.credentials.exists():
        return []
    try:
        return json.loads(settings.credentials.read_text())["users"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise FleetmartError(
            f'{settings.credentials} is not of the form {{"users": [{{"username", "password", "role", "tenant"}}]}} '
            f"({error}). Correct it, or remove it to have new passwords made."
        ) from error


def ensure_secrets(settings: Settings) -> None:
    """Keys that sign sessions and tokens; those that stand in the file are kept."""
    kept = json.loads(settings.secrets.read_text()) if settings.secrets.exists() else {}
    names = ("superset_secret_key", "guest_token_jwt_secret")
    _write_private(settings.secrets, {name: secrets.token_urlsafe(48) for name in names} | kept)


def _write_private(path: Path, content: dict) -> None:
    """Whole or not at all, and never readable by others, not even for a moment."""
    partial = path.with_name(f".{path.name}.part")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
