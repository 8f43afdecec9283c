"""A proposal of a source's YAML for a file never seen; what the file cannot tell stands there as a comment."""

import re
import tempfile
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from orchestration.infer_file import Sample, first_lines, is_number, sample
from orchestration.infer_time import Found, find_time, is_time
from orchestration.plain_text import COMPRESSED, UnreadableFile
from orchestration.read_file import reader, reading
from orchestration.source_sql import Incoming
from orchestration.sources import Source, read_source

KEYS = {
    "tenant": r"tenant|customer|client|organi[sz]ation|account|company",
    "site": r"site|plant|location|farm|building|facility|area|region",
    "device": r"device|dev_?(eui|id|name)|serial|sensor|station|turbine|inverter|meter|asset|machine|vehicle|truck"
    r"|logger|node|origin|equipment",
}
IDENTIFIER = re.compile(r"(id|name|eui|no|nr|number|code|key)$", re.I)
LONG_METRIC = re.compile(r"(^|[._ ])(metric|parameter|variable|measurement|measure|channel|tag|field|quantity)"
                         r"([._ ]?(name|id|type|code))?$", re.I)  # fmt: skip
LONG_VALUE = re.compile(r"(^|[._ ])(value|val|reading|wert)$", re.I)
LONG_UNIT = re.compile(r"(^|[._ ])(unit|units|uom)$", re.I)
NAME_WITH_UNIT = re.compile(r"(?P<name>.*?)\s*[\[(](?P<unit>[^\])]+)[\])]\s*$")
NOT_MEASURED = re.compile(r"(?i:eui|addr|name)$|(?i:(^|[._ -])(uu)?id)$|[a-z]I[dD]$")
BOOLEANS = {"true", "false", "yes", "no", "on", "off"}
MAX_TEXT_LENGTH = 64


@dataclass
class Proposal:
    """`yaml` is the source's text, `doubts` what its reader must decide; the rest is what reading the file gave."""

    source: str
    yaml: str
    doubts: list[str] = field(default_factory=list)
    rows: int = 0
    readings: int = 0
    empty: int = 0
    rejected: dict[str, int] = field(default_factory=dict)


def infer(path: Path, memory_limit: str) -> Proposal:
    """Propose a source for `path` and read the file with it; nothing is kept but the answer.

    Raises UnreadableFile when the file is none that Fleetmart can read, or has no time stamp or no values.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sampled, time = _likeliest(path, folder)
        keys, doubts = _keys(path, sampled, time)
        proposal = Proposal(keys["source"], _text(keys, sampled, doubts), [text for _, text in doubts])
        declared = folder / f"{proposal.source}.yml"
        declared.write_text(proposal.yaml, encoding="utf-8")
        _try(proposal, read_source(declared), path, folder, memory_limit)
    proposal.yaml += _tried(proposal)
    return proposal


def _likeliest(path: Path, folder: Path) -> tuple[Sample, Found]:
    """The first way to take the file apart whose rows have a time and values."""
    ways = sample(path, folder)
    for sampled in ways:
        if (time := find_time(sampled)) and _values(sampled, time, {}):
            return sampled, time
    columns = ", ".join(ways[0].columns[:20])
    raise UnreadableFile(
        f"{path.name} ({ways[0].format['type']}) has no column that could be a time stamp beside values; its columns "
        f"are {columns}. If one of them is, declare the source by hand: docs/sources.md."
    )


def _keys(path: Path, sampled: Sample, time: Found) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The source's keys, and doubts as pairs of the key they belong to and their text."""
    name = _source_name(path)
    doubts = [("measured_at", text) for text in time.doubts]
    long = _long(sampled, time)
    taken = {*time.columns, *long.values()}
    places: dict[str, Any] = {}
    for key in ("device", "site", "tenant"):
        if column := _key_column(sampled, key, taken):
            places[key] = {"column": column}
            taken.add(column)
        else:
            places[key] = name.replace("_", "-") if key == "device" else f"my-{key}"
            doubts.append((key, f"No column seems to name the {key}. Write its id, or say where it comes from."))
    keys = {
        "source": name,
        "description": "What these files are and who sends them.",
        **{key: places[key] for key in ("tenant", "site", "device")},
        "format": sampled.format,
        "measured_at": time.measured_at,
    }
    if long:
        keys |= {key: {"column": column} for key, column in long.items()}
        if not _are(sampled, long["value"], is_number):
            keys["value_type"] = "text"
    else:
        keys["metrics"] = _values(sampled, time, places)
        if left := [column for column in sampled.columns if column not in taken | keys["metrics"].keys()]:
            doubts.append(("metrics", f"Left out, since they seem to be no measurements: {', '.join(left)}."))
    return keys, doubts


def _source_name(path: Path) -> str:
    """The file's name without what tells one file of a source from the next: dates and counters."""
    stem = path.name
    while Path(stem).suffix.lower() in (*COMPRESSED, ".csv", ".txt", ".dat", ".json", ".jsonl", ".ndjson", ".parquet"):
        stem = Path(stem).stem
    name = re.sub(r"(?<![a-z0-9])\d{6,}(?![a-z0-9])", "", stem.lower())
    return re.sub(r"[^a-z0-9]+", "_", name).strip("_") or "my_source"


def _long(sampled: Sample, time: Found) -> dict[str, str]:
    """Columns of metric, value and perhaps unit where each row is one value; empty for a wide file."""
    free = [column for column in sampled.columns if column not in time.columns]
    metric = next((c for c in free if LONG_METRIC.search(c) and not _are(sampled, c, is_number)), None)
    value = next((c for c in free if LONG_VALUE.search(c)), None)
    if not (metric and value):
        return {}
    unit = next((column for column in free if LONG_UNIT.search(column)), None)
    return {"metric": metric, "value": value} | ({"unit": unit} if unit else {})


def _key_column(sampled: Sample, key: str, taken: set[str]) -> str | None:
    """The column that names the tenant, site or device: by its name, and with values that come again."""
    found = []
    for place, column in enumerate(sampled.columns):
        last = column.rsplit(".", 1)[-1]
        values = sampled.values[column]
        if column in taken or not re.search(KEYS[key], last, re.I) or len(values) < sampled.rows:
            continue
        is_measured = any("." in value for value in values) and _are(sampled, column, is_number)
        if not is_measured and not any(value.startswith("[") for value in values):
            found.append((not IDENTIFIER.search(last), column.startswith("/"), column.count("."), place, column))
    if found:
        return min(found)[-1]
    if key != "device":
        return None
    # a text that names things stands before what is measured, in every row, and comes again and again
    free = [column for column in sampled.columns if column not in taken]
    measured = next((place for place, column in enumerate(free) if _kind(sampled, column) == "number"), len(free))
    return next((column for column in free[:measured] if _names_things(sampled, column)), None)


def _names_things(sampled: Sample, column: str) -> bool:
    values = sampled.values[column]
    different = len(set(values))
    return len(values) == sampled.rows and not _are(sampled, column, is_number) and 0 < different <= len(values) / 2


def _values(sampled: Sample, time: Found, places: dict[str, Any]) -> dict[str, Any]:
    """The columns that hold measurements, as `metrics` has them."""
    keys = {selector["column"] for selector in places.values() if isinstance(selector, dict)}
    found: dict[str, Any] = {}
    for column in sampled.columns:
        kind = None if column in keys or column in time.columns else _kind(sampled, column)
        if kind is None:
            continue
        named = NAME_WITH_UNIT.match(column)
        unit = sampled.units.get(column, "").strip("[]() ") or (named["unit"] if named else None)
        metric = {"metric": _metric_name(named["name"] if named else column, found)}
        metric |= {"type": kind} if kind != "number" else {}
        metric |= {"unit": unit} if unit and kind == "number" else {}
        found[column] = metric if len(metric) > 1 else metric["metric"]
    return found


def _kind(sampled: Sample, column: str) -> str | None:
    """What a column measures: numbers, truth values or a state's text; None for counters, times and free text."""
    values = sampled.values[column]
    if not values:
        return "number" if sampled.format["type"] == "csv" else None
    if NOT_MEASURED.search(column) or is_time(sampled, column):
        return None
    if {value.lower() for value in values} <= BOOLEANS:
        return "boolean"
    if _are(sampled, column, is_number):
        return None if _counts_rows(sampled, column) or _is_part_of_time(column, values) else "number"
    is_state = len(set(values)) <= max(20, len(values) / 20) and max(map(len, values)) <= MAX_TEXT_LENGTH
    is_other = any(value.startswith(("[", "{")) for value in values)
    return "text" if is_state and len(values) > 1 and not is_other else None


def _are(sampled: Sample, column: str, test: Any) -> bool:
    """Whether nearly all values of a column are such: a few broken ones do not change what it is."""
    values = sampled.values[column]
    return bool(values) and sum(test(value, sampled.format) for value in values) >= len(values) * 0.95


def _counts_rows(sampled: Sample, column: str) -> bool:
    values = sampled.values[column][:200]
    if len(values) < 3 or not all(map(str.isdecimal, values)):
        return False
    return all(int(later) - int(earlier) == 1 for earlier, later in pairwise(values))


def _is_part_of_time(column: str, values: list[str]) -> bool:
    name = column.rsplit(".", 1)[-1]
    is_one = re.fullmatch(r"year|month|day|hour|minute|second|doy|dow|week|weekday|quarter", name, re.I)
    return bool(is_one) and all(value.removesuffix(".0").isdigit() for value in values)


def _metric_name(column: str, found: dict[str, Any]) -> str:
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", column.lstrip("/"))
    name = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "value"
    names = {metric if isinstance(metric, str) else metric["metric"] for metric in found.values()}
    number = 2
    while (unique := name if name not in names else f"{name}_{number}") in names:
        number += 1
    return unique


def _text(keys: dict[str, Any], sampled: Sample, doubts: list[tuple[str, str]]) -> str:
    """The YAML, each doubt above the key it belongs to."""
    parts = ["# Proposed from one file: look at each line, and at each comment. docs/sources.md tells every key.\n"]
    for key, value in keys.items():
        parts += [f"# {text}\n" for about, text in doubts if about == key]
        if key == "metrics":
            parts.append("# column: metric, by its name in your registry; drop what you do not need.\n")
            parts.append("metrics:\n")
            parts += [
                f"  {_flow({column: metric})[1:-1]}{_examples(sampled, column)}\n" for column, metric in value.items()
            ]
        else:
            parts.append(f"{_flow({key: value})[1:-1]}\n")
    return "".join(parts)


def _examples(sampled: Sample, column: str) -> str:
    found = [re.sub(r"\s+", " ", text)[:20] for text in first_lines(sampled, column, 3)]
    return f"  # {', '.join(found)}" if found else "  # no value in the first rows"


def _flow(value: Any) -> str:
    return yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf")
    ).strip()


def _try(proposal: Proposal, source: Source, path: Path, folder: Path, memory_limit: str) -> None:
    """Read the whole file as the proposal says."""
    incoming = Incoming(path, path.name, "inferred", "2000-01-01 00:00:00")
    with reading(source, incoming, folder / "staging", reader(memory_limit, folder / "spill")) as read:
        proposal.rows = read.row_count
        for tenant in read.tenants():
            proposal.readings += tenant.readings
            proposal.empty += tenant.empty
        for one in read.rejections():
            proposal.rejected[one.reason] = proposal.rejected.get(one.reason, 0) + one.count


def _tried(proposal: Proposal) -> str:
    rejected = ", ".join(f"{count:,} {reason!r}" for reason, count in proposal.rejected.items()) or "none"
    return (
        f"# With this, the file's {proposal.rows:,} rows give {proposal.readings:,} readings and {proposal.empty:,} "
        f"empty values; rejected: {rejected}.\n"
    )
