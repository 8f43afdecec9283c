"""Query results kept on disk, each under the tenant and the snapshot it was computed from.

Superset's keys say what was asked, not which file answered: without this, one tenant's rows are served
to the next tenant that asks the same. Naming the caller comes first, so the unknown get an error, not a hit.
"""

from pathlib import Path

from flask_caching.backends.filesystemcache import FileSystemCache
from tenancy import caller_snapshot


class TenantSnapshotCache(FileSystemCache):
    """A file-system cache whose files carry the caller's tenant and snapshot in their names.

    Every look-up, write and removal finds its file here, and raises UnknownCaller or NothingPublished
    for a caller without a snapshot.
    """

    def _get_filename(self, key: str) -> str:
        filename = Path(super()._get_filename(key))
        if key == self._fs_count_file:
            return str(filename)
        snapshot = caller_snapshot()
        return str(filename.with_name(f"{snapshot.tenant_id}.{snapshot.version}.{filename.name}"))
