"""What passed the gate becomes what people see: one immutable file per tenant, swapped in at once.

A tenant's snapshot holds its rows of the warehouse. When a single build changed them since the last
one, that file is copied and just the slices that the build touched are replaced in the copy, so the
work grows with what was touched. The operator's is put together from the tenants' current snapshots in the same
way, so the operator's staff see exactly what each tenant sees, and nothing unproven.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from queue import SimpleQueue

import duckdb

from expectations.gate import Verdict, changed_tenants, verdict_of
from orchestration.answered_ahead import answered_ahead
from orchestration.build import candidate_digest, latest_build
from orchestration.errors import FleetmartError
from orchestration.ledger import ledger, now, rows
from orchestration.notices import tell
from orchestration.published_records import publish_records
from orchestration.published_rows import Mart, create_tables, literal, published_marts, replace_rows
from orchestration.quality_cases import unwaived_failures
from orchestration.registry_rows import OPERATOR
from orchestration.serving import current_record, held_back, kept_versions, point_to, swapping
from orchestration.settings import Settings
from orchestration.silence import check_silence
from orchestration.spare_copies import make_spare, remove_spares, take_copy
from orchestration.storage import measure
from orchestration.writer_lock import writer

SNAPSHOTS_KEPT = 10
PUBLISHER_MEMORY = "1500MB"


class GateNotPassed(FleetmartError):
    """There is no passing verdict for exactly this tenant and build."""


@dataclass(frozen=True)
class Snapshot:
    """One published file; `published_at` is UTC."""

    tenant_id: str
    build_id: int
    file_bytes: int
    published_at: str


@dataclass(frozen=True)
class Published:
    """What a call of publish did: new snapshots, and why tenants were withheld."""

    snapshots: list[Snapshot]
    withheld: list[str]


def publish_all(
    settings: Settings,
    report: Callable[[str], None] = lambda line: None,
    judged: Iterable[Verdict] | None = None,
) -> Published:
    """Publish every changed tenant that passed, then the operator's snapshot of what is current; measure all bytes.

    `judged` are verdicts of all changed tenants that are still being made. When all are published, copies are made
    for the next publish to go on from. Last, stewards are told of what needs them.
    Raises FleetmartError when there is no finished build.
    """
    with (
        writer(settings, "publish"),
        ThreadPoolExecutor(1, "publish operator") as beside,
        ThreadPoolExecutor(1, "publish") as pool,
    ):
        build_id = _standing_build(settings)
        tenants = (verdict.tenant_id for verdict in judged) if judged is not None else changed_tenants(settings)
        begun: SimpleQueue[Future[Snapshot] | None] = SimpleQueue()
        operator = beside.submit(_publish_operator, settings, build_id, iter(begun.get, None))
        publishing = []
        try:
            for tenant_id in tenants:
                publishing.append(pool.submit(publish, settings, tenant_id, build_id))
                begun.put(publishing[-1])
        finally:
            begun.put(None)
        snapshots, withheld = [], []
        for published in [*publishing, operator]:
            try:
                if snapshot := published.result():
                    snapshots.append(snapshot)
                    report(f"publish {snapshot.tenant_id}: v{build_id}, {snapshot.file_bytes:,} bytes")
            except GateNotPassed as error:
                withheld.append(str(error))
        check_silence(settings, report)
        publish_records(settings)
        _make_spares(settings, snapshots, report)
        measure(settings)
        if told := tell(settings, report):
            publish_records(settings, told)
        return Published(snapshots, withheld)


def _make_spares(settings: Settings, snapshots: list[Snapshot], report: Callable[[str], None]) -> None:
    """Copies for the next publish; it can do without them."""
    for snapshot in snapshots:
        path = settings.serving / snapshot.tenant_id / f"v{snapshot.build_id}.duckdb"
        try:
            make_spare(path)
        except OSError as error:
            report(f"publish: no copy of {path} was made for the next publish, which takes longer for it: {error}")


def publish(settings: Settings, tenant_id: str, build_id: int) -> Snapshot:
    """Make this build what the tenant sees, if the gate passed this very build.

    Raises GateNotPassed without a passing verdict, FleetmartError when the warehouse holds another build.
    """
    with writer(settings, "publish"):
        if build_id != _standing_build(settings):
            raise FleetmartError(f"Build {build_id} is not what the warehouse holds; publish the latest build.")
        _demand_a_pass(settings, tenant_id, build_id)
        marts = published_marts(settings)
        base = _base_of(settings, tenant_id, build_id)
        with _new_snapshot(settings, tenant_id, build_id, base) as connection:
            connection.execute(f"attach {_quoted(settings.warehouse)} as warehouse (read_only)")
            connection.execute("set variable detail_days = $1", [settings.detail_days])
            connection.begin()
            if base is None:
                create_tables(connection, marts)
            # what a mart publishes may depend on marts that publish all they have
            for mart in sorted(marts, key=lambda mart: mart.published_where is not None):
                replace_rows(connection, mart, "warehouse.main", tenant_id, only_touched=base is not None)
            connection.commit()
        return _show(settings, tenant_id, build_id, base)


def _demand_a_pass(settings: Settings, tenant_id: str, build_id: int) -> None:
    """Raise GateNotPassed unless this very candidate passed, or is waived, and nobody holds the tenant back."""
    verdict, withheld = verdict_of(settings, tenant_id, build_id), f"{tenant_id} was withheld: "
    if verdict is None:
        raise GateNotPassed(f"{withheld}build {build_id} has no verdict. Run `fleetmart gate`, then publish again.")
    if verdict.candidate != candidate_digest(settings):
        raise GateNotPassed(
            f"{withheld}the warehouse was changed after build {build_id} was judged. "
            "Run `fleetmart gate`, which judges what it holds now, then publish again."
        )
    failures = unwaived_failures(settings, tenant_id, build_id)
    if failures:
        failed = "; ".join(f"{one['rule']!r} ({one['unexpected_count']} times not)" for one in failures)
        raise GateNotPassed(
            f"{withheld}build {build_id} failed {failed}. The last good snapshot stays, if there is one. "
            "See its Data Docs, and `fleetmart quality cases`."
        )
    if hold := held_back(settings, tenant_id):
        raise GateNotPassed(hold.why_not)


def _standing_build(settings: Settings) -> int:
    build = latest_build(settings)
    if build is None:
        raise FleetmartError("There is no finished build to publish. Run `fleetmart build`, then `fleetmart gate`.")
    return build.build_id


def publish_operator(settings: Settings) -> Snapshot | None:
    """Bring the operator's snapshot to what each tenant sees now; None when it is there, or nothing was published."""
    with writer(settings, "publish"):
        return _publish_operator(settings, _standing_build(settings), [])


def _operator_is_behind(settings: Settings) -> bool:
    """True when a tenant sees another snapshot than the operator's took over: a run was stopped, or one rolled back."""
    current = current_record(settings, OPERATOR)
    parts = _operator_parts(settings, current) if current else {}
    seen = {tenant_id: current_record(settings, tenant_id) for tenant_id in _tenants_served(settings)}
    return any(one and one["build_id"] != parts.get(tenant_id) for tenant_id, one in seen.items())


def _publish_operator(settings: Settings, build_id: int, begun: Iterable[Future[Snapshot]]) -> Snapshot | None:
    """Take over what each tenant sees as soon as it is published; None when nothing is new to the operator.

    A snapshot made anew waits until all are published: it needs the memory that the gate and they need before it.
    """
    tenants = (future.result().tenant_id for future in begun if not isinstance(future.exception(), GateNotPassed))
    first = next(tenants, None)
    if first is None and not _operator_is_behind(settings):
        return None
    marts = published_marts(settings)
    base, parts = _operator_base(settings, marts)
    if base is None:
        tenants = iter(list(tenants))
    builds: dict[str, int] = {}
    with _new_snapshot(settings, OPERATOR, build_id, base) as connection:
        connection.execute(f"attach {_quoted(settings.warehouse)} as warehouse (read_only)")
        connection.execute("set variable detail_days = $1", [settings.detail_days])
        if base is None:
            connection.begin()
            create_tables(connection, marts)
            connection.commit()
        for mart in marts:
            if not mart.has_tenant:
                connection.execute(f"delete from snapshot.{mart.name}")
        for tenant_id in chain(filter(None, [first]), tenants, _tenants_served(settings)):
            current = None if tenant_id in builds else current_record(settings, tenant_id)
            if current:
                builds[tenant_id] = current["build_id"]
                _take_over(settings, connection, marts, current, parts.get(tenant_id, 0), build_id)
    return _show(settings, OPERATOR, build_id, base, builds)


def _take_over(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    marts: list[Mart],
    current: dict,
    held_build_id: int,
    build_id: int,
) -> None:
    """Bring the operator's snapshot from the tenant's part of `held_build_id` to what its `current` one holds."""
    tenant_id = current["tenant_id"]
    path = settings.serving / tenant_id / f"v{current['build_id']}.duckdb"
    # the warehouse knows the slices of its latest build only
    is_next = current["build_id"] == build_id and held_build_id == current["base_build_id"]
    connection.execute(f"attach {_quoted(path)} as one (read_only)")
    connection.begin()
    for mart in marts:
        if not mart.has_tenant:
            connection.execute(
                f"insert into snapshot.{mart.name} by name "
                f"select * from one.{mart.name} except select * from snapshot.{mart.name}"
            )
        elif held_build_id != current["build_id"]:
            replace_rows(connection, mart, "one", tenant_id, only_touched=is_next)
    connection.commit()
    connection.execute("detach one")


def _tenants_served(settings: Settings) -> list[str]:
    return sorted(link.parent.name for link in settings.serving.glob("*/current") if link.parent.name != OPERATOR)


def _base_of(settings: Settings, tenant_id: str, build_id: int) -> dict | None:
    """The current snapshot, if this build alone changed the tenant since, and not as a full refresh; else None."""
    current = current_record(settings, tenant_id)
    if current is None or current["build_id"] == build_id or _is_outgrown(current):
        return None
    if current["detail_days"] != settings.detail_days:
        return None
    since = rows(
        settings,
        "select build_id, full_refresh from builds where status = 'built' and build_id > ? and (full_refresh or "
        "build_id in (select build_id from build_partitions where tenant_id = ?))",
        current["build_id"],
        tenant_id,
    )
    is_next = [(one["build_id"], one["full_refresh"]) for one in since] == [(build_id, 0)]
    return current if is_next else None


def _operator_base(settings: Settings, marts: list[Mart]) -> tuple[dict | None, dict[str, int]]:
    """The operator's current snapshot and which build of each tenant it holds; nothing when it must be made anew."""
    current = current_record(settings, OPERATOR)
    if current is None or _is_outgrown(current) or _has_other_columns(settings, current, marts):
        return None, {}
    return current, _operator_parts(settings, current)


def _operator_parts(settings: Settings, current: dict) -> dict[str, int]:
    """Which build of each tenant the operator's snapshot holds."""
    parts = rows(
        settings, "select tenant_id, tenant_build_id from operator_parts where build_id = ?", current["build_id"]
    )
    return {one["tenant_id"]: one["tenant_build_id"] for one in parts}


def _has_other_columns(settings: Settings, current: dict, marts: list[Mart]) -> bool:
    path = settings.serving / current["tenant_id"] / f"v{current['build_id']}.duckdb"
    with duckdb.connect(str(path), read_only=True) as connection:
        found = connection.execute("select table_name, column_name from duckdb_columns() where not internal").fetchall()
    return set(found) != {(mart.name, column) for mart in marts for column in mart.columns}


def _is_outgrown(snapshot: dict) -> bool:
    """Replaced rows leave room behind in the file; when it has doubled, the next one is written from the start."""
    return snapshot["file_bytes"] > 2 * snapshot["compact_bytes"]


@contextmanager
def _new_snapshot(
    settings: Settings, tenant_id: str, build_id: int, base: dict | None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A new file, empty or a copy of `base`, attached as `snapshot`; whole and on the disk when the block ends well."""
    folder = settings.serving / tenant_id
    folder.mkdir(parents=True, exist_ok=True)
    partial = _partial(settings, tenant_id, build_id)
    partial.unlink(missing_ok=True)
    if base is not None:
        take_copy(folder / f"v{base['build_id']}.duckdb", partial)
    remove_spares(folder)
    for left_over in {*folder.glob(".*.part"), *folder.glob(".*.part.wal")} - {partial}:
        left_over.unlink()
    settings.staging.mkdir(exist_ok=True)
    engine = {"memory_limit": PUBLISHER_MEMORY, "temp_directory": str(settings.staging / f"publish-{tenant_id}")}
    with duckdb.connect(config=engine) as connection:
        connection.execute("set TimeZone = 'UTC'")
        # the file is nobody's before it is whole: it needs no log, and one checkpoint at its end
        connection.execute("set checkpoint_threshold = '1TB'")
        connection.execute(f"attach {_quoted(partial)} as snapshot (recovery_mode no_wal_writes)")
        yield connection
        connection.execute("checkpoint snapshot")
        connection.execute("detach snapshot")
    partial.chmod(0o440)
    with partial.open("rb") as file:
        os.fsync(file.fileno())


def _show(
    settings: Settings, tenant_id: str, build_id: int, base: dict | None, parts: dict[str, int] | None = None
) -> Snapshot:
    """Make the new file what readers see, unless somebody holds the tenant back meanwhile, and record it."""
    partial = _partial(settings, tenant_id, build_id)
    with answered_ahead(settings, partial), swapping(settings):
        if hold := held_back(settings, tenant_id):
            partial.unlink()
            raise GateNotPassed(hold.why_not)
        os.replace(partial, settings.serving / tenant_id / f"v{build_id}.duckdb")
        point_to(settings, tenant_id, build_id)
        return _record(settings, tenant_id, build_id, base, parts or {})


def _record(settings: Settings, tenant_id: str, build_id: int, base: dict | None, parts: dict[str, int]) -> Snapshot:
    folder = settings.serving / tenant_id
    snapshot = Snapshot(tenant_id, build_id, (folder / f"v{build_id}.duckdb").stat().st_size, now())
    compact_bytes = base["compact_bytes"] if base else snapshot.file_bytes
    base_build_id = base["build_id"] if base else None
    with ledger(settings) as connection:
        connection.execute(
            "insert or replace into snapshots values (?, ?, ?, ?, ?, ?, ?, null)",
            (
                tenant_id,
                build_id,
                snapshot.file_bytes,
                snapshot.published_at,
                base_build_id,
                compact_bytes,
                settings.detail_days,
            ),
        )
        connection.execute("delete from operator_parts where build_id = ? and ? = 'operator'", (build_id, tenant_id))
        connection.executemany(
            "insert into operator_parts values (?, ?, ?)", [(build_id, *part) for part in parts.items()]
        )
    for old in kept_versions(settings, tenant_id)[SNAPSHOTS_KEPT:]:
        (folder / f"v{old}.duckdb").unlink()
    return snapshot


def _partial(settings: Settings, tenant_id: str, build_id: int) -> Path:
    return settings.serving / tenant_id / f".v{build_id}.duckdb.part"


def _quoted(path: Path) -> str:
    return literal(str(path))
