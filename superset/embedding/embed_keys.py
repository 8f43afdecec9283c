"""The keys by which tenants' host products ask for tokens: one per tenant, shown once, kept as hashes.

A key is 256 random bits, so a plain hash of it tells nobody what it is.
"""

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

PREFIX = "embed_"


class KeyExists(ValueError):
    """The tenant has a key already, and nobody said that it shall end."""


def make_key(home: Path, tenant_id: str, rotate: bool = False) -> str:
    """A new key of this tenant; with `rotate` its old one ends with that.

    Raises KeyExists.
    """
    with _changing(home) as keys:
        if tenant_id in keys and not rotate:
            raise KeyExists(
                f"{tenant_id} has a key since {keys[tenant_id]['made_at']}, which cannot be shown again. "
                "--rotate makes a new one, and the old one ends at once."
            )
        key = PREFIX + secrets.token_urlsafe(32)
        keys[tenant_id] = {"sha256": hash_of(key), "made_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")}
    return key


def forget_key(home: Path, tenant_id: str) -> bool:
    """End this tenant's key; says whether there was one."""
    with _changing(home) as keys:
        return keys.pop(tenant_id, None) is not None


def tenant_of_key(home: Path, key: str) -> str | None:
    """Whose key this is; None when it is nobody's. Takes as long for a wrong one as for a right one."""
    presented, found = hash_of(key), None
    for tenant_id, kept in _kept(home).items():
        if hmac.compare_digest(kept["sha256"], presented):
            found = tenant_id
    return found


def hash_of(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def _path(home: Path) -> Path:
    return home / "embed-keys.json"


def _kept(home: Path) -> dict[str, dict[str, str]]:
    path = _path(home)
    return json.loads(path.read_text()) if path.exists() else {}


@contextmanager
def _changing(home: Path) -> Iterator[dict[str, dict[str, str]]]:
    """The keys, written back whole or not at all, readable by their owner only."""
    with (home / "embed-keys.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys = _kept(home)
        yield keys
        descriptor, partial = tempfile.mkstemp(dir=home, prefix=".embed-keys.", suffix=".part")
        with os.fdopen(descriptor, "w") as file:
            json.dump(keys, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, _path(home))
