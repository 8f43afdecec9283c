"""Stored bytes are measured, not guessed; what is projected and priced from them equals a second computation."""

import shutil
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy import stats

from expectations.gate import gate
from orchestration.build import build
from orchestration.landing import deliver
from orchestration.ledger import ledger, now, rows
from orchestration.load import load_waiting
from orchestration.publish import publish_all
from orchestration.serving import current_snapshot
from orchestration.settings import ROOT, Settings
from orchestration.snapshot_sql import query
from orchestration.storage import measure, shared

SAMPLE = ROOT / "orchestration" / "sample"
METER = sorted((SAMPLE / "lhb_meter").iterdir())
WEATHER = sorted((SAMPLE / "nyc_weather").iterdir())
TENANTS = ["la-haute-borne", "nrel-pv", "nyc-airports"]
# three tenants in one file, a value that is none, and one day of history for nrel-pv
SHARED_SOURCE = (
    "{source: any, description: d, tenant: {column: t}, site: {column: s}, device: {column: d}, "
    "format: {type: csv}, measured_at: {column: at}, metric: {column: m}, value: {column: v}}"
)
SHARED_FILE = """\
t,s,d,at,m,v
nrel-pv,rsf-ii,inverter,2014-06-01T00:00:00Z,ac_power,1
nrel-pv,rsf-ii,inverter,2014-06-01T01:00:00Z,ac_power,2
nyc-airports,JFK,JFK,2013-02-01T00:10:00Z,temperature,3
nyc-airports,JFK,JFK,2013-02-01T00:20:00Z,temperature,3
nyc-airports,JFK,JFK,2013-02-01T00:30:00Z,temperature,4
nyc-airports,JFK,JFK,2013-02-01T00:40:00Z,temperature,4
nyc-airports,JFK,JFK,2013-02-01T00:50:00Z,temperature,5
nyc-airports,JFK,JFK,2013-02-01T01:10:00Z,temperature,much
la-haute-borne,la-haute-borne,R80711,2014-06-01T00:00:00Z,active_power,4
"""
PLANS = """\
plan_id,plan_name,currency,price_per_month,included_gb,price_per_gb_month,price_per_million_readings
fleet,Fleet,EUR,490,0.000001,250000,2
metered,Metered,USD,0,5,0.4,1500
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home that was published twice on one day; the cube knows the measurement at the second build's beginning."""
    folder = tmp_path_factory.mktemp("storage")
    for name in ("registry", "sources"):
        shutil.copytree(ROOT / "orchestration" / name, folder / name)
    (folder / "registry" / "plans.csv").write_text(PLANS)
    (folder / "sources" / "any.yml").write_text(SHARED_SOURCE)
    (folder / "shared.csv").write_text(SHARED_FILE)
    made = Settings(home=folder / "home", registry=folder / "registry", sources=folder / "sources", settle_seconds=0)
    run(made, {"lhb_meter": METER, "nyc_weather": WEATHER[:2], "any": [folder / "shared.csv"]})
    run(made, {"nyc_weather": WEATHER[2:3]})
    return made


def run(settings: Settings, files: dict[str, list[Path]]) -> None:
    for source, paths in files.items():
        deliver(settings, source, paths)
    load_waiting(settings)
    build(settings)
    gate(settings)
    publish_all(settings)


def measured(settings: Settings) -> pd.DataFrame:
    """The ledger's standing measurement, by layer and tenant."""
    found = pd.DataFrame(rows(settings, "select * from storage_measurements"))
    assert set(found.pop("day")) == {now()[:10]}, "one day, one measurement"
    return found.set_index(["layer", "tenant_id"]).sort_index()


def cube(settings: Settings) -> pd.DataFrame:
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        return connection.execute("select * from main.cube_storage_daily order by tenant_id, layer").df()


def bytes_below(*folders: Path, suffix: str = "") -> int:
    return sum(path.stat().st_size for folder in folders for path in folder.rglob(f"*{suffix}") if path.is_file())


@pytest.mark.parametrize("tenant", TENANTS)
def test_the_lakes_bytes_are_those_of_the_tenants_files_on_the_disk(settings: Settings, tenant: str) -> None:
    folders = [table / f"tenant_id={tenant}" for table in (settings.lake_readings, settings.lake_rejected)]
    lake = measured(settings).loc["lake", tenant]
    assert lake["bytes"] == bytes_below(*folders, suffix=".parquet") > 0
    with duckdb.connect() as connection:
        held = connection.execute("select count(*) from read_parquet($1)", [f"{folders[0]}/**/*.parquet"]).fetchone()[0]
    assert lake["reading_count"] == held > 0


def test_the_archives_files_are_shared_by_their_readings_to_the_last_byte(settings: Settings) -> None:
    archive = measured(settings).loc["archive"]
    size, meter = len(SHARED_FILE.encode()), bytes_below(settings.archive / "lhb_meter")
    assert archive["bytes"].sum() == bytes_below(settings.archive)
    assert archive["bytes"]["nrel-pv"] == pytest.approx(size / 4, abs=1)
    assert archive["bytes"]["la-haute-borne"] == pytest.approx(meter + size / 8, abs=1)


def kept(settings: Settings, owner: str) -> list[Path]:
    """A tenant's snapshots, and the copy that its next one is made from."""
    folder = settings.serving / owner
    return [*folder.glob("v*.duckdb"), *folder.glob(".v*.duckdb.spare")]


@pytest.mark.parametrize("layer", ["warehouse", "operator copy"])
def test_a_share_is_by_readings_and_shares_add_up_to_the_file(settings: Settings, layer: str) -> None:
    files = {"warehouse": [settings.warehouse], "operator copy": kept(settings, "operator")}
    whole = sum(path.stat().st_size for path in files[layer])
    shares = measured(settings).loc[layer]
    assert shares["bytes"].sum() == whole
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        held = dict(connection.execute("select tenant_id, count(*) from main.fct_readings group by 1").fetchall())
    assert shares["reading_count"].to_dict() == held
    for tenant, share in shares["bytes"].items():
        assert share == pytest.approx(whole * held[tenant] / sum(held.values()), abs=1)


def test_all_versions_kept_of_a_snapshot_count_and_the_copy_for_the_next(settings: Settings) -> None:
    snapshots = measured(settings).loc["snapshots"]["bytes"]
    for tenant in TENANTS:
        versions = kept(settings, tenant)
        assert len(versions) == (3 if tenant == "nyc-airports" else 2)
        assert snapshots[tenant] == sum(path.stat().st_size for path in versions)


def test_parts_add_up_to_the_whole() -> None:
    parts = shared(1000, {"a": 1, "b": 1, "c": 1, "none": 0})
    assert sum(parts.values()) == 1000 and parts["none"] == 0
    assert shared(1000, {}) == shared(1000, {"a": 0}) == {}


def test_the_last_measurement_of_a_day_stands(settings: Settings) -> None:
    before = measured(settings)
    with ledger(settings) as connection:
        connection.execute("insert into storage_measurements values (?, 'gone', 'lake', 1, 1)", (now()[:10],))
        connection.execute("insert into storage_measurements values ('2014-01-01', 'gone', 'lake', 1, 1)")
    measure(settings)
    kept = rows(settings, "select * from storage_measurements where tenant_id = 'gone'")
    with ledger(settings) as connection:
        connection.execute("delete from storage_measurements where tenant_id = 'gone'")
    assert [one["day"] for one in kept] == ["2014-01-01"]
    pd.testing.assert_frame_equal(measured(settings), before)


def daily_readings(settings: Settings, tenant: str) -> pd.Series:
    """Rows of the lake by UTC day, silent days included."""
    files = (settings.lake_readings / f"tenant_id={tenant}").rglob("*.parquet")
    instants = pd.concat(pq.ParquetFile(file).read(["measured_at"]).to_pandas()["measured_at"] for file in files)
    return instants.dt.tz_convert("UTC").dt.floor("D").value_counts().sort_index().asfreq("D", fill_value=0)


@pytest.mark.parametrize("tenant", TENANTS)
def test_the_projection_equals_an_independent_computation(settings: Settings, tenant: str) -> None:
    days = daily_readings(settings, tenant)
    history = days.iloc[:-1] if len(days) > 1 else days
    if (history > 0).sum() > 90:
        history = history.loc[history[history > 0].index[-90] :]
    found = cube(settings).query("tenant_id == @tenant").set_index("layer")
    assert (found["history_days"] == len(history)).all()
    per_reading = found["storage_bytes"] / days.sum()
    np.testing.assert_allclose(found["bytes_per_reading"], per_reading, rtol=1e-12)
    np.testing.assert_allclose(found["growth_bytes_per_day"], history.mean() * per_reading, rtol=1e-9)
    for name, ahead in (("1_year", 365), ("5_years", 1825)):
        middle = found["storage_bytes"] + ahead * history.mean() * per_reading
        np.testing.assert_allclose(found[f"storage_bytes_in_{name}"], middle, rtol=1e-9)
        low, high = found[f"storage_bytes_in_{name}_low"], found[f"storage_bytes_in_{name}_high"]
        if len(history) < 7:
            assert low.isna().all() and high.isna().all()
            continue
        # t from scipy; the mart's own comes from a series that is good to a thousandth
        wide = stats.t.ppf(0.975, len(history) - 1) * history.std(ddof=1) * np.sqrt(ahead + ahead**2 / len(history))
        np.testing.assert_allclose(high - middle, wide * per_reading, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(low, np.maximum(middle - wide * per_reading, found["storage_bytes"]), rtol=1e-3)


def test_a_plans_price_is_that_of_all_layers_together(settings: Settings) -> None:
    found = cube(settings)
    by_tenant = found.groupby("tenant_id").sum(numeric_only=True, min_count=1)
    millions_a_month = found.groupby("tenant_id")["readings_per_day"].first() * 365 / 12 / 1e6
    for ahead in ("", "_in_1_year", "_in_5_years"):
        gigabytes, price = by_tenant[f"storage_bytes{ahead}"] / 1e9, by_tenant[f"price_per_month{ahead}"]
        expected = 490 + (gigabytes["la-haute-borne"] - 0.000001) * 250000 + millions_a_month["la-haute-borne"] * 2
        assert price["la-haute-borne"] == pytest.approx(expected)
        assert gigabytes["nyc-airports"] < 5, "included"
        assert price["nyc-airports"] == pytest.approx(millions_a_month["nyc-airports"] * 1500)
    assert np.isnan(by_tenant.loc["nrel-pv", "price_per_month"]), "no plan, no price"


def test_a_shorter_retention_saves_what_is_older(settings: Settings) -> None:
    days = daily_readings(settings, "la-haute-borne")
    found = cube(settings).query("tenant_id == 'la-haute-borne'").set_index("layer")
    older = 1 - days.iloc[-90:].sum() / days.sum()
    assert 0 < older < 1
    for layer in ("lake", "archive"):
        assert found["bytes_saved_if_kept_90_days"][layer] == pytest.approx(found["storage_bytes"][layer] * older)
        assert found["bytes_saved_if_kept_1_year"][layer] == 0
        in_5_years = found["storage_bytes_in_5_years"][layer] - 90 * found["growth_bytes_per_day"][layer]
        assert found["bytes_saved_in_5_years_if_kept_90_days"][layer] == pytest.approx(in_5_years)
        price = found["bytes_saved_if_kept_90_days"][layer] / 1e9 * 250000
        assert found["price_saved_if_kept_90_days"][layer] == pytest.approx(price)
    assert found.loc[["warehouse", "snapshots"], "bytes_saved_if_kept_90_days"].isna().all()


def test_a_tenants_snapshot_holds_its_own_bytes_and_the_operators_holds_what_all_see(settings: Settings) -> None:
    every = "select tenant_id, layer, storage_bytes, price_per_month from cube_storage_daily order by all"
    seen = []
    for tenant in TENANTS:
        assert current_snapshot(settings, tenant) is not None
        found = query(settings, every, tenant).rows
        assert {row[0] for row in found} == {tenant}
        seen += found
    assert query(settings, every).rows == sorted(seen)
