"""Which columns of a file never seen say when a row was measured, and how they write it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestration.infer_file import Sample

NAMED = re.compile(r"time|date|(^|_|\.)(ts|at|utc|received|measured)($|_)|zeit|datum|timestamp", re.I)
ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?(Z|[+-]\d{2}:?\d{2})?")
HAS_OFFSET = re.compile(r"T?\d{2}:\d{2}.*(Z|[+-]\d{2}:?\d{2})$")
TIME_OF_DAY = re.compile(r"\d{1,2}:\d{2}(:\d{2})?( ?[AaPp][Mm])?")
# seconds from 2000 to 2050, in each epoch's unit
EPOCH_SPANS = {f"epoch_{unit}": (946_684_800 * per, 2_524_608_000 * per) for unit, per in
               {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}.items()}  # fmt: skip
DATES = ("%d.%m.%Y", "%d.%m.%y", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y", "%Y/%m/%d", "%Y.%m.%d", "%d-%m-%Y",
         "%d-%b-%Y", "%d %b %Y", "%b %d %Y", "%Y%m%d", "%Y-%m-%d")  # fmt: skip
TIMES = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%H%M%S", "%H%M", "")
JOINTS = (" ", "T", ", ")
PARTS = {
    "year": r"(year|yyyy|jahr|annee)",
    "month": r"(month|mm|monat|mois)",
    "day": r"(day|dd|tag|jour)",
    "hour": r"(hour|hh|stunde|heure)",
    "minute": r"(minute|min)",
    "second": r"(second|sec)",
}


@dataclass(frozen=True)
class Found:
    """`measured_at` as YAML has it, the columns it takes, and what the file could not tell."""

    measured_at: dict[str, Any]
    columns: list[str]
    doubts: list[str]


def find_time(sampled: Sample) -> Found | None:
    """When a row was measured, if the file says so; a full time stamp is preferred to a date and parts."""
    named_first = sorted(sampled.columns, key=lambda column: not NAMED.search(column))
    full = [(column, how) for column in named_first if (how := _full(sampled, column))]
    for column, how in full:
        if (NAMED.search(column) or how == "iso") and _has_time_of_day(how, sampled.values[column]):
            return _found({"column": column}, how, sampled, [column])
    for find in (_date_and_time, _parts):
        if found := find(sampled):
            return found
    # a date alone, or whole numbers that could be anything, are the time only where nothing else is
    return _found({"column": full[0][0]}, full[0][1], sampled, [full[0][0]]) if full else None


def is_time(sampled: Sample, column: str) -> bool:
    """Whether a column holds instants by its name and its values, one of several perhaps."""
    return bool(NAMED.search(column) and _full(sampled, column))


def _full(sampled: Sample, column: str) -> str | None:
    """The format of a column that holds dates with times, or dates alone."""
    values = sampled.values[column]
    if not values:
        return None
    if all(ISO.fullmatch(value) for value in values):
        return "iso"
    if all(re.fullmatch(r"\d{9,20}(\.\d+)?", value) for value in values):
        for name, (low, high) in EPOCH_SPANS.items():
            if all(low <= float(value) < high for value in values):
                return name
    if all(re.fullmatch(r"\d{1,8}(\.\d*)?|[-+].*", value) for value in values):
        return None
    return _pattern(values, TIMES)


def _has_time_of_day(how: str, values: list[str]) -> bool:
    return how in EPOCH_SPANS or "%H" in how or "%I" in how or any(":" in value for value in values)


def _pattern(values: list[str], times: tuple[str, ...]) -> str | None:
    for time in times:
        for date in DATES:
            for joint in _joints(date, time):
                if _reads_all(form := f"{date}{joint}{time}", values):
                    return form
    return None


def _joints(date: str, time: str) -> tuple[str, ...]:
    """What may stand between date and time: nothing only where both are digits throughout."""
    if not time:
        return ("",)
    return ("", *JOINTS) if date == "%Y%m%d" else JOINTS


def _reads_all(form: str, values: list[str]) -> bool:
    for value in values:
        try:
            parsed = datetime.strptime(value, form)
        except ValueError:
            return False
        if not 1970 <= parsed.year < 2100:
            return False
    return True


def _date_and_time(sampled: Sample) -> Found | None:
    times = [c for c in sampled.columns if (v := sampled.values[c]) and all(map(TIME_OF_DAY.fullmatch, v))]
    dates = [c for c in sampled.columns if (v := sampled.values[c]) and NAMED.search(c) and _pattern(v, ("",))]
    if not (times and dates):
        return None
    columns = [dates[0], times[0]]
    pairs = zip(*(sampled.values[column] for column in columns), strict=False)
    form = _pattern([" ".join(pair) for pair in pairs], TIMES)
    return _found({"columns": columns}, form, sampled, columns) if form else None


def _parts(sampled: Sample) -> Found | None:
    found = {}
    for part, name in PARTS.items():
        matching = [column for column in sampled.columns if re.fullmatch(name, column, re.I)]
        if matching:
            found[part] = matching[0]
    if not {"year", "month", "day"} <= found.keys():
        return None
    return _found({"parts": found}, "iso", sampled, list(found.values()))


def _found(where: dict[str, Any], form: str, sampled: Sample, columns: list[str]) -> Found:
    values = [value for column in columns for value in sampled.values[column]]
    doubts = []
    if re.match(r"%[md]/%[md]/", form) and _swapped_fits(form, sampled, columns):
        doubts.append("Day and month could be the other way round.")
    knows_zone = form.startswith("epoch_") or (form == "iso" and "parts" not in where and _all(HAS_OFFSET, values))
    if not knows_zone:
        doubts.append("The file does not say its time zone: UTC is a guess. Write one as Europe/Berlin.")
    return Found(
        where
        | ({} if form == "iso" else {"format": form})
        | ({} if knows_zone else {"timezone": "UTC"}),
        columns,
        doubts,
    )  # fmt: skip


def _swapped_fits(form: str, sampled: Sample, columns: list[str]) -> bool:
    swapped = form.translate(str.maketrans("dm", "md"))
    return _reads_all(swapped, [" ".join(pair) for pair in zip(*(sampled.values[c] for c in columns), strict=False)])


def _all(pattern: re.Pattern, values: list[str]) -> bool:
    matches: Callable[[str], Any] = pattern.search
    return all(map(matches, values))
