"""Keys that sign sessions and guest tokens: made once, kept, readable by their owner only."""

import json
import os
import secrets
import tempfile
from pathlib import Path

NAMES = ("superset_secret_key", "guest_token_jwt_secret")


def generated_secrets(home: Path) -> dict[str, str]:
    """The keys in the home's secrets.json; those that are missing are generated there first."""
    path = home / "secrets.json"
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
