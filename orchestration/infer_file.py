"""What a file never seen is made of: its format, its columns, and its first rows as texts."""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.plain_text import COMPRESSED, UnreadableFile, csv_columns, plain_files
from orchestration.sources import Format

LINES = 2000
TEXT_BYTES = 1 << 20
DELIMITERS = (",", ";", "\t", "|")
NULLS = ("NA", "N/A", "#N/A", "NaN", "nan", "NAN", "null", "NULL", "None", "-", "--", "?", "-999", "-9999", "-99999")
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
DECIMAL_COMMA = re.compile(r"[-+]?\d{1,3}(\.\d{3})+,\d+|[-+]?\d+,\d+")
THOUSANDS_POINT = re.compile(r"[-+]?\d{1,3}(\.\d{3})+,\d+")
STARTS_WITH_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{1,2}:\d{2}")


@dataclass(frozen=True)
class Sample:
    """A file's first rows: `values` by column, null tokens left out, in the file's order.

    `format` is the source's `format` as YAML has it; `units` are by column, from a header line.
    """

    format: dict[str, Any]
    columns: list[str]
    values: dict[str, list[str]]
    rows: int
    units: dict[str, str] = field(default_factory=dict)


def sample(path: Path, folder: Path) -> list[Sample]:
    """The ways to take `path` apart, the likeliest first; `folder` is for what has to be decompressed.

    Raises UnreadableFile when it is empty, broken, or neither CSV, JSON nor Parquet.
    """
    name = path.with_suffix("").name if path.suffix in COMPRESSED else path.name
    if name.endswith(".parquet"):
        return [_parquet(path)]
    plain = plain_files(path, Format(type="csv"), folder)[0]
    encoding = _encoding(plain)
    with plain.open(encoding=encoding, newline="") as file:
        text = file.read(TEXT_BYTES)
    if text.lstrip()[:1] in ("{", "["):
        return _json(path, text, plain, encoding)
    return [_csv(path, text, encoding, folder)]


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(TEXT_BYTES)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    try:
        # a character may be cut at the end of what was read
        start[: start.rfind(b"\n") + 1 or None].decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig" if start.startswith(b"\xef\xbb\xbf") else "utf-8"


def _parquet(path: Path) -> Sample:
    try:
        file = pq.ParquetFile(path)
        batch = next(file.iter_batches(LINES), None)
    except (OSError, pa.ArrowException) as error:
        raise UnreadableFile(f"{path.name} is no readable Parquet ({error}). Ask its sender for it again.") from error
    if batch is None:
        raise UnreadableFile(f"{path.name} has no rows.")
    columns = batch.schema.names
    values = {
        name: [str(value) for value in column.to_pylist() if value is not None]
        for name, column in zip(columns, batch.columns, strict=True)
    }
    return Sample({"type": "parquet"}, columns, values, batch.num_rows)


def _json(path: Path, text: str, plain: Path, encoding: str) -> list[Sample]:
    """As documents; and where these hold arrays of objects, as the elements of each of these."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(text) == TEXT_BYTES and len(lines) > 1:
        lines.pop()  # it may have been cut
    try:
        documents = [json.loads(line) for line in lines[:LINES]]
        kind = "json" if len(documents) == 1 and ".json" in path.suffixes else "jsonl"
    except json.JSONDecodeError:
        kind = "json"
        try:
            documents = [json.loads(plain.read_text(encoding=encoding))]
        except json.JSONDecodeError as error:
            raise UnreadableFile(f"{path.name} begins as JSON does, but is none: {error}.") from error
    if kind == "json" and isinstance(documents[0], list):
        documents = documents[0][:LINES]
    documents = [document for document in documents if isinstance(document, dict)]
    if not documents:
        raise UnreadableFile(f"{path.name} is JSON without an object in it; a row must be one.")
    form = {"type": kind} | ({} if encoding.startswith("utf-8") else {"encoding": encoding})
    return [
        _json_sample(form, [(document, {}) for document in documents]),
        *(
            _json_sample(form | {"records": array}, list(_elements(documents, array)))
            for array in _arrays_of_objects(documents)
        ),
    ]


def _json_sample(form: dict[str, Any], records: list[tuple[dict, dict]]) -> Sample:
    values: dict[str, list[str]] = {}
    for record, document in records:
        outside = ((f"/{column}", value) for column, value in _leaves(document) if column != form["records"])
        for column, value in (*_leaves(record), *outside):
            found = values.setdefault(column, [])
            if value is not None:
                found.append(json.dumps(value) if isinstance(value, bool | list) else str(value))
    return Sample(form, list(values), values, len(records))


def _leaves(value: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted paths and values; an array is one value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{prefix}.{key}" if prefix else key)
    elif prefix:
        yield prefix, value


def _arrays_of_objects(documents: list[dict]) -> list[str]:
    found = dict.fromkeys(
        column
        for document in documents
        for column, value in _leaves(document)
        if isinstance(value, list) and value and isinstance(value[0], dict)
    )
    return list(found)


def _elements(documents: list[dict], array: str) -> Iterator[tuple[dict, dict]]:
    for document in documents:
        elements = dict(_leaves(document)).get(array)
        for element in elements if isinstance(elements, list) else []:
            if isinstance(element, dict):
                yield element, document


def _csv(path: Path, text: str, encoding: str, folder: Path) -> Sample:
    if "\0" in text:
        raise UnreadableFile(f"{path.name} is no text: it is neither CSV nor JSON, nor is it named .parquet.")
    comment = "#" if any(line.startswith("#") for line in text.splitlines()) else None
    lines = [line for line in text.splitlines()[:LINES] if not (comment and line.startswith(comment))]
    delimiter, width = _delimiter(path, lines)
    parsed = [next(csv.reader([line], delimiter=delimiter), []) for line in lines]
    header = _header(parsed, width)
    form: dict[str, Any] = {"type": "csv"}
    if not encoding.startswith("utf-8"):
        form["encoding"] = encoding
    if delimiter != ",":
        form["delimiter"] = delimiter
    if comment:
        form["comment"] = comment
    if header["lines"] == 0:
        form["columns"] = [f"column{place}" for place in range(1, width + 1)]
    if header != {"skip": 0, "lines": 1}:
        form["header"] = header
    plain = plain_files(path, Format(**form), folder)[0]
    columns = csv_columns(plain, Format(**form))
    data = parsed[columns.lines_before :]
    names = [cell.strip() for cell in parsed[header["skip"]]] if header["lines"] else None
    if any([cell.strip() for cell in row] == names for row in data):
        form["repeated_headers"] = True
    rows = [row for row in data if len(row) == width and [cell.strip() for cell in row] != names]
    texts = {name: [row[place].strip() for row in rows] for place, name in enumerate(columns.names)}
    return _with_numbers(form, columns.names, texts, columns.units, len(rows))


def _with_numbers(
    form: dict[str, Any], columns: list[str], texts: dict[str, list[str]], units: dict[str, str], rows: int
) -> Sample:
    """Find decimal comma and null tokens, which say what a number and what a value is."""
    every = [text for column in columns for text in texts[column] if text]
    if form.get("delimiter") and sum(map(bool, map(DECIMAL_COMMA.fullmatch, every))) > len(every) * 0.05:
        form["decimal"] = ","
        if any(map(THOUSANDS_POINT.fullmatch, every)):
            form["thousands"] = "."
    tokens = [token for token in NULLS if any(_is_null(token, texts[column], form) for column in columns)]
    if tokens:
        form["null_tokens"] = ["", *tokens]
    values = {column: [text for text in texts[column] if text and text not in tokens] for column in columns}
    return Sample(form, columns, values, rows, units)


def _is_null(token: str, texts: list[str], form: dict[str, Any]) -> bool:
    """Whether the token stands where else numbers stand; a number itself must stand out from all of them."""
    others = [text for text in texts if text and text not in NULLS]
    if token not in texts or (others and not all(is_number(text, form) for text in others)):
        return False
    if not NUMBER.fullmatch(token) or not others:
        return not NUMBER.fullmatch(token)
    return min(as_number(text, form) for text in others) > float(token) * 0.5


def is_number(text: str, form: dict[str, Any]) -> bool:
    """Whether the text is a number as the format writes them."""
    return NUMBER.fullmatch(_plain_number(text, form)) is not None


def as_number(text: str, form: dict[str, Any]) -> float:
    """The number that the text is; raises ValueError when it is none."""
    return float(_plain_number(text, form))


def _plain_number(text: str, form: dict[str, Any]) -> str:
    text = text.replace(form["thousands"], "") if "thousands" in form else text
    return text.replace(",", ".") if form.get("decimal") == "," else text


def _delimiter(path: Path, lines: list[str]) -> tuple[str, int]:
    """The delimiter that most lines agree on, and their number of columns."""
    best = ("", 0, 0)
    for delimiter in DELIMITERS:
        widths = Counter(len(next(csv.reader([line], delimiter=delimiter), [])) for line in lines if line.strip())
        width, count = max(widths.items(), key=lambda one: (one[1], one[0]), default=(0, 0))
        if width > 1 and count * min(width, 10) > best[2]:
            best = (delimiter, width, count * min(width, 10))
    if not best[0]:
        raise UnreadableFile(
            f"{path.name} has no columns that a comma, semicolon, tab or bar divides. If it is a table, say its "
            "delimiter in a source of your own: docs/sources.md."
        )
    return best[0], best[1]


def _header(parsed: list[list[str]], width: int) -> dict[str, int]:
    """Lines before the header, lines of the header, and which of them holds units."""
    # Campbell's loggers begin with a line about themselves, which may be as wide as the table
    is_about_logger = bool(parsed) and parsed[0][:1] == ["TOA5"]
    first = next((n for n, cells in enumerate(parsed) if len(cells) == width and n >= is_about_logger), 0)
    data = next(
        (number for number, cells in enumerate(parsed) if len(cells) == width and _is_data(cells)), min(1, len(parsed))
    )
    if data <= first:
        return {"skip": first, "lines": 0}
    header = {"skip": first, "lines": data - first}
    if data - first > 1:
        # data loggers write the units below the names
        header |= {"names": 1, "units": 2}
    return header


def _is_data(cells: list[str]) -> bool:
    """Whether a line holds values: some number or date, which the lines of a header do not."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    numbers = sum(bool(NUMBER.fullmatch(cell) or DECIMAL_COMMA.fullmatch(cell)) for cell in filled)
    return numbers * 3 >= max(1, len(filled)) or any(STARTS_WITH_DATE.match(cell) for cell in filled)


def first_lines(sampled: Sample, column: str, count: int) -> list[str]:
    """The first different values of a column."""
    return list(islice(dict.fromkeys(sampled.values.get(column, [])), count))
