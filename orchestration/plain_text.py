"""A received file as plain UTF-8 that DuckDB can read: decompressed, decoded, without comment lines.

Decompressing to the end first also proves that the file is whole, before any of it is taken for all of it.
"""

import csv
import gzip
import shutil
import zipfile
import zlib
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import pyarrow as pa

from orchestration.errors import FleetmartError
from orchestration.sources import Format

COMPRESSED = {".gz": "gzip", ".zst": "zstd", ".zip": "zip"}
CHUNK = 1 << 20


class UnreadableFile(FleetmartError):
    """The file as a whole cannot be read; it is set aside with this reason."""


@dataclass(frozen=True)
class Columns:
    """The columns of a CSV file, the unit each was sent in where its header says so, and the lines before the data."""

    names: list[str]
    units: dict[str, str]
    lines_before: int


def plain_files(path: Path, form: Format, folder: Path) -> list[Path]:
    """The file itself, or what it holds written into `folder`; several where a zip holds several, by name.

    Raises UnreadableFile when it is empty, broken, truncated, or not of the declared encoding.
    """
    if path.stat().st_size == 0:
        raise UnreadableFile(f"{path.name} is empty (0 bytes). Ask its sender for the file again.")
    if path.suffix == ".zip" and form.type != "parquet":
        files = _unzipped(path, folder)
    elif path.suffix in COMPRESSED and form.type != "parquet":
        files = [_decompressed(path, folder)]
    else:
        files = [path]
    if form.type == "parquet" or (form.encoding == "utf-8" and form.comment is None):
        return files
    return [_decoded(file, form, folder / f"decoded-{number}") for number, file in enumerate(files)]


def csv_columns(path: Path, form: Format) -> Columns:
    """The columns that the header or the source names; one without a name is `column<its place>`.

    A repeated name gets a number, `_2` and so on.

    Raises UnreadableFile when the file ends before its header does.
    """
    header = form.header
    if form.columns is not None:
        return Columns(form.columns, {}, header.skip)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = list(islice(file, header.skip + header.lines))
    if len(lines) < header.skip + header.names:
        raise UnreadableFile(
            f"{path.name} has {len(lines)} lines; its source declares a header on line {header.skip + header.names}. "
            "Correct the header in the source or ask for the file again."
        )
    cells = _cells(lines[header.skip + header.names - 1], form)
    names = _numbered([cell.strip() or f"column{place}" for place, cell in enumerate(cells, start=1)])
    units = _cells(lines[header.skip + header.units - 1], form) if header.units else []
    told = {name: unit.strip() for name, unit in zip(names, units, strict=False) if unit.strip()}
    return Columns(names, told, header.skip + header.lines)


def _cells(line: str, form: Format) -> list[str]:
    line = line.rstrip("\r\n")
    if len(form.delimiter) > 1:
        return line.split(form.delimiter)
    quote = {"quotechar": form.quote} if form.quote else {"quoting": csv.QUOTE_NONE}
    return next(csv.reader([line], delimiter=form.delimiter, **quote), [])


def _numbered(names: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    for place, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        names[place] = name if seen[name] == 1 else f"{name}_{seen[name]}"
    return names


def _decompressed(path: Path, folder: Path) -> Path:
    """The content of a .gz or .zst file, read to its end."""
    kind = COMPRESSED[path.suffix]
    target = folder / "plain"
    try:
        with _opened(path, kind) as read, target.open("wb") as write:
            shutil.copyfileobj(read, write, CHUNK)
    except (EOFError, zlib.error, gzip.BadGzipFile, pa.ArrowException) as error:
        raise _broken(path, kind, error) from error
    except OSError as error:
        if error.errno is not None:
            raise
        # Arrow says of a truncated stream no more than that, as an OSError without a number.
        raise _broken(path, kind, error) from error
    return target


def _opened(path: Path, kind: str) -> IO[bytes]:
    return gzip.open(path) if kind == "gzip" else pa.input_stream(str(path), compression=kind)


def _unzipped(path: Path, folder: Path) -> list[Path]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = sorted(
                (member for member in archive.infolist() if not member.is_dir()), key=lambda one: one.filename
            )
            if not members:
                raise UnreadableFile(f"{path.name} is an empty zip. Ask its sender for the file again.")
            files = [folder / f"member-{number}" for number in range(len(members))]
            for member, file in zip(members, files, strict=True):
                with archive.open(member) as read, file.open("wb") as write:
                    shutil.copyfileobj(read, write, CHUNK)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _broken(path, "zip", error) from error
    return files


def _broken(path: Path, kind: str, error: Exception) -> UnreadableFile:
    return UnreadableFile(
        f"{path.name} is a broken or truncated {kind} ({error}). Ask its sender for the whole file again."
    )


def _decoded(path: Path, form: Format, target: Path) -> Path:
    """UTF-8 without the lines that are comments."""
    # utf-8-sig and utf-16 take a byte order mark away; plain utf-8 would keep it as a character
    encoding = "utf-8-sig" if form.encoding == "utf-8" else form.encoding
    try:
        with path.open(encoding=encoding, newline="") as read, target.open("w", encoding="utf-8", newline="") as write:
            write.writelines(line for line in read if form.comment is None or not line.startswith(form.comment))
    except UnicodeDecodeError as error:
        raise UnreadableFile(
            f"{path.name} is not {encoding}: byte {error.object[error.start]:#04x} means nothing there. "
            "Correct `encoding` in the source; cp1252 and utf-16 are the usual ones."
        ) from error
    return target
