"""Files of every shape, each read by a few lines of YAML, with every value accounted for."""

import csv
import gzip
import io
import json
import zipfile
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.errors import FleetmartError
from orchestration.plain_text import UnreadableFile
from orchestration.read_file import reader, reading
from orchestration.source_sql import Incoming
from orchestration.sources import read_source

WIDE = {
    "description": "d",
    "tenant": "t",
    "site": "s",
    "device": {"column": "id"},
    "format": {"type": "csv"},
    "measured_at": {"column": "at"},
    "metrics": {"a": "ma", "b": "mb"},
}
LONG = {key: value for key, value in WIDE.items() if key != "metrics"} | {
    "metric": {"column": "metric"},
    "value": {"column": "value"},
}
AT = datetime(2024, 5, 1, 12, tzinfo=UTC)


@dataclass
class Found:
    """What a file came to: readings as (device, metric, instant, value or text, unit), and the rest."""

    readings: list[tuple]
    rejected: list[tuple]
    empty: int
    rows: int
    tenants: list[str]

    @property
    def values(self) -> list:
        return [reading[3] for reading in self.readings]


def read(folder: Path, content: bytes | str, name: str = "f.csv", base: dict = WIDE, **keys: object) -> Found:
    declared = folder / "x.yml"
    declared.write_text(yaml.safe_dump({"source": "x"} | base | keys))
    file = folder / "landing" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    number = len(list(folder.glob("staging-*")))
    engine = reader("1GB", folder / "spill")
    incoming = Incoming(file, name, "x-load", "2026-01-01 00:00:00")
    with reading(read_source(declared), incoming, folder / f"staging-{number}", engine) as found:
        _, rows = found.first_readings(1000)
        names = ["tenant_id", "reading_date", "site_id", "device_id", "metric", "measured_at", "value", "value_text"]
        named = [dict(zip([*names, "unit", "source_row"], row, strict=True)) for row in rows]
        tenants = found.tenants()
        assert sum(tenant.readings for tenant in tenants) == len(rows)
        return Found(
            [
                (
                    one["device_id"],
                    one["metric"],
                    one["measured_at"].astimezone(UTC),
                    one["value_text"] if one["value"] is None else one["value"],
                    one["unit"],
                )
                for one in named
            ],
            [(one.metric, one.reason, one.count, one.first_source_row, one.example) for one in found.rejections()],
            sum(tenant.empty for tenant in tenants),
            found.row_count,
            [tenant.tenant_id for tenant in tenants],
        )


def form(**keys: object) -> dict:
    return {"format": {"type": "csv"} | keys}


PLAIN = "id,at,a,b\nd,2024-05-01T12:00:00Z,1.5,2\n"


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        (PLAIN, {}),
        (PLAIN.replace("\n", "\r\n"), {}),
        (PLAIN.rstrip("\n"), {}),
        (b"\xef\xbb\xbf" + PLAIN.encode(), {}),
        (PLAIN.replace(",", ";").replace("1.5", "1,5"), form(delimiter=";", decimal=",")),
        (PLAIN.replace(",", "\t"), form(delimiter="\t")),
        (PLAIN.replace(",", "||"), form(delimiter="||")),
        (PLAIN.replace("1.5", "'1.5'"), form(quote="'")),
        (PLAIN.encode("utf-16"), form(encoding="utf-16")),
        ("# Logger 7°\n".encode("cp1252") + PLAIN.encode(), form(encoding="cp1252", comment="#")),
        ("made by x\n\n" + PLAIN, form(header={"skip": 2})),
        (PLAIN.split("\n", 1)[1], form(header={"lines": 0}, columns=["id", "at", "a", "b"])),
        (PLAIN + PLAIN.split("\n")[0] + "\n", form(repeated_headers=True)),
        (
            "id;at;a;b\nd;2024-05-01T12:00:00Z;1,5;0.002\n",
            form(delimiter=";", decimal=",", thousands="."),
        ),
        (gzip.compress(PLAIN.encode(), mtime=0), {"name": "f.csv.gz"}),
        (pa.compress(PLAIN.encode(), codec="zstd", asbytes=True), {"name": "f.csv.zst"}),
    ],
)
def test_the_same_table_in_many_shapes(content: bytes | str, keys: dict, tmp_path: Path) -> None:
    found = read(tmp_path, content, **keys)
    assert found.readings == [("d", "ma", AT, 1.5, None), ("d", "mb", AT, 2.0, None)]
    assert (found.rejected, found.empty, found.rows) == ([], 0, 1)


def test_a_zip_holds_one_file_or_several(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("b.csv", PLAIN.replace("1.5", "3"))
        archive.writestr("a.csv", PLAIN)
    found = read(tmp_path, packed.getvalue(), name="f.zip")
    assert (found.values, found.rows) == ([1.5, 2, 3, 2], 2)


def test_a_loggers_header_of_four_lines_gives_names_and_units(tmp_path: Path) -> None:
    content = (
        '"TOA5","CR1000"\n"at","id","AirT","RH"\n"TS","","Deg C","%"\n"","","Avg","Smp"\n'
        '"2024-05-01 12:00:00","d",21.5,60\n'
    )
    found = read(
        tmp_path,
        content,
        metrics={"AirT": "temperature", "RH": "humidity"},
        format={"type": "csv", "header": {"skip": 1, "lines": 3, "names": 1, "units": 2}},
    )
    assert [(metric, value, unit) for _, metric, _, value, unit in found.readings] == [
        ("humidity", 60, "%"),
        ("temperature", 21.5, "Deg C"),
    ]


def test_columns_are_metrics_by_pattern_with_their_unit(tmp_path: Path) -> None:
    content = "id,at,Temp [°C],Power [kW],note\nd,2024-05-01T12:00:00Z,20,3,x\n"
    base = {key: value for key, value in WIDE.items() if key != "metrics"}
    pattern = {"pattern": r"^(?P<metric>\w+) \[(?P<unit>.+)\]$"}
    found = read(tmp_path, content, base=base, metric_columns=pattern, metric_names={"Temp": "temperature"})
    assert [(metric, value, unit) for _, metric, _, value, unit in found.readings] == [
        ("Power", 3, "kW"),
        ("temperature", 20, "°C"),
    ]


def test_long_files_take_metric_value_and_unit_from_columns(tmp_path: Path) -> None:
    content = "id,at,metric,value,u\nd,2024-05-01T12:00:00Z,T,1,K\nd,2024-05-01T12:00:00Z,,5,K\nd,2024-05-01,T,,K\n"
    found = read(tmp_path, content, base=LONG, unit={"column": "u"}, metric_names={"T": "temperature"})
    assert found.readings == [("d", "temperature", AT, 1.0, "K")]
    assert found.rejected == [(None, "no metric", 1, 2, "5")] and found.empty == 1


def test_texts_truth_values_and_null_tokens(tmp_path: Path) -> None:
    content = "id,at,a,b\nd,2024-05-01T12:00:00Z,open,AN\nd,2024-05-01T12:01:00Z,-999,aus\nd,2024-05-01T12:02:00Z,x,9\n"
    metrics = {"a": {"metric": "door", "type": "text"}, "b": {"metric": "lamp", "type": "boolean"}}
    keys = form(null_tokens=["", "-999"], true_tokens=["an"], false_tokens=["aus"])
    found = read(tmp_path, content, metrics=metrics, **keys)
    assert [(metric, value) for _, metric, _, value, _ in found.readings] == [
        ("door", "open"),
        ("lamp", 1.0),
        ("lamp", 0.0),
        ("door", "x"),
    ]
    assert found.empty == 1 and found.rejected == [("lamp", "not a boolean", 1, 3, "9")]


def test_rows_and_values_that_are_none_are_rejected_with_reason_row_and_text(tmp_path: Path) -> None:
    content = (
        "id,at,a,b\n"
        "d,2024-05-01T12:00:00Z,1,nan\n"
        ",2024-05-01T12:00:00Z,1,2\n"
        "d,,1,2\n"
        "d,yesterday,1,2\n"
        "d,2024-05-01T12:05:00Z,much,inf\n"
        "d,2024-05-01T12:06:00Z,1\n"
        "d,2024-05-01T12:07:00Z,1,2,3\n"
        'd,2024-05-01T12:08:00Z,"1\n",2\n'
    )
    found = read(tmp_path, content)
    reasons = {(metric, reason): (count, row) for metric, reason, count, row, _ in found.rejected}
    assert reasons[(None, "no device")] == (1, 2)
    assert reasons[(None, "no time stamp")] == (1, 3)
    assert reasons[(None, "time stamp not understood")] == (1, 4)
    assert reasons[("ma", "not a number")][0] == 1
    assert reasons[("mb", "not a finite number")] == (2, 1)
    assert reasons[(None, "missing columns")][0] == reasons[(None, "too many columns")][0] == 1
    assert found.rows == 8 and len(found.readings) == 3
    assert "yesterday" in next(text for _, reason, _, _, text in found.rejected if reason.startswith("time stamp"))


def test_keys_come_from_columns_patterns_and_the_files_name(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "name,at,a,b\nplant7/dev-12,2024-05-01T12:00:00Z,1,2\nelsewhere,2024-05-01T12:00:00Z,1,2\n",
        name="acme/2024/f.csv",
        tenant={"path": r"^(?P<value>[^/]+)/"},
        site={"column": "name", "pattern": r"^(?P<value>\w+)/"},
        device={"column": "name", "pattern": r"(?P<value>dev-\d+)$"},
    )
    assert [reading[0] for reading in found.readings] == ["dev-12", "dev-12"]
    assert found.tenants == ["acme"] and [row[1] for row in found.rejected] == ["no site"]


def test_hostile_names_are_texts(tmp_path: Path) -> None:
    tenant = "../../x'; drop table raw_rows; --%2F=ü"
    column = "a\"'; select 1 --"
    content = io.StringIO()
    csv.writer(content).writerows([["id", "at", column, "ten"], ["d'\"", "2024-05-01T12:00:00Z", "1", tenant]])
    found = read(tmp_path, content.getvalue(), metrics={column: "ma"}, tenant={"column": "ten"})
    assert found.readings == [("d'\"", "ma", AT, 1.0, None)] and found.tenants == [tenant]
    assert {path.name for path in tmp_path.iterdir()} <= {"x.yml", "landing", "staging-0", "spill"}


JSONL = {"type": "jsonl"}


def test_json_lines_with_nested_values_and_broken_lines(tmp_path: Path) -> None:
    lines = [
        json.dumps(
            {"d": {"id": "d"}, "at": "2024-05-01T12:00:00Z", "v": {"t": 1.5}, "gw": [{"rssi": -7}, {"rssi": -9}]}
        ),
        "not json",
        "[1]",
        json.dumps({"d": {"id": "d"}, "at": "2024-05-01T12:01:00Z"}),
    ]
    found = read(
        tmp_path,
        "\n".join(lines) + "\n\n",
        name="f.jsonl",
        format=JSONL,
        device={"column": "d.id"},
        metrics={"v.t": "t", "gw.1.rssi": "rssi"},
    )
    assert found.values == [-9, 1.5] and found.empty == 2 and found.rows == 4
    assert found.rejected == [(None, "not a JSON object", 2, 2, "not json")]


@pytest.mark.parametrize("kind", ["json", "jsonl"])
def test_arrays_of_records_within_a_document(kind: str, tmp_path: Path) -> None:
    document = {"dev": "d", "data": {"points": [["2024-05-01T12:00:00Z", 1, 2], ["2024-05-01T12:01:00Z", None, 4]]}}
    content = [json.dumps(document), json.dumps({"dev": "e", "data": {"points": []}}), json.dumps({"dev": "f"})]
    text = "\n".join(content) if kind == "jsonl" else f"[{','.join(content)}]"
    found = read(
        tmp_path,
        text,
        name="f.json",
        format={"type": kind, "records": "data.points"},
        device={"column": "/dev"},
        measured_at={"column": "0"},
        metrics={"1": "ma", "2": "mb"},
    )
    assert found.values == [1, 2, 4] and found.empty == 1
    assert [(reason, count) for _, reason, count, _, _ in found.rejected] == [("no array data.points", 1)]


def test_parquet_keeps_its_values_exactly(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": pa.array(["d", "d"]).dictionary_encode(),
            "at": pa.array([AT, AT + timedelta(microseconds=1)], pa.timestamp("us", tz="UTC")),
            "a": pa.array([0.1, None], pa.float32()),
            "b": pa.array([2**53 - 1, 7], pa.int64()),
        }
    )
    pq.write_table(table, tmp_path / "p")
    found = read(tmp_path, (tmp_path / "p").read_bytes(), name="f.parquet", format={"type": "parquet"})
    assert found.values == [pa.scalar(0.1, pa.float32()).as_py(), 2**53 - 1, 7]
    assert found.readings[-1][2] == AT + timedelta(microseconds=1) and found.empty == 1


INSTANTS = [
    ("2024-05-01T12:00:00Z", {}),
    ("2024-05-01T14:00:00+02:00", {}),
    ("2024-05-01 14:00:00.000+0200", {}),
    ("2024-05-01 12:00", {}),
    ("2024-05-01 14:00:00", {"timezone": "Europe/Berlin"}),
    ("01.05.2024 14:00", {"format": ["%Y/%m/%d %H:%M", "%d.%m.%Y %H:%M"], "timezone": "Europe/Berlin"}),
    ("2024-05-01 08:00 -0400", {"format": "%Y-%m-%d %H:%M %z"}),
    ("1714564800", {"format": "epoch_s"}),
    ("1714564800.0", {"format": "epoch_s"}),
    ("1714564800000", {"format": "epoch_ms"}),
    ("1714564800000000", {"format": "epoch_us"}),
    ("1714564800000000000", {"format": "epoch_ns"}),
]


@pytest.mark.parametrize(("text", "keys"), INSTANTS)
def test_instants_in_every_format(text: str, keys: dict, tmp_path: Path) -> None:
    found = read(tmp_path, f"id,at,a,b\nd,{text},1,2\n", measured_at={"column": "at"} | keys)
    assert {reading[2] for reading in found.readings} == {AT}, found.rejected


def test_instants_of_no_plausible_year_are_rejected(tmp_path: Path) -> None:
    """Milliseconds read as seconds lie in the year 56,302."""
    text = "id,at,a,b\nd,1714564800000,1,2\nd,1714564800,1,2\n"
    found = read(tmp_path, text, measured_at={"column": "at", "format": "epoch_s"})
    assert len(found.values) == 2
    assert [one[1:3] for one in found.rejected] == [("time stamp out of range", 1)]


def test_instants_of_parts_and_of_two_columns(tmp_path: Path) -> None:
    parts = {"year": "y", "month": "m", "day": "d", "hour": "h"}
    found = read(
        tmp_path, "id,y,m,d,h,a,b\nd,2024,5,1,14,1,2\n", measured_at={"parts": parts, "timezone": "Europe/Berlin"}
    )
    joined = read(
        tmp_path,
        "id,day,time,a,b\nd,1.5.2024,12:00,1,2\n",
        measured_at={"columns": ["day", "time"], "format": "%d.%m.%Y %H:%M"},
    )
    assert {reading[2] for reading in (*found.readings, *joined.readings)} == {AT}


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Sydney", "Australia/Lord_Howe"])
@pytest.mark.parametrize("ambiguous", ["first", "second", "reject"])
@pytest.mark.parametrize("missing", ["forward", "reject"])
def test_clock_changes_follow_the_stated_rule(zone: str, ambiguous: str, missing: str, tmp_path: Path) -> None:
    locals_ = [
        datetime(2024, month, day) + timedelta(minutes=15 * step)
        for month, day in ((3, 10), (3, 31), (4, 7), (10, 6), (10, 27), (11, 3))
        for step in range(20)
    ]
    content = "id,at,a,b\n" + "".join(f"{at:%Y%m%d%H%M},{at:%Y-%m-%d %H:%M},1,\n" for at in locals_)
    rules = {"column": "at", "timezone": zone, "ambiguous": ambiguous, "missing": missing}
    found = read(tmp_path, content, measured_at=rules)
    assert {reading[0]: reading[2] for reading in found.readings} == {
        f"{at:%Y%m%d%H%M}": instant for at in locals_ if (instant := expected(at, zone, ambiguous, missing))
    }


def expected(local: datetime, zone: str, ambiguous: str, missing: str) -> datetime | None:
    """By Python's own zones: PEP 495's fold."""
    first, second = (local.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return first
    if first.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == local:
        return {"first": first, "second": second, "reject": None}[ambiguous]
    return first if missing == "forward" else None


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("f.csv", b"", "is empty"),
        ("f.csv", b"id,at,a\n", "column 'b' is not in"),
        ("f.csv.gz", gzip.compress(PLAIN.encode(), mtime=0)[:-9], "truncated gzip"),
        ("f.csv.gz", b"plainly not", "truncated gzip"),
        ("f.csv.zst", pa.compress(PLAIN.encode() * 50, codec="zstd", asbytes=True)[:-9], "truncated zstd"),
        ("f.zip", b"PK\x03\x04 and no more", "truncated zip"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=says):
        read(tmp_path, content, name=name)


def test_a_wrong_encoding_names_the_byte(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="byte 0xb0"):
        read(tmp_path, "id,at,a,b\n°".encode("cp1252"), format={"type": "csv", "comment": "#"})


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"format": {"type": "csv", "delimeter": ";"}}, "delimeter: Extra inputs.*Keys here are type, encoding"),
        ({"format": {"type": "jsonl", "delimiter": ";"}}, "delimiter is for csv, not for jsonl"),
        ({"format": {"type": "csv", "encoding": "klingon"}}, "no known encoding"),
        ({"format": {"type": "csv", "header": {"lines": 0}}}, "without header lines needs columns"),
        ({"format": {"type": "csv", "header": {"lines": 2, "names": 3}}}, "names is line 3 of the header, which has 2"),
        ({"format": {"type": "csv", "decimal": ",", "thousands": ","}}, "are both"),
        ({"measured_at": {"column": "at", "timezone": "Mars/Olympus"}}, "no time zone"),
        ({"measured_at": {"column": "at", "format": "rfc"}}, "format is iso, epoch_s"),
        ({"measured_at": {"column": "at", "parts": {"year": "y", "month": "m", "day": "d"}}}, "exactly one of column"),
        ({"device": {"column": "id", "pattern": "(x)"}}, r"needs a group \(\?P<value>"),
        ({"device": {"path": "(?P<value>"}}, "no regular expression"),
        ({"metric": {"column": "m"}, "value": {"column": "v"}}, "give either metrics or metric_columns"),
        ({"source": "other"}, "must equal the file's name"),
    ],
)
def test_a_wrong_source_says_where_and_what_would_be_right(keys: dict, says: str, tmp_path: Path) -> None:
    with pytest.raises(FleetmartError, match=f"x.yml, line [0-9]+.*{says}"):
        read(tmp_path, PLAIN, **keys)


CELLS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
    st.sampled_from(["", "NA", " 7 ", "1e400", "nan", "'", '"', "a,b", "ü\n", "--", "0x1", "1_000"]),
    st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=5),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8))
def test_every_cell_of_any_table_ends_in_one_place(table: list[tuple[str, str]], tmp_path_factory) -> None:
    content = io.StringIO()
    rows = [["d", f"{AT + timedelta(seconds=number):%Y-%m-%dT%H:%M:%SZ}", *cells] for number, cells in enumerate(table)]
    csv.writer(content, lineterminator="\n").writerows([["id", "at", "a", "b"], *rows])
    found = read(tmp_path_factory.mktemp("cells"), content.getvalue(), **form(null_tokens=["", "NA"]))
    fates = Counter(fate(cell) for cells in table for cell in cells)
    assert Counter(found.values) == Counter(value for value in map(number_of, sum(table, ())) if value is not None)
    assert found.empty == fates["empty"] and found.rows == len(table)
    assert sum(count for _, _, count, _, _ in found.rejected) == fates["rejected"]


def number_of(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if value not in (float("inf"), float("-inf")) and value == value else None


def fate(cell: str) -> str:
    if cell.strip(" ") in ("", "NA"):
        return "empty"
    return "rejected" if number_of(cell) is None else "reading"
