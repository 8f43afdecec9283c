"""What is kept for later, each thing under the tenant it was made for, whatever keeps it.

Superset's keys say what was asked, not which file answered: without this, one tenant's rows are served
to the next tenant that asks the same. Naming the caller comes first, so the unknown get an error, not a hit.
"""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from flask_caching.backends.filesystemcache import FileSystemCache
from flask_caching.backends.rediscache import RedisCache
from tenancy import TENANT_ID, NoData, caller_snapshot, caller_tenant, files_of, fleetmart_home, upcoming

PRUNE_SECONDS = 60


def results_prefix() -> str:
    """What every key of a query's result begins with: the caller's tenant and snapshot.

    Raises UnknownCaller or NothingPublished for a caller without a snapshot.
    """
    snapshot = caller_snapshot()
    return f"{snapshot.tenant_id}.{snapshot.version}."


def is_current(name: str) -> bool:
    """Whether a result's file is of its tenant's snapshot of now or of the next, or is being written."""
    if name.endswith(FileSystemCache._fs_transaction_suffix):
        return True
    tenant_id, _, rest = name.partition(".")
    try:
        if TENANT_ID.fullmatch(tenant_id) is None:
            return False
        home = fleetmart_home()
        shown = [files_of(home, tenant_id), *filter(None, [upcoming(home, tenant_id)])]
        data = [one.of_data() for one in shown if one.path]
        return any(rest.startswith(f"{one.version}.") for one in shown + data)
    except NoData:
        return False


def state_prefix() -> str:
    """What every key of a page's state begins with: the caller's tenant; a new snapshot does not end it.

    Raises UnknownCaller for a caller without a tenant.
    """
    return f"{caller_tenant()}."


class FileResults(FileSystemCache):
    """Results in files, whose names begin with tenant and snapshot.

    Every look-up, write and removal finds its file here, and raises what `results_prefix` raises. What no snapshot
    needs, has expired or is more than `threshold` goes once a minute: to find it, all files are looked at, as the
    library does with every result that is written once there are so many.
    """

    def __init__(self, *args: Any, threshold: int = 5000, **kwargs: Any) -> None:
        super().__init__(*args, threshold=0, **kwargs)
        self._most = threshold
        self._prune_at = 0.0

    def _get_filename(self, key: str) -> str:
        filename = Path(super()._get_filename(key))
        if key == self._fs_count_file:
            return str(filename)
        return str(filename.with_name(results_prefix() + filename.name))

    def _prune(self) -> None:
        now = time.time()
        if now < self._prune_at:
            return
        self._prune_at = now + PRUNE_SECONDS
        kept = []
        with os.scandir(self._path) as files:
            for file in files:
                with suppress(FileNotFoundError):
                    written = file.stat().st_mtime
                    if now - written > self.default_timeout or not is_current(file.name):
                        os.remove(file)
                    else:
                        kept.append((written, file.path))
        for _, path in sorted(kept)[: max(0, len(kept) - self._most)]:
            Path(path).unlink(missing_ok=True)

    def forget(self, tenant_id: str) -> None:
        """Remove every result: the operator's hold this tenant's rows too."""
        self.clear()


class _RedisByTenant(RedisCache):
    """Everything in Redis below `fleetmart.<kind>.<tenant>…`: every command that takes a key asks `_get_prefix`."""

    def __init__(self, *args: Any, key_prefix: str, **kwargs: Any) -> None:
        self.of_all = f"fleetmart.{key_prefix}."
        super().__init__(*args, key_prefix=lambda: self.of_all + self.prefix_of_caller(), **kwargs)

    def prefix_of_caller(self) -> str:
        """The caller's part of every key."""
        raise NotImplementedError

    def unlink(self, *keys: str) -> Any:
        """Remove the caller's keys; Redis frees the memory later."""
        prefix = self._get_prefix()
        return self._write_client.unlink(*(prefix + key for key in keys)) if keys else 0

    def _remove(self, beginning: str) -> None:
        """Remove everything whose key begins so; no caller is asked for."""
        for key in self._write_client.scan_iter(match=f"{beginning}*", count=1000):
            self._write_client.unlink(key)


class RedisResults(_RedisByTenant):
    """Results in Redis, by tenant and snapshot."""

    prefix_of_caller = staticmethod(results_prefix)

    def forget(self, tenant_id: str) -> None:
        """Remove every result: the operator's hold this tenant's rows too."""
        self._remove(self.of_all)


class RedisState(_RedisByTenant):
    """What people chose on a page in Redis, by tenant."""

    prefix_of_caller = staticmethod(state_prefix)

    def forget(self, tenant_id: str) -> None:
        """Remove what this tenant's people chose."""
        self._remove(f"{self.of_all}{tenant_id}.")
