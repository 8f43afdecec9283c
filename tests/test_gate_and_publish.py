"""Nothing is seen that did not pass; one tenant's failure is no other's; snapshots are locked."""

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pytest

from expectations.gate import gate, verdict_of
from orchestration.build import build
from orchestration.errors import FleetmartError, WrongUse
from orchestration.landing import deliver
from orchestration.ledger import ledger, rows
from orchestration.load import load_waiting
from orchestration.publish import GateNotPassed, publish, publish_all
from orchestration.published_rows import published_marts
from orchestration.serving import current_snapshot
from orchestration.settings import ROOT, Settings
from orchestration.snapshot_sql import query

SAMPLE = ROOT / "orchestration" / "sample"
METER = sorted((SAMPLE / "lhb_meter").iterdir())
WEATHER = sorted((SAMPLE / "nyc_weather").iterdir())
LINK = r'href="([^"#]+)"'


def take_in(settings: Settings, source: str, *files: Path) -> None:
    deliver(settings, source, files)
    load_waiting(settings)


def test_publishing_demands_a_verdict_for_exactly_this_build(small: Callable[..., Settings]) -> None:
    settings = small()
    take_in(settings, "lhb_meter", METER[0])
    first = build(settings).build_id
    with pytest.raises(GateNotPassed, match="no verdict"):
        publish(settings, "la-haute-borne", first)
    gate(settings)
    take_in(settings, "lhb_meter", METER[1])
    second = build(settings).build_id
    with pytest.raises(FleetmartError, match="not what the warehouse holds"):
        publish(settings, "la-haute-borne", first)
    with pytest.raises(GateNotPassed, match="no verdict"):
        publish(settings, "la-haute-borne", second)
    assert current_snapshot(settings, "la-haute-borne") is None
    gate(settings)
    assert publish(settings, "la-haute-borne", second).build_id == second


@pytest.mark.parametrize("broken", ["drop column load_id", "alter column value type varchar using 'no number'"])
def test_what_the_gate_cannot_compute_is_no_verdict(broken: str, small: Callable[..., Settings]) -> None:
    settings = small()
    take_in(settings, "lhb_meter", METER[0])
    built = build(settings).build_id
    with duckdb.connect(str(settings.warehouse)) as connection:
        connection.execute(f"alter table main.fct_readings {broken}")
    with pytest.raises(FleetmartError, match=r"could not check .* There is no verdict"):
        gate(settings)
    assert verdict_of(settings, "la-haute-borne", built) is None


def test_a_build_that_broke_off_cannot_be_published(small: Callable[..., Settings]) -> None:
    settings = small()
    take_in(settings, "lhb_meter", METER[0])
    built = build(settings).build_id
    gate(settings)
    with ledger(settings) as connection:
        connection.execute(
            "insert into builds (status, inputs, full_refresh, started_at) values ('running', 'x', 0, 'now')"
        )
    with pytest.raises(FleetmartError, match="no finished build"):
        publish(settings, "la-haute-borne", built)


def test_a_tenant_that_fails_keeps_its_last_good_snapshot_and_the_others_move_on(
    small: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = small()
    take_in(settings, "lhb_meter", METER[0])
    take_in(settings, "nyc_weather", WEATHER[0])
    good = build(settings).build_id
    gate(settings)
    publish_all(settings)

    bad = tmp_path / "meter.csv"
    head, *lines = METER[1].read_text().splitlines()
    bad.write_text("\n".join([head, *(line.replace(",", ",broken ", 1) for line in lines)]) + "\n")
    take_in(settings, "lhb_meter", bad)
    take_in(settings, "nyc_weather", WEATHER[1])
    new = build(settings).build_id
    verdicts = {verdict.tenant_id: verdict.passed for verdict in gate(settings)}
    published = publish_all(settings)
    assert verdicts == {"la-haute-borne": False, "nyc-airports": True}
    assert "la-haute-borne was withheld" in published.withheld[0]
    assert current_snapshot(settings, "la-haute-borne").name == f"v{good}.duckdb"
    assert current_snapshot(settings, "nyc-airports").name == f"v{new}.duckdb"
    months = query(settings, "select tenant_id, max(day)::varchar from cube_fleet_daily group by 1 order by 1").rows
    assert months == [("la-haute-borne", "2014-04-01"), ("nyc-airports", "2013-02-28")]

    failed = rows(settings, "select * from quality_results where not is_met and severity = 'critical'")
    assert {row["tenant_id"] for row in failed} == {"la-haute-borne"}
    # The good file again, whole: the share of rejected values of what is unpublished falls below the limit.
    take_in(settings, "lhb_meter", *METER[1:])
    build(settings)
    judged = {verdict.tenant_id: verdict for verdict in gate(settings)}
    assert judged["la-haute-borne"].critical_failures == 1, "the bad file is still unpublished and still judged"


def test_a_publish_goes_on_from_the_copy_that_the_last_one_made_for_it(small: Callable[..., Settings]) -> None:
    settings = small()
    folders = [settings.serving / owner for owner in ("la-haute-borne", "operator")]
    spares = []
    for number in range(2):
        take_in(settings, "lhb_meter", METER[number])
        new = build(settings).build_id
        gate(settings)
        publish_all(settings)
        assert [[path.name for path in folder.glob(".*")] for folder in folders] == [[f".v{new}.duckdb.spare"]] * 2
        spares.append([(folder / f".v{new}.duckdb.spare").stat().st_ino for folder in folders])
    assert [(folder / f"v{new}.duckdb").stat().st_ino for folder in folders] == spares[0]
    months = query(settings, "select max(day)::varchar from cube_fleet_daily", tenant_id="la-haute-borne").rows
    assert months == query(settings, "select max(day)::varchar from cube_fleet_daily").rows != [("2014-04-01",)]


def test_a_disk_without_room_for_a_copy_is_told_and_hinders_no_publish(
    small: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    settings, said = small(), []
    take_in(settings, "lhb_meter", METER[0])
    new = build(settings).build_id
    gate(settings)
    monkeypatch.setattr(shutil, "copyfile", full)
    assert len(publish_all(settings, said.append).snapshots) == 2
    assert sum("No space left on device" in line for line in said) == 2
    assert current_snapshot(settings, "la-haute-borne").name == f"v{new}.duckdb"
    assert not list(settings.serving.glob("*/.*"))


def test_a_snapshot_holds_one_tenant_and_the_operators_holds_what_all_see(demo_settings: Settings) -> None:
    per_tenant = {}
    for tenant in ("la-haute-borne", "nyc-airports", "nrel-pv", "operator"):
        for mart in published_marts(demo_settings):
            if mart.has_tenant:
                found = query(
                    demo_settings, f"select tenant_id, count(*) from {mart.name} group by 1 order by 1", tenant
                ).rows
                per_tenant[tenant, mart.name] = dict(found)
    for (tenant, mart), counts in per_tenant.items():
        if tenant != "operator":
            assert set(counts) <= {tenant}, (tenant, mart)
            assert per_tenant["operator", mart].get(tenant) == counts.get(tenant), (tenant, mart)


def test_a_tenants_metrics_and_dates_are_its_own(demo_settings: Settings) -> None:
    wind = {row[0] for row in query(demo_settings, "select metric from dim_metrics", "la-haute-borne").rows}
    weather = {row[0] for row in query(demo_settings, "select metric from dim_metrics", "nyc-airports").rows}
    assert "net_energy" in wind and "net_energy" not in weather and "visibility" not in wind
    first, last = query(
        demo_settings, "select min(day)::varchar, max(day)::varchar from dim_dates", "nyc-airports"
    ).rows[0]
    assert first.startswith("2013-01") and last.startswith("2013-12")


@pytest.mark.parametrize(
    "statement",
    [
        "select * from read_text('/etc/passwd')",
        "select * from read_csv('/etc/passwd')",
        "select * from glob('/*')",
        "attach '{other}' as other",
        "copy (select 1) to '{escaped}'",
        "create table t as select 1",
        "delete from fct_readings",
        "set enable_external_access = true",
        "set lock_configuration = false",
        "install httpfs",
        "load httpfs",
        "export database '{escaped}'",
    ],
)
def test_a_snapshot_is_read_only_and_locked_down(statement: str, demo_settings: Settings, tmp_path: Path) -> None:
    other = current_snapshot(demo_settings, "nyc-airports")
    with pytest.raises(FleetmartError, match="query failed"):
        query(demo_settings, statement.format(other=other, escaped=tmp_path / "escaped"), "la-haute-borne")
    assert not (tmp_path / "escaped").exists()


def test_snapshots_are_immutable_files_swapped_by_a_link(demo_settings: Settings) -> None:
    for folder in demo_settings.serving.iterdir():
        assert (folder / "current").is_symlink()
        assert os.stat(folder / "current").st_mode & 0o777 == 0o440


def test_asking_an_unknown_tenant_or_before_the_first_publish_is_told(small: Callable[..., Settings]) -> None:
    settings = small()
    with pytest.raises(WrongUse, match="no tenant 'nobody'"):
        query(settings, "select 1", "nobody")
    with pytest.raises(FleetmartError, match="Nothing has been published for nyc-airports yet"):
        query(settings, "select 1", "nyc-airports")


def test_results_and_pages_hold_counts_and_rules_but_no_row(demo_settings: Settings) -> None:
    results = rows(demo_settings, "select * from quality_results")
    assert len(results) > 60 and all(row["why"] and row["rule"] for row in results)
    with duckdb.connect(str(demo_settings.serving / "la-haute-borne" / "current"), read_only=True) as connection:
        invalid = connection.execute(
            "select distinct value from fct_readings where not is_valid and metric = 'pitch_angle'"
        ).fetchall()
    pages = "".join(
        path.read_text() for path in (demo_settings.quality / "la-haute-borne" / "docs" / "validations").rglob("*.html")
    )
    for (value,) in invalid:
        assert f">{value}<" not in pages


def test_a_verdict_stands_for_every_published_snapshot(demo_settings: Settings) -> None:
    for snapshot in rows(demo_settings, "select * from snapshots where tenant_id <> 'operator'"):
        verdict = verdict_of(demo_settings, snapshot["tenant_id"], snapshot["build_id"])
        assert verdict is not None and verdict.passed
        assert (demo_settings.quality / snapshot["tenant_id"] / "docs" / verdict.data_docs).exists()


def pages_of(settings: Settings) -> list[Path]:
    return list(settings.quality.glob("*/docs/**/*.html"))


def test_every_link_of_the_data_docs_leads_to_a_page(demo_settings: Settings) -> None:
    links = [(page, unquote(link)) for page in pages_of(demo_settings) for link in re.findall(LINK, page.read_text())]
    assert len(links) > 100
    for page, link in links:
        # the operator's own page leads to the tenants'
        tenant, _, rest = link.partition("/")
        of_tenant = demo_settings.quality / tenant / "docs" / rest
        assert (of_tenant if page.parent.parent.name == "operator" else page.parent / link).exists(), (page, link)


def test_data_docs_load_nothing_from_elsewhere(demo_settings: Settings) -> None:
    pages = pages_of(demo_settings)
    assert len(pages) >= 22
    for page in pages:
        text = page.read_text()
        assert not re.search(r"""(src|href)=["']?(https?:)?//""", text), page
        assert "<script" not in text, page


def test_data_docs_keep_the_pages_of_so_many_builds(
    small: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("expectations.gate.BUILDS_WITH_PAGES", 1)
    settings = small()
    docs = settings.quality / "la-haute-borne" / "docs"
    for number in range(2):
        take_in(settings, "lhb_meter", METER[number])
        new = build(settings).build_id
        gate(settings)
        assert [page.name for page in (docs / "builds").iterdir()] == [f"{new}.html"]
        assert {path.name for path in docs.glob("validations/*/*")} == {f"la-haute-borne build {new}"}
        assert "Build 1" in (docs / "builds.html").read_text() or number == 1
