"""Loads lose nothing: bad input is refused with a reason, and every value ends in exactly one place."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration import lake
from orchestration.landing import deliver
from orchestration.ledger import ledger, rows
from orchestration.load import load_waiting
from orchestration.settings import ROOT, Settings
from orchestration.sources import read_source
from tests.conftest import run_fleetmart

SAMPLE = ROOT / "orchestration" / "sample"
HEADER = "Wind_turbine_name,Date_time,Ba_avg,P_avg,Ws_avg,Va_avg,Ot_avg,Ya_avg,Wa_avg\n"
GOOD = "R80711,2014-04-01T00:00:00+02:00,-1,100,5,0,8,180,181\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def stored_readings(settings: Settings) -> int:
    return sum(file.rows for file in lake.files(settings.lake_readings))


def test_the_same_content_under_another_name_changes_nothing(small: Callable[..., Settings], tmp_path: Path) -> None:
    settings = small()
    deliver(settings, "lhb_scada", [write(tmp_path / "a.csv", HEADER + GOOD)])
    first = load_waiting(settings)
    versions = rows(settings, "select * from loads")
    deliver(settings, "lhb_scada", [write(tmp_path / "b.csv", HEADER + GOOD)])
    again = load_waiting(settings)
    assert (first.files, first.readings) == (1, 7)
    assert (again.files, again.already_loaded, again.readings) == (0, 1, 0)
    repeated = rows(settings, "select * from loads")
    assert [one.pop("repeat_count") for one in (*versions, *repeated)] == [0, 1]
    assert [one.pop("last_repeat_batch_id") for one in (*versions, *repeated)] == [None, 2]
    assert repeated == versions
    assert stored_readings(settings) == 7


def test_every_value_becomes_a_reading_an_empty_value_or_a_rejected_row(
    small: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = small()
    lines = [
        GOOD,
        "R80711,2014-04-01T00:10:00+02:00,-1,,5,0,8,180,NaN\n",
        "R80711,2014-04-01T00:20:00+02:00,-1,a lot,5,0,8,180,181\n",
        "R80711,2014-13-01T00:20:00+02:00,-1,100,5,0,8,180,181\n",
        "R80711,,-1,100,5,0,8,180,181\n",
        ",2014-04-01T00:30:00+02:00,-1,100,5,0,8,180,181\n",
        "R80711,2014-04-01T00:40:00+02:00\n",
        "R80711,2014-04-01T00:50:00+02:00,1,2,3,4,5,6,7,8,9\n",
    ]
    deliver(settings, "lhb_scada", [write(tmp_path / "a.csv", HEADER + "".join(lines))])
    loaded = load_waiting(settings)
    whole_rows, values = 5, 2
    assert loaded.rejected == whole_rows + values
    assert loaded.readings + loaded.empty + values == 3 * 7
    assert loaded.readings == stored_readings(settings)
    reasons = {row["reason"]: row["rejected_count"] for row in rows(settings, "select * from load_rejections")}
    assert reasons == {
        "not a number": 1,
        "not a finite number": 1,
        "time stamp not understood": 1,
        "no time stamp": 1,
        "no device": 1,
        "missing columns": 1,
        "too many columns": 1,
    }
    assert rows(settings, "select row_count from loads")[0]["row_count"] == len(lines)
    assert any("'a aaa'" in problem and "not a number" in problem for problem in loaded.problems)


@pytest.mark.parametrize("source", sorted(path.name for path in SAMPLE.iterdir() if path.is_dir()))
def test_every_sample_value_is_accounted_for(source: str, demo_settings: Settings) -> None:
    counted = rows(
        demo_settings,
        "select sum(reading_count) as readings, sum(empty_count) as empty, sum(rejected_count) as rejected "
        "from load_tenants join loads using (load_id) where source = ?",
        source,
    )[0]
    declared = read_source(ROOT / "orchestration" / "sources" / f"{source}.yml")
    row_count = rows(demo_settings, "select sum(row_count) as n from loads where source = ?", source)[0]["n"]
    assert counted["readings"] + counted["empty"] + counted["rejected"] == row_count * len(declared.metrics)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("cut.csv.gz", gzip.compress((HEADER + GOOD * 999).encode(), mtime=0)[:-20], "truncated gzip"),
        ("empty.csv", b"", "is empty (0 bytes)"),
        ("other.csv", b"a,b\n1,2\n", "column 'Wind_turbine_name' is not in other.csv"),
        ("number.csv", (HEADER + GOOD.replace("100", "much")).encode(), "not a number"),
        ("time.csv", (HEADER + GOOD.replace("2014-04", "sometime")).encode(), "time stamp not understood"),
    ],
)
def test_a_bad_file_is_told_with_exit_code_1_and_kept(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    home = tmp_path / "home"
    done = run_fleetmart(home, "load", "--source", "lhb_scada", str(tmp_path / name))
    assert done.returncode == 1
    assert says in done.stderr and name in done.stderr
    assert "Traceback" not in done.stderr
    kept = [path for folder in ("archive", "set-aside") for path in (home / folder).rglob(f"*{name}")]
    assert [path.read_bytes() for path in kept] == [content]


def test_a_bad_file_does_not_stop_the_others(small: Callable[..., Settings], tmp_path: Path) -> None:
    settings = small()
    deliver(settings, "lhb_scada", [write(tmp_path / "a.csv", ""), write(tmp_path / "b.csv", HEADER + GOOD)])
    loaded = load_waiting(settings)
    assert (loaded.files, loaded.readings, len(loaded.problems)) == (1, 7, 1)


def test_an_unknown_source_is_wrong_use_and_names_those_that_exist(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", HEADER)
    done = run_fleetmart(tmp_path / "home", "load", "--source", "wind", str(file))
    assert done.returncode == 2
    assert "no source 'wind'" in done.stderr and "lhb_scada" in done.stderr


def test_a_landing_folder_of_no_source_is_left_where_it_is(small: Callable[..., Settings]) -> None:
    settings = small()
    stray = settings.landing / "unheard" / "x.csv"
    stray.parent.mkdir()
    write(stray, "a\n")
    loaded = load_waiting(settings)
    assert "unheard" in loaded.problems[0] and stray.exists()


@pytest.mark.parametrize(
    ("replace", "by", "says"),
    [
        ("P_avg", "P_mean", "column 'P_mean' is not in"),
        ("type: csv", "type: excel", "format"),
        ("description:", "describtion:", "describtion"),
    ],
)
def test_a_wrong_source_file_is_told_with_file_and_line(
    replace: str, by: str, says: str, small: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = small()
    declared = settings.sources / "lhb_scada.yml"
    declared.write_text(declared.read_text().replace(replace, by, 1))
    done = run_fleetmart(
        settings.home,
        "load",
        "--source",
        "lhb_scada",
        str(write(tmp_path / "a.csv", HEADER + GOOD)),
        FLEETMART_SOURCES=str(settings.sources),
    )
    assert done.returncode == 1
    assert says in done.stderr and "lhb_scada.yml, line " in done.stderr


def test_a_home_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    write(tmp_path / "file", "")
    done = run_fleetmart(tmp_path / "file" / "home", "load")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr and "FLEETMART_HOME" in done.stderr


def test_an_interrupted_load_is_taken_back_and_done_again(small: Callable[..., Settings], tmp_path: Path) -> None:
    settings = small()
    deliver(settings, "lhb_scada", [write(tmp_path / "a.csv", HEADER + GOOD)])
    load_waiting(settings)
    with ledger(settings) as connection:
        for table in ("load_tenants", "load_rejections", "load_partitions"):
            connection.execute(f"delete from {table}")
        connection.execute("update loads set status = 'reading'")
    deliver(settings, "lhb_scada", [tmp_path / "a.csv"])
    again = load_waiting(settings)
    assert again.readings == 7 and stored_readings(settings) == 7
