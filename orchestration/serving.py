"""What readers open: a tenant's versions, the link to the one they see, and whether a steward holds newer ones back."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestration.ledger import rows
from orchestration.settings import Settings


@dataclass(frozen=True)
class HeldBack:
    """A steward's word that a tenant goes on seeing what it sees; `held_at` is UTC."""

    tenant_id: str
    held_at: str
    who: str
    why: str

    @property
    def why_not(self) -> str:
        """What to tell whoever wants to publish."""
        return (
            f"{self.tenant_id} is held back since {self.held_at} UTC by {self.who}: {self.why} "
            f"`fleetmart quality release --tenant {self.tenant_id}` publishes again."
        )


def current_snapshot(settings: Settings, tenant_id: str) -> Path | None:
    """The file that the tenant's readers open now; None before the first publish."""
    link = settings.serving / tenant_id / "current"
    return link.resolve() if link.exists() else None


def current_record(settings: Settings, tenant_id: str) -> dict | None:
    """The ledger's row of the snapshot that readers open now."""
    path = current_snapshot(settings, tenant_id)
    if path is None:
        return None
    found = rows(settings, "select * from snapshots where tenant_id = ? and build_id = ?", tenant_id, path.stem[1:])
    return found[0] if found else None


def kept_versions(settings: Settings, tenant_id: str) -> list[int]:
    """Builds whose snapshots of the tenant are kept, the newest first."""
    return sorted((int(path.stem[1:]) for path in (settings.serving / tenant_id).glob("v*.duckdb")), reverse=True)


def held_back(settings: Settings, tenant_id: str) -> HeldBack | None:
    """Whether, since when and why the tenant is held back; None when it is not."""
    found = rows(settings, "select * from held_back where tenant_id = ?", tenant_id)
    return HeldBack(**found[0]) if found else None


def point_to(settings: Settings, tenant_id: str, build_id: int) -> None:
    """Let readers see this version from their next query on; call it while `swapping`."""
    folder = settings.serving / tenant_id
    link = folder / ".current.part"
    link.unlink(missing_ok=True)
    link.symlink_to(f"v{build_id}.duckdb")
    os.replace(link, folder / "current")


@contextmanager
def swapping(settings: Settings) -> Iterator[None]:
    """Alone with the links, for a moment: a publish at work can not undo what a steward did meanwhile."""
    with (settings.home / "serving.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
