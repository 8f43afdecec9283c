"""Before a load: what a file would come to, and a proposal for one never seen; neither leaves anything behind."""

import dataclasses
import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from orchestration.errors import FleetmartError, WrongUse
from orchestration.infer_source import infer
from orchestration.landing import deliver
from orchestration.load import load_waiting
from orchestration.plain_text import UnreadableFile
from orchestration.settings import ROOT, Settings
from orchestration.source_check import check
from orchestration.sources import all_sources
from tests.conftest import run_fleetmart

SAMPLE = ROOT / "orchestration" / "sample"
DIRTY = (
    "Wind_turbine_name,Date_time,Ba_avg,P_avg,Ws_avg,Va_avg,Ot_avg,Ya_avg,Wa_avg,Rotor\n"
    "R80711,2014-04-01T00:00:00+02:00,-1,100,5,0,8,180,181,x\n"
    "R80711,2014-04-01T00:10:00+02:00,-1,much,5,,8,180,181,x\n"
    "R80711,no time,-1,100,5,0,8,180,181,x\n"
    "R99999,2014-04-01T00:20:00+02:00,-1,100,inf,0,8,180,181,x\n"
    "R80711,2014-04-01\n"
)
ROWS = 40
TIMES = [datetime(2024, 3, 13, 22, 50, tzinfo=UTC) + timedelta(minutes=10 * step) for step in range(ROWS)]


def every(text: Callable[[int, datetime], str]) -> str:
    return "".join(text(number, at) + "\n" for number, at in enumerate(TIMES))


# name of the file → its content, and what its proposal must say
SHAPES: dict[str, tuple[bytes | str, dict]] = {
    "german.csv": (
        "Gerät;Zeitpunkt;Leistung [kW]\n"
        + every(lambda n, at: f"wr-{n % 2};{at:%d.%m.%Y %H:%M};{'1.0' if n else ''}{n:02d},5"),
        {
            "format": {"type": "csv", "delimiter": ";", "decimal": ",", "thousands": "."},
            "measured_at": {"column": "Zeitpunkt", "format": "%d.%m.%Y %H:%M", "timezone": "UTC"},
            "metrics": {"Leistung [kW]": {"metric": "leistung", "unit": "kW"}},
        },
    ),
    "logger.dat": (
        '"TOA5","CR1000","site"\n"TIMESTAMP","RECORD","AirTC_Avg"\n"TS","RN","Deg C"\n"","","Avg"\n'
        + every(lambda n, at: f'"{at:%Y-%m-%d %H:%M:%S}",{n},{"NAN" if n == 3 else n / 10}'),
        {
            "format": {
                "type": "csv",
                "header": {"skip": 1, "lines": 3, "names": 1, "units": 2},
                "null_tokens": ["", "NAN"],
            },
            "measured_at": {"column": "TIMESTAMP", "timezone": "UTC"},
            "metrics": {"AirTC_Avg": {"metric": "airtc_avg", "unit": "Deg C"}},
        },
    ),
    "comments.txt": (
        "# sent by gateway 7\nserial\ttime\tflow\n"
        + every(lambda n, at: "serial\ttime\tflow" if n == 20 else f"s{n % 3}\t{at:%Y-%m-%dT%H:%M:%SZ}\t{n}.5"),
        {
            "format": {"type": "csv", "delimiter": "\t", "comment": "#", "repeated_headers": True},
            "device": {"column": "serial"},
            "measured_at": {"column": "time"},
            "metrics": {"flow": "flow"},
        },
    ),
    "long.csv": (
        "customer,plant,sensor_id,variable,date,time,value,unit\n"
        + every(lambda n, at: f"acme,north,d{n % 4},temp,{at:%Y-%m-%d},{at:%H:%M},{n},degC"),
        {
            "tenant": {"column": "customer"},
            "site": {"column": "plant"},
            "device": {"column": "sensor_id"},
            "measured_at": {"columns": ["date", "time"], "format": "%Y-%m-%d %H:%M", "timezone": "UTC"},
            "metric": {"column": "variable"},
            "value": {"column": "value"},
            "unit": {"column": "unit"},
        },
    ),
    "parts.csv.gz": (
        gzip.compress(
            (
                "No,year,month,day,hour,station,PM2.5\n"
                + every(lambda n, at: f"{n},{at.year},{at.month},{at.day},{at.hour},Wanliu,{'NA' if n == 1 else n}")
            ).encode()
        ),
        {
            "format": {"type": "csv", "null_tokens": ["", "NA"]},
            "measured_at": {
                "parts": {"year": "year", "month": "month", "day": "day", "hour": "hour"},
                "timezone": "UTC",
            },
            "metrics": {"PM2.5": "pm2_5"},
        },
    ),
    "headless.csv": (
        every(lambda n, at: f"dev-{n % 2},{int(at.timestamp())},{n}.25"),
        {
            "format": {"type": "csv", "columns": ["column1", "column2", "column3"], "header": {"skip": 0, "lines": 0}},
            "measured_at": {"column": "column2", "format": "epoch_s"},
            "metrics": {"column3": "column3"},
        },
    ),
    "windows.csv": (
        ("Anlage;Zeit;Wärme (°C)\n" + every(lambda n, at: f"Süd;{at:%d.%m.%Y %H:%M};{n},0")).encode("cp1252"),
        {
            "format": {"type": "csv", "encoding": "cp1252", "delimiter": ";", "decimal": ","},
            "metrics": {"Wärme (°C)": {"metric": "w_rme", "unit": "°C"}},
        },
    ),
    "messages.ndjson": (
        every(
            lambda n, at: json.dumps(
                {"deviceName": f"d{n % 2}", "ts": int(at.timestamp() * 1000), "data": {"t": n / 2, "open": n % 2 == 0}}
            )
        ),
        {
            "format": {"type": "jsonl"},
            "device": {"column": "deviceName"},
            "measured_at": {"column": "ts", "format": "epoch_ms"},
            "metrics": {"data.t": "data_t", "data.open": {"metric": "data_open", "type": "boolean"}},
        },
    ),
    "export.json": (
        json.dumps({"station": "s1", "records": [{"time": f"{at:%Y-%m-%dT%H:%M:%SZ}", "level": 1.5} for at in TIMES]}),
        {
            "format": {"type": "json", "records": "records"},
            "device": {"column": "/station"},
            "measured_at": {"column": "time"},
            "metrics": {"level": "level"},
        },
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_file_never_seen_gets_a_source_that_reads_all_of_it(name: str, tmp_path: Path) -> None:
    content, expected = SHAPES[name]
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    proposal = infer(file, "1GB")
    proposed = yaml.safe_load(proposal.yaml)
    assert {key: proposed.get(key) for key in expected} == expected
    assert proposal.rejected == {}
    values = (proposal.readings + proposal.empty) / len(proposed.get("metrics", {"value": 1}))
    assert values == proposal.rows == ROWS - (name == "comments.txt")
    declared = tmp_path / "sources" / f"{proposal.source}.yml"
    declared.parent.mkdir()
    declared.write_text(proposal.yaml)
    assert list(all_sources(declared.parent)) == [proposal.source]


def test_a_parquet_file_gets_a_source(tmp_path: Path) -> None:
    file = tmp_path / "pump_20240313.parquet"
    pq.write_table(pa.table({"asset": ["p1"] * ROWS, "at": TIMES, "pressure_bar": [n / 7 for n in range(ROWS)]}), file)
    proposal = infer(file, "1GB")
    assert (proposal.source, proposal.rows, proposal.readings, proposal.rejected) == ("pump", ROWS, ROWS, {})
    assert yaml.safe_load(proposal.yaml)["measured_at"] == {"column": "at"}


def test_what_a_file_cannot_tell_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("stamp,power\n" + "".join(f"0{day}/0{day}/2024 10:00,{day}.5\n" for day in range(1, 9)))
    proposal = infer(file, "1GB")
    doubts = "\n".join(proposal.doubts)
    for doubt in ("names the tenant", "names the site", "names the device", "time zone", "other way round"):
        assert doubt.replace("names", "name") in doubts
        assert all(f"# {line}" in proposal.yaml for line in proposal.doubts)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"just a line\nand another\n", "no columns"),
        ("a.csv", b"a,b\n1,2\n3,4\n", "no column that could be a time stamp"),
        ("a.bin", b"\0\1\2\3,\0\n" * 9, "neither CSV nor JSON"),
        ("a.json", b'{"a": ', "begins as JSON"),
        ("a.csv.gz", b"no gzip", "broken or truncated gzip"),
        ("a.parquet", b"PAR1", "no readable Parquet"),
    ],
)
def test_a_file_without_a_proposal_says_why(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableFile, match=says):
        infer(tmp_path / name, "1GB")


def test_inferring_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "long.csv"
    file.write_text(str(SHAPES["long.csv"][0]))
    done = run_fleetmart(tmp_path / "home", "source", "infer", str(file), "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert yaml.safe_load(answer["yaml"])["source"] == answer["source"] == "long"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.csv"]


def test_a_check_says_what_the_load_then_does(small: Callable[..., Settings], tmp_path: Path) -> None:
    settings = small()
    file = tmp_path / "scada.csv"
    file.write_text(DIRTY)
    before = sorted(settings.home.rglob("*"))
    checked = check(settings, "lhb_scada", file)
    assert sorted(settings.home.rglob("*")) == before
    deliver(settings, "lhb_scada", [file])
    loaded = load_waiting(settings)
    assert (checked.readings, checked.empty, checked.rejected_count) == (
        loaded.readings,
        loaded.empty,
        loaded.rejected,
    )
    assert (checked.rows, checked.readings, checked.empty, checked.rejected_count) == (5, 18, 1, 4)
    assert {one["reason"]: one["example"].split(",")[0].split('"')[-2:] for one in checked.rejected}.keys() == {
        "not a number",
        "time stamp not understood",
        "not a finite number",
        "missing columns",
    }
    examples = {one["reason"]: (one["example"], one["first_source_row"]) for one in checked.rejected}
    assert examples["not a number"] == ("much", 2)
    assert examples["missing columns"] == ("R80711,2014-04-01", 5)
    assert checked.unregistered == {"devices": ["la-haute-borne/R99999"]}
    assert checked.unused_columns == ["Rotor"]
    assert checked.first_readings[0]["device_id"] == "R80711"
    assert {one["metric"]: one["count"] for one in checked.metrics}["active_power"] == 2


def test_a_check_names_what_the_registry_does_not_know(small: Callable[..., Settings], tmp_path: Path) -> None:
    settings = small()
    source = tmp_path / "any.yml"
    source.write_text(
        "{source: any, description: d, tenant: {column: t}, site: {column: s}, device: {column: d}, "
        "format: {type: csv}, measured_at: {column: at}, metric: {column: m}, value: {column: v}, unit: {column: u}}"
    )
    file = tmp_path / "any.csv"
    at = "2014-04-01T00:00:00Z"
    file.write_text(
        f"t,s,d,at,m,v,u\nnobody,s,x,{at},active_power,1,kW\nla-haute-borne,elsewhere,R80711,{at},active_power,1,furlong\n"
        f"la-haute-borne,la-haute-borne,R80711,{at},brand_new,1,kW\n"
        f"la-haute-borne,la-haute-borne,R80711,{at},dew_point,1,degC\n"
    )
    unregistered = check(settings, str(source), file).unregistered
    assert unregistered["tenants"] == ["nobody"]
    assert unregistered["sites"] == ["la-haute-borne/R80711 is at la-haute-borne, not at elsewhere", "nobody/s"]
    assert unregistered["devices"] == ["nobody/x"]
    assert unregistered["metrics"] == ["brand_new"]
    assert unregistered["units"] == ["active_power in furlong"]
    assert [text.split("/")[1] for text in unregistered["metrics of models"]] == ["dew_point"]


def test_a_check_refuses_what_a_load_would_set_aside(small: Callable[..., Settings], tmp_path: Path) -> None:
    settings = small()
    file = tmp_path / "scada.csv"
    file.write_text("Wind_turbine_name,P_avg\nR80711,1\n")
    with pytest.raises(UnreadableFile, match=r"lhb_scada\.yml, line \d+: column .* is not in scada\.csv"):
        check(settings, "lhb_scada", file)
    with pytest.raises(WrongUse, match="There is no source 'other'"):
        check(settings, "other", file)
    with pytest.raises(FleetmartError, match=r"any\.yml is no readable YAML"):
        check(settings, str(tmp_path / "any.yml"), file)


def test_a_check_needs_no_registry_and_knows_a_files_place_in_landing(
    small: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = small().model_copy(update={"registry": tmp_path / "none-yet"})
    source = settings.sources / "by_folder.yml"
    source.write_text(
        "{source: by_folder, description: d, tenant: {path: '^(?P<value>[^/]+)/'}, site: s, device: {column: d}, "
        "format: {type: jsonl}, measured_at: {column: at}, metrics: {t: temperature, deep.typo: humidity}}"
    )
    file = settings.landing / "by_folder" / "acme" / "a.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text('{"at": "2024-01-01T00:00:00Z", "d": "x", "t": 1, "deep": {"humidity": 2}}\n')
    found = check(settings, "by_folder", file)
    assert (found.readings, found.unregistered["tenants"], found.refusal) == (1, ["acme"], None)
    assert (found.absent_columns, found.unused_columns) == (["deep.typo"], ["deep.humidity"])
    assert found.metrics == [
        {"metric": "humidity", "count": 0, "unit": None},
        {"metric": "temperature", "count": 1, "unit": None},
    ]
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(file.read_bytes())
    assert check(settings, "by_folder", copy).refusal == "none of its 1 rows could be taken in (1 times no tenant)"
    assert check(settings, "by_folder", copy, "other/copy.jsonl").unregistered["tenants"] == ["other"]


def test_a_check_of_rejected_rows_exits_with_1(small: Callable[..., Settings], tmp_path: Path) -> None:
    settings = small("unused")
    file = tmp_path / "scada.csv"
    file.write_text(DIRTY)
    where = {"FLEETMART_SOURCES": str(settings.sources), "FLEETMART_REGISTRY": str(settings.registry)}
    assert run_fleetmart(tmp_path / "home", "source", "check", "lhb_scada", str(file), **where).returncode == 1


def test_the_commands_answer_in_words_and_in_json(small: Callable[..., Settings], tmp_path: Path) -> None:
    settings = small("unused")
    file = tmp_path / "scada.csv"
    file.write_text(DIRTY)
    home = tmp_path / "home"
    where = {"FLEETMART_SOURCES": str(settings.sources), "FLEETMART_REGISTRY": str(settings.registry)}
    listed = json.loads(run_fleetmart(home, "source", "list", "--json", **where).stdout)["sources"]
    assert [one["source"] for one in listed] == sorted(all_sources(settings.sources))
    answer = json.loads(run_fleetmart(home, "source", "check", "lhb_scada", str(file), "--json", **where).stdout)
    expected = dataclasses.asdict(check(settings, "lhb_scada", file))
    assert answer == json.loads(json.dumps(expected, default=str))
    said = run_fleetmart(home, "source", "check", "lhb_scada", str(file), **where).stdout
    for part in ("5 rows, 18 readings, 1 empty values, 4 rejected", "First readings", "much", "R99999", "Rotor"):
        assert part in said
    assert not home.exists()
