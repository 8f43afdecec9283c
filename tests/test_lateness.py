"""Late, out of order, repeated: the marts equal a full refresh of the same files."""

import gzip
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from orchestration import build as builds
from orchestration.build import build
from orchestration.landing import deliver
from orchestration.load import load_waiting
from orchestration.settings import ROOT, Settings
from tests.state import assert_same, marts_of

SCADA = sorted((ROOT / "orchestration" / "sample" / "lhb_scada").iterdir())
METER = sorted((ROOT / "orchestration" / "sample" / "lhb_meter").iterdir())
WEATHER = ROOT / "orchestration" / "sample" / "nyc_weather" / "weather_2013-03.csv"


def load_and_build(settings: Settings, source: str, files: list[Path]) -> int:
    deliver(settings, source, files)
    load_waiting(settings)
    return build(settings).partitions


def test_late_files_rebuild_only_their_days_and_equal_a_full_refresh(
    small: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = small()
    head, *lines = gzip.decompress(SCADA[0].read_bytes()).decode().splitlines(keepends=True)
    late = [line for line in lines if "T12:" in line and "2014-03-26" in line]
    (tmp_path / "first.csv").write_text(head + "".join(line for line in lines if line not in late))
    (tmp_path / "late.csv").write_text(head + "".join(late))
    load_and_build(settings, "lhb_scada", [tmp_path / "first.csv", SCADA[4]])
    load_and_build(settings, "lhb_meter", METER[1:2])
    touched = load_and_build(settings, "lhb_scada", [tmp_path / "late.csv"])
    load_and_build(settings, "lhb_scada", [SCADA[2]])
    incremental = marts_of(settings)
    assert touched == 1
    assert build(settings).partitions == 0
    assert build(settings, full_refresh=True).partitions > 20
    assert_same(marts_of(settings), incremental)


def test_a_build_in_chunks_is_the_build_in_one(small: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    whole, chunked = small("whole"), small("chunked")
    for settings in (whole, chunked):
        deliver(settings, "lhb_scada", SCADA[:2])
        deliver(settings, "nyc_weather", [WEATHER])
        load_waiting(settings)
    assert build(whole).chunks == 1
    monkeypatch.setattr(builds, "CHUNK_READINGS", 30_000)
    done = build(chunked)
    assert done.chunks > 2 and done.full_refresh
    assert_same(marts_of(chunked), marts_of(whole))
    # the same for what is late, and what was touched is known as a whole
    for settings in (whole, chunked):
        deliver(settings, "lhb_scada", [SCADA[2]])
        load_waiting(settings)
    assert build(chunked).chunks > 1
    monkeypatch.undo()
    assert build(whole).chunks == 1
    assert_same(marts_of(chunked), marts_of(whole))
    assert scopes_of(chunked) == scopes_of(whole)


def test_a_full_refresh_that_broke_off_is_done_again(
    small: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = small()
    load_and_build(settings, "lhb_scada", SCADA[:1])
    whole = marts_of(settings)
    monkeypatch.setattr(builds, "CHUNK_READINGS", 15_000)

    def stop(line: str) -> None:
        if "part 2/" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(settings, full_refresh=True, report=stop)
    assert builds.latest_build(settings) is None
    assert build(settings).full_refresh
    assert_same(marts_of(settings), whole)


def scopes_of(settings: Settings) -> dict[str, set]:
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        return {scope: set(connection.execute(f"from build.{scope}").fetchall()) for scope in builds.SCOPES}


def test_a_changed_registry_rebuilds_everything_under_the_new_rules(small: Callable[..., Settings]) -> None:
    settings = small()
    load_and_build(settings, "lhb_meter", METER[:1])
    rules = settings.registry / "device_model_metrics.csv"
    head, *lines = rules.read_text().splitlines()
    column = head.split(",").index("valid_max")
    edited = [line.split(",") for line in lines]
    for row in edited:
        if row[1] == "net_energy":
            row[column] = "0.001"
    rules.write_text("\n".join([head, *map(",".join, edited)]) + "\n")
    rebuilt = build(settings)
    assert rebuilt.full_refresh and rebuilt.partitions > 1
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        reasons = connection.execute(
            "select distinct invalid_reason from main.fct_readings where metric = 'net_energy' and value > 0.001"
        ).fetchall()
    assert reasons == [("above the valid range",)]
