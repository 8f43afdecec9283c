"""How many bytes each layer holds of each tenant: measured once or more a UTC day, and kept in the ledger.

Sizes come from the lake's own file lists, the ledger's sums, the folders of snapshots and one small cube, never from
readings, so that a measurement costs the same at any number of them. A file that several tenants share, the warehouse
above all, is shared among them by their readings, to the last byte.
"""

from collections.abc import Iterator
from datetime import date
from itertools import accumulate, pairwise
from pathlib import Path

import duckdb
import pyarrow as pa

from orchestration import lake
from orchestration.ledger import ledger, now, rows
from orchestration.registry_rows import OPERATOR
from orchestration.settings import Settings
from orchestration.spare_copies import spare_bytes

MEASUREMENTS = pa.schema(
    [
        ("day", pa.date32()),
        ("tenant_id", pa.string()),
        ("layer", pa.string()),
        ("bytes", pa.int64()),
        ("reading_count", pa.int64()),
    ]
)
Measured = tuple[str, str, int, int]


def measure(settings: Settings) -> None:
    """Record what each layer holds now; the last measurement of a UTC day stands."""
    day, found = now()[:10], list(_layers(settings))
    with ledger(settings) as connection:
        connection.execute("delete from storage_measurements where day = ?", (day,))
        connection.executemany(
            "insert into storage_measurements values (?, ?, ?, ?, ?)", [(day, *one) for one in found]
        )


def measurements(settings: Settings) -> list[tuple]:
    """Every day's standing measurement, in the columns of `MEASUREMENTS`."""
    found = rows(settings, f"select {', '.join(MEASUREMENTS.names)} from storage_measurements order by 1, 2, 3")
    return [(date.fromisoformat(one.pop("day")), *one.values()) for one in found]


def shared(whole: int, weights: dict[str, int]) -> dict[str, int]:
    """`whole` in parts as the weights are; the parts add up to the whole, unless all weights are 0."""
    total = sum(weights.values())
    if total == 0:
        return {}
    ends = [whole * upto // total for upto in accumulate(weights.values(), initial=0)]
    return {key: end - start for key, (start, end) in zip(weights, pairwise(ends), strict=True)}


def _layers(settings: Settings) -> Iterator[Measured]:
    """Tenant, layer, bytes and readings of whatever is there."""
    yield from _in_lake(settings)
    for one in rows(settings, _ARCHIVED):
        yield one["tenant_id"], "archive", one["bytes"], one["reading_count"]
    held, detailed = _warehouse_readings(settings)
    for tenant_id, size in shared(_size(settings.warehouse), held).items():
        yield tenant_id, "warehouse", size, held[tenant_id]
    published = _snapshot_bytes(settings.serving)
    of_operator = shared(published.pop(OPERATOR, 0), {tenant_id: detailed.get(tenant_id, 0) for tenant_id in published})
    for layer, sizes in (("snapshots", published), ("operator copy", of_operator)):
        for tenant_id, size in sizes.items():
            yield tenant_id, layer, size, detailed.get(tenant_id, 0)


def _in_lake(settings: Settings) -> Iterator[Measured]:
    """Rejected rows take room like readings, but are none."""
    readings, rejected = lake.totals(settings.lake_readings), lake.totals(settings.lake_rejected)
    for tenant_id in sorted(readings.keys() | rejected.keys()):
        size, count = readings.get(tenant_id, (0, 0))
        yield tenant_id, "lake", size + rejected.get(tenant_id, (0, 0))[0], count


# The archive keeps files as they came. A file's tenants share it by their readings, to the last byte; of one without
# any reading, the owner of its source bears the bytes.
_ARCHIVED = """
with counted as (
    select
        load_id,
        t.tenant_id,
        l.file_bytes,
        t.reading_count,
        sum(t.reading_count) over (partition by load_id) as total,
        sum(t.reading_count) over (partition by load_id order by t.tenant_id) as upto
    from loads l join load_tenants t using (load_id)
    where l.status = 'loaded' and t.reading_count > 0
),
parts as (
    select
        tenant_id,
        reading_count,
        cast(file_bytes * upto / total as integer)
        - cast(file_bytes * (upto - reading_count) / total as integer) as bytes
    from counted
    union all
    select tenant_id, 0, file_bytes from loads
    where status = 'loaded' and load_id not in (select load_id from counted)
)
select tenant_id, sum(bytes) as bytes, sum(reading_count) as reading_count from parts group by tenant_id
"""


def _warehouse_readings(settings: Settings) -> tuple[dict[str, int], dict[str, int]]:
    """Readings of each tenant in the warehouse, and of these within the days of detail that snapshots carry."""
    if not settings.warehouse.exists():
        return {}, {}
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        if not connection.execute("select 1 from duckdb_tables() where table_name = 'cube_fleet_daily'").fetchall():
            return {}, {}
        found = connection.execute(
            "with fleet as (select *, max(day) over (partition by tenant_id) as last_day from main.cube_fleet_daily) "
            "select tenant_id, sum(reading_count)::bigint, "
            "coalesce(sum(reading_count) filter (where day > last_day - $1), 0)::bigint "
            "from fleet group by tenant_id order by tenant_id",
            [settings.detail_days],
        ).fetchall()
    return {one[0]: one[1] for one in found}, {one[0]: one[2] for one in found}


def _snapshot_bytes(serving: Path) -> dict[str, int]:
    """Bytes of all versions kept of each tenant, the operator's among them."""
    folders = sorted(serving.iterdir()) if serving.exists() else []
    return {
        folder.name: sum(path.stat().st_size for path in folder.glob("v*.duckdb")) + spare_bytes(folder)
        for folder in folders
    }


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
