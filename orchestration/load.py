"""Files in landing become readings in the lake, each content once.

Files are read side by side into staging, then a batch of them is taken in as one (`orchestration.batches`). Killed
anywhere, the next load asks the lake whether the batch's commit is in it, and goes on from there or starts it over.

A file that is read again (`orchestration.replay`) is a load as well: its rows take the place of the earlier load's.
"""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from queue import SimpleQueue

import duckdb

from orchestration import lake
from orchestration.arrivals import Arrival, arrival_of, unread_part
from orchestration.batches import (
    Content,
    commit,
    finish,
    forget,
    leave_as_it_was,
    note_repeat,
    note_staged,
    open_batch,
    recover,
    set_aside,
)
from orchestration.errors import FleetmartError
from orchestration.landing import Waiting, bring_in, settled_files
from orchestration.ledger import now, rows
from orchestration.masked_text import masked
from orchestration.plain_text import UnreadableFile
from orchestration.read_file import Rejection, reader, reading
from orchestration.settings import Settings
from orchestration.sources import Source, source_named
from orchestration.writer_lock import writer

Report = Callable[[str], None]
BATCH_FILES = 200
BATCH_BYTES = 4 << 30


@dataclass
class Loaded:
    """What a call of load took in; counts are of values, `rejected` also of whole rows.

    `duplicate_rows` are those of grown files that an earlier load took in.

    `problems` says what was not taken in, `notices` what a steward should know besides.
    """

    files: int = 0
    already_loaded: int = 0
    rows: int = 0
    readings: int = 0
    empty: int = 0
    rejected: int = 0
    duplicate_rows: int = 0
    partitions: int = 0
    problems: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def load_waiting(settings: Settings, report: Report = lambda line: None) -> Loaded:
    """Take in every file that waits in landing; one that cannot be read is set aside and the others go on.

    Raises FleetmartError when the home cannot be written or is full. What went wrong with single files
    or rows is in the result's `problems`.
    """
    total = Loaded()
    with writer(settings, "load"):
        recover(settings)
        bring_in(settings, report)
        waiting = list(_of_declared_sources(settings, settled_files(settings, report), total))
        done, touched = 0, set()
        for batch in _batches(waiting):
            for line in _load_batch(settings, batch, total, touched):
                done += 1
                report(f"load {done}/{len(waiting)} {line}")
        total.partitions = len(touched)
        if total.files:
            # a partition that is appended to every minute would otherwise be read from ever more files
            lake.compact(settings.lake_readings, settings.lake_files)
    return total


def is_loaded(settings: Settings, source: str, sha256: str) -> bool:
    """Whether content with this SHA-256 was loaded as a file of `source`, whatever the file was called."""
    query = "select 1 from loads where source = ? and content_sha256 = ? and status = 'loaded'"
    return bool(rows(settings, query, source, sha256))


def _of_declared_sources(settings: Settings, waiting: list[Waiting], total: Loaded) -> Iterator[tuple[Waiting, Source]]:
    """Landing files with their sources; those of a source that is not declared, or wrongly, stay where they are."""
    sources: dict[str, Source | None] = {}
    for one in waiting:
        if one.source not in sources:
            try:
                sources[one.source] = source_named(settings.sources, one.source)
            except FleetmartError as error:
                sources[one.source] = None
                total.problems.append(f"{one.path.parent} was left where it is. {error}")
        if source := sources[one.source]:
            yield one, source


def _batches(waiting: list[tuple[Waiting, Source]]) -> Iterator[list[tuple[Waiting, Source]]]:
    """Files taken in together: many small ones cost one commit, and no batch needs more room than a few large ones."""
    batch: list[tuple[Waiting, Source]] = []
    size = 0
    for one in waiting:
        batch.append(one)
        size += one[0].path.stat().st_size
        if len(batch) >= BATCH_FILES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _load_batch(
    settings: Settings, batch: list[tuple[Waiting, Source]], total: Loaded, touched: set[tuple[str, str]]
) -> Iterator[str]:
    """Take in one batch, adding it up in `total` and its partitions to `touched`; yields a line per file."""
    with ThreadPoolExecutor(settings.readers) as readers:
        looked_at = readers.map(lambda one: arrival_of(settings, *one), batch)
        arrivals: dict[str, Arrival] = {}
        for arrival in looked_at:
            known = is_loaded(settings, arrival.source.source, arrival.sha256)
            if known or arrival.load_id in arrivals:
                note_repeat(settings, arrival)
                total.already_loaded += 1
                yield f"{arrival.waiting}: loaded before"
            else:
                # in the order of their names: of two values for one instant that of the later file stands
                arrivals[arrival.load_id] = replace(arrival, incoming=replace(arrival.incoming, received_at=now()))
    yield from take_in(settings, arrivals, total, touched)


def take_in(
    settings: Settings,
    arrivals: dict[str, Arrival],
    total: Loaded,
    touched: set[tuple[str, str]],
    replay_id: int | None = None,
) -> Iterator[str]:
    """Read files, by load id, and make them part of the lake as one batch, adding them up; yields a line per file."""
    batch_id = open_batch(settings, list(arrivals.values()), replay_id)
    contents: dict[str, Content] = {}
    with ThreadPoolExecutor(settings.readers) as readers:
        engines = _engines(settings)
        found = readers.map(lambda arrival: _read(settings, arrival, engines), arrivals.values())
        for arrival, content in zip(arrivals.values(), found, strict=True):
            if isinstance(content, Content):
                contents[arrival.load_id] = content
                yield f"{arrival.waiting}: {sum(one.readings for one in content.tenants):,} readings"
            elif isinstance(content, UnreadableFile):
                keep = leave_as_it_was if arrival.replaces else set_aside
                total.problems.append(keep(settings, arrival, str(content)))
                yield f"{arrival.waiting}: {'left as it was' if arrival.replaces else 'set aside'}"
            else:
                forget(settings, [arrival.load_id])
                yield f"{arrival.waiting}: changed while it was read; it is left for the next time"
    taken = {load_id: arrivals[load_id] for load_id in contents}
    total.notices += note_staged(settings, taken, contents)
    commit(settings, batch_id, taken, contents)
    finish(settings, batch_id)
    for load_id, content in contents.items():
        _add_up(total, taken[load_id], content)
        touched.update(content.partitions)


def _read(settings: Settings, arrival: Arrival, engines: SimpleQueue) -> Content | UnreadableFile | None:
    """What the file holds, or why it cannot be read; None when it changed meanwhile."""
    folder = settings.staging / arrival.load_id
    shutil.rmtree(folder, ignore_errors=True)
    engine = engines.get()
    try:
        part = unread_part(settings, arrival)
        with reading(arrival.source, part, folder, engine) as read:
            if read.refusal and not arrival.grown_from and not arrival.source.mqtt:
                raise UnreadableFile(
                    f"{arrival.waiting.name}: {read.refusal}. It is another kind of file than {arrival.source.file} "
                    "declares, or that is wrong. `fleetmart source check` shows more."
                )
            content = Content(
                read.row_count,
                part.rows_before,
                read.columns,
                read.units(),
                read.readings,
                read.rejected,
                read.tenants(),
                read.rejections(),
                read.partitions,
            )
    except UnreadableFile as error:
        content = error
    finally:
        engines.put(engine)
    return content if arrival.waiting.path.stat().st_size == arrival.file_bytes else None


def _engines(settings: Settings) -> SimpleQueue:
    """As many engines as files are read at a time, which share the memory that a step may take."""
    with duckdb.connect() as connection:
        limit = connection.execute("select parse_formatted_bytes($1)", [settings.memory_limit]).fetchone()[0]
    engines: SimpleQueue = SimpleQueue()
    for _ in range(settings.readers):
        engines.put(reader(f"{limit // settings.readers}B", settings.staging / "spill"))
    return engines


def _add_up(total: Loaded, arrival: Arrival, content: Content) -> None:
    total.files += 1
    total.rows += content.row_count
    total.readings += sum(t.readings for t in content.tenants)
    total.empty += sum(t.empty for t in content.tenants)
    total.rejected += sum(t.rejected for t in content.tenants)
    total.duplicate_rows += content.rows_before
    total.problems += [describe(arrival.waiting.name, one) for one in content.rejections]


def describe(name: str, rejection: Rejection) -> str:
    """What was rejected of a file, in a sentence, with the shape of the first: what is said here ends in logs."""
    what = "value" if rejection.metric else "row"
    whose = f" of {rejection.metric}" if rejection.metric else ""
    return (
        f"{name}: {rejection.count:,} {what}{'s' if rejection.count > 1 else ''}{whose} rejected, {rejection.reason} "
        f"(first in row {rejection.first_source_row}, like {masked(rejection.example or '')!r}). "
        "Everything else was loaded; what was rejected is kept in lake/rejected_rows."
    )
