"""Files of which something was rejected are read again, as their source says now, once it was mended.

A replay is a load of the same content that takes the place of the earlier one. The whole file is read, not only what
was rejected: where a time stamp or a separator was declared wrongly, what became a reading is as doubtful as what did
not, and the rows of a file that is cut otherwise have other numbers. In one commit the lake loses the earlier load's
readings and has the new ones, so nothing stands twice. They keep the instant at which the file was received: a
correction that came after it still stands above it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from orchestration import lake
from orchestration.arrivals import Arrival, arrival_of, can_grow, digests
from orchestration.batches import recover
from orchestration.errors import WrongUse
from orchestration.landing import Waiting
from orchestration.ledger import ledger, now, rows
from orchestration.load import BATCH_BYTES, BATCH_FILES, Loaded, take_in
from orchestration.quality_record import told
from orchestration.registry import Registry
from orchestration.registry_rows import OPERATOR
from orchestration.replaced_loads import kept_file
from orchestration.settings import Settings
from orchestration.sources import Source, source_named
from orchestration.writer_lock import writer


@dataclass
class Replayed:
    """What a replay did; counts are of the files that were read again, before and after it.

    `problems` says what is still not taken in, `notices` what a steward should know besides.
    """

    files: int = 0
    readings_before: int = 0
    readings: int = 0
    rejected_before: int = 0
    rejected: int = 0
    partitions: int = 0
    problems: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def replay(
    settings: Settings,
    source: str,
    who: str,
    why: str,
    tenant_id: str | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Replayed:
    """Read again the files of a source that were set aside, or of which something of a tenant, or of any, was rejected.

    A file that was read as the source is declared now is left alone: nothing would come of it.
    Raises WrongUse for an unknown source or tenant, or no reason.
    """
    declared, why = source_named(settings.sources, source), told(why)
    _check_tenant(settings, tenant_id)
    done, total, touched = Replayed(), Loaded(), set()
    with writer(settings, "replay"):
        recover(settings)
        chosen = _chosen(settings, declared, tenant_id)
        replay_id = _begin(settings, source, who, why) if chosen else None
        for batch in _batches(chosen):
            arrivals = dict(_arrivals(settings, declared, batch, total))
            before = {one: _counts(settings, arrival.replaces) for one, arrival in arrivals.items()}
            for line in take_in(settings, arrivals, total, touched, replay_id):
                report(f"replay {line}")
            for load_id, (readings, rejected) in before.items():
                if rows(settings, "select 1 from loads where load_id = ?", load_id):
                    done.readings_before += readings
                    done.rejected_before += rejected
        if total.files:
            lake.compact(settings.lake_readings, settings.lake_files)
    done.files, done.readings, done.rejected = total.files, total.readings, total.rejected
    done.partitions, done.problems, done.notices = len(touched), total.problems, total.notices
    return done


def _check_tenant(settings: Settings, tenant_id: str | None) -> None:
    """A tenant that the registry does not know may have files all the same."""
    known = {*Registry(settings.registry).tenant_ids, OPERATOR}
    known |= {one["tenant_id"] for one in rows(settings, "select distinct tenant_id from load_tenants")}
    if tenant_id is not None and tenant_id not in known:
        raise WrongUse(f"There is no tenant {tenant_id!r}. Known are: {', '.join(sorted(known))}.")


def _begin(settings: Settings, source: str, who: str, why: str) -> int:
    with ledger(settings) as connection:
        return connection.execute(
            "insert into replays (source, who, why, started_at) values (?, ?, ?, ?)", (source, who, why, now())
        ).lastrowid


def _chosen(settings: Settings, source: Source, tenant_id: str | None) -> list[dict[str, Any]]:
    """The loads to be read again, in the order in which their files were received."""
    wanted = rows(
        settings,
        "select * from loads l where source = ? and source_digest is not ? and (status = 'set aside' "
        "and (? is null or tenant_id = ?) or status = 'loaded' and exists (select 1 from load_tenants t "
        "where t.load_id = l.load_id and t.rejected_count > 0 and (? is null or t.tenant_id = ?)))",
        source.source,
        source.digest,
        *[tenant_id] * 4,
    )
    grown = _grown_from(settings, source, wanted)
    return sorted({one["load_id"]: one for one in [*wanted, *grown]}.values(), key=lambda one: one["received_at"])


def _grown_from(settings: Settings, source: Source, wanted: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Loads of files that begin with one of these: their accounts count what that one took in."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for one in wanted:
        if can_grow(source, one["file_name"]):
            by_name.setdefault(one["file_name"], []).append(one)
    for name, earlier in by_name.items():
        loaded = rows(
            settings,
            "select * from loads where source = ? and file_name = ? and status = 'loaded'",
            source.source,
            name,
        )
        for one in loaded:
            if any(_begins_with(settings, one, other) for other in earlier):
                yield one


def _begins_with(settings: Settings, load: dict[str, Any], other: dict[str, Any]) -> bool:
    path = kept_file(settings, load)
    is_later = load["received_at"] > other["received_at"] and load["file_bytes"] > other["file_bytes"]
    return is_later and path.exists() and digests(path, other["file_bytes"])[1] == other["content_sha256"]


def _batches(chosen: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Files read together; one that has grown comes after the load of what it was."""
    batch: list[dict[str, Any]] = []
    for one in chosen:
        size = sum(other["file_bytes"] for other in batch)
        is_named = any(other["file_name"] == one["file_name"] for other in batch)
        if batch and (is_named or len(batch) >= BATCH_FILES or size >= BATCH_BYTES):
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch


def _arrivals(
    settings: Settings, source: Source, batch: Iterable[dict[str, Any]], total: Loaded
) -> Iterator[tuple[str, Arrival]]:
    """What is to be read, by the load it becomes; what is not kept as it was received is told."""
    for one in batch:
        path = kept_file(settings, one)
        if not path.exists():
            total.problems.append(f"{one['file_name']} is no longer kept as {path}, so it cannot be read again.")
            continue
        waiting = Waiting(source.source, one["file_name"], path)
        arrival = arrival_of(settings, waiting, source, before=one["received_at"])
        if arrival.sha256 != one["content_sha256"]:
            total.problems.append(f"{path} is not what was received (SHA-256 differs), so it is not read again.")
            continue
        load_id = _next_id(arrival.load_id, one["load_id"])
        incoming = replace(arrival.incoming, load_id=load_id, received_at=one["received_at"])
        yield load_id, replace(arrival, incoming=incoming, replaces=one["load_id"])


def _next_id(first: str, standing: str) -> str:
    """The first load of a content has no number, its replays have -r1, -r2, …"""
    number = standing.removeprefix(first).removeprefix("-r")
    return f"{first}-r{int(number or 0) + 1}"


def _counts(settings: Settings, load_id: str) -> tuple[int, int]:
    """Readings and rejected rows or values of a load."""
    found = rows(
        settings,
        "select coalesce(sum(reading_count), 0) as readings, coalesce(sum(rejected_count), 0) as rejected "
        "from load_tenants where load_id = ?",
        load_id,
    )[0]
    return found["readings"], found["rejected"]
