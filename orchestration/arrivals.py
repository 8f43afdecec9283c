"""What is to be read of a file: all of it or, when one of its name has grown, what is new at its end."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from orchestration.landing import Waiting
from orchestration.ledger import now, rows
from orchestration.plain_text import COMPRESSED, UnreadableFile
from orchestration.settings import Settings
from orchestration.source_sql import Incoming
from orchestration.sources import Source


@dataclass(frozen=True)
class Arrival:
    """A file that is to be read: as a whole, or from where an earlier load of it ended.

    `replaces` is the load of the same content whose rows its own take the place of.
    """

    waiting: Waiting
    source: Source
    sha256: str
    file_bytes: int
    incoming: Incoming
    grown_from: str | None = None
    replaces: str | None = None

    @property
    def load_id(self) -> str:
        return self.incoming.load_id


def arrival_of(settings: Settings, waiting: Waiting, source: Source, before: str | None = None) -> Arrival:
    """What is to be read of a file, after all loads of its name, or those received `before` an instant."""
    earlier = _earlier(settings, waiting, source, before)
    size = waiting.path.stat().st_size
    is_longer = earlier is not None and earlier["file_bytes"] < size
    sha256, begins_with = digests(waiting.path, earlier["file_bytes"] if is_longer else None)
    incoming = Incoming(waiting.path, waiting.name, _load_id(source.source, sha256), now())
    is_grown = is_longer and begins_with == earlier["content_sha256"]
    return Arrival(waiting, source, sha256, size, incoming, earlier["load_id"] if is_grown else None)


def can_grow(source: Source, name: str) -> bool:
    """Whether a file of this name may come again with more at its end: a text file of lines."""
    is_lines = source.format.type in ("csv", "jsonl") and not source.format.encoding.startswith("utf-16")
    return is_lines and Path(name).suffix not in COMPRESSED


def _earlier(settings: Settings, waiting: Waiting, source: Source, before: str | None) -> dict | None:
    """The last load of a file of this name, if such a file can have grown."""
    if not can_grow(source, waiting.name):
        return None
    found = rows(
        settings,
        "select load_id, file_bytes, content_sha256, row_count from loads "
        "where source = ? and file_name = ? and status = 'loaded' and (? is null or received_at < ?) "
        "order by received_at desc limit 1",
        source.source,
        waiting.name,
        before,
        before,
    )
    return found[0] if found else None


def unread_part(settings: Settings, arrival: Arrival) -> Incoming:
    """The file, or of a grown one its header and the lines that are new.

    An unfinished last line of the earlier load is read again, now whole.
    """
    if arrival.grown_from is None:
        return arrival.incoming
    earlier = rows(settings, "select file_bytes, row_count from loads where load_id = ?", arrival.grown_from)[0]
    if arrival.source.grown == "refuse":
        raise UnreadableFile(
            f"{arrival.waiting.name} grew since it was loaded ({earlier['file_bytes']:,} bytes then, "
            f"{arrival.file_bytes:,} now), which its source refuses. "
            "Deliver only what is new, or write `grown: difference`."
        )
    form = arrival.source.format
    lines_before = form.header.skip + form.header.lines if form.type == "csv" else 0
    part = settings.staging / f"{arrival.load_id}-new{arrival.waiting.path.suffix}"
    part.parent.mkdir(exist_ok=True)
    with arrival.waiting.path.open("rb") as read, part.open("wb") as write:
        write.writelines(read.readline() for _ in range(lines_before))
        read.seek(earlier["file_bytes"] - 1)
        is_unfinished = read.read(1) != b"\n"
        if is_unfinished:
            read.seek(_start_of_last_line(arrival.waiting.path, earlier["file_bytes"]))
        shutil.copyfileobj(read, write, 1 << 20)
    before = earlier["row_count"] - (1 if is_unfinished else 0)
    return Incoming(part, arrival.waiting.name, arrival.load_id, arrival.incoming.received_at, before)


def _start_of_last_line(path: Path, end: int) -> int:
    with path.open("rb") as file:
        step = 1 << 16
        for start in range(max(0, end - step), -step, -step):
            file.seek(max(0, start))
            found = file.read(min(step, end)).rfind(b"\n")
            if found >= 0:
                return max(0, start) + found + 1
    return 0


def _load_id(source: str, sha256: str) -> str:
    return f"{source}-{sha256[:20]}"


def digests(path: Path, first_bytes: int | None) -> tuple[str, str | None]:
    """SHA-256 of the file and, if asked for, of its first bytes, in one pass."""
    whole, begin, left = hashlib.sha256(), hashlib.sha256(), first_bytes or 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            whole.update(chunk)
            begin.update(chunk[:left])
            left -= min(left, len(chunk))
    return whole.hexdigest(), begin.hexdigest() if first_bytes else None
