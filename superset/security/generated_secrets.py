"""Keys that sign sessions and guest tokens: made once, kept, readable by their owner only."""

import json
import os
import secrets
import tempfile
from pathlib import Path

OTHERS = 0o077
NAMES = ("superset_secret_key", "guest_token_jwt_secret")


class SharedSecret(Exception):
    """A file of secrets that others than its owner may use."""


def require_private(path: Path) -> None:
    """Raise SharedSecret, with what to do, when others than its owner may use the file."""
    if path.exists() and path.stat().st_mode & OTHERS:
        raise SharedSecret(
            f"{path} holds secrets, and others than its owner may use it. Run `chmod 600 {path}`; "
            "if somebody may have read it, remove it, and new secrets are made."
        )


def generated_secrets(home: Path) -> dict[str, str]:
    """The keys in the home's secrets.json; those that are missing are generated there first.

    Raises SharedSecret when others may read the file.
    """
    path = home / "secrets.json"
    require_private(path)
    kept = json.loads(path.read_text()) if path.exists() else {}
    if all(kept.get(name) for name in NAMES):
        return kept
    complete = {name: secrets.token_urlsafe(48) for name in NAMES} | {k: v for k, v in kept.items() if v}
    home.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(dir=home, prefix=".secrets.", suffix=".part")
    with os.fdopen(descriptor, "w") as file:
        json.dump(complete, file, indent=2)
    os.replace(partial, path)
    return complete
