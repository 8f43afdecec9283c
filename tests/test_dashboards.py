"""Dashboards are source code: proved against the marts' own YAML, without a server."""

import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from orchestration.settings import ROOT

sys.path.insert(0, str(ROOT / "superset"))
import bundle as bundles
from import_files import import_files
from problems import AssetError

MARTS = ROOT / "dbt_project" / "models" / "marts"
ASSETS = ROOT / "superset" / "assets"


@pytest.fixture(scope="module")
def bundle() -> bundles.Bundle:
    return bundles.Bundle(ASSETS, MARTS)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the assets, free to be broken."""
    return Path(shutil.copytree(ASSETS, tmp_path / "assets"))


def test_every_reference_of_the_shipped_dashboards_holds(bundle: bundles.Bundle) -> None:
    boards = {"fleet-overview", "device-explorer", "data-quality", "fleet-pocket"}
    assert set(bundle.dashboards) == boards | {"reliability-and-cost", "storage-and-price"}
    assert {slug for board in bundle.dashboards.values() for slug in board.charts} == set(bundle.charts)


def test_every_published_mart_is_a_dataset_with_its_columns_and_metrics(bundle: bundles.Bundle) -> None:
    documents = import_files(bundle)
    for path in MARTS.glob("*.yml"):
        declared = yaml.safe_load(path.read_text())
        tables = [table for source in declared.get("sources", []) for table in source["tables"]]
        for model in declared.get("models", []) + tables:
            document = yaml.safe_load(documents[f"datasets/{model['name']}.yaml"])
            assert [column["column_name"] for column in document["columns"]] == [c["name"] for c in model["columns"]]
            assert all(column["verbose_name"] for column in document["columns"])


def test_dashboards_limited_to_some_are_dashboards(bundle: bundles.Bundle) -> None:
    limited = yaml.safe_load((ROOT / "superset" / "security" / "roles.yml").read_text())["dashboards"]
    assert limited == {"storage-and-price": ["operator"]}
    assert limited.keys() <= bundle.dashboards.keys()


def test_every_dashboard_is_an_exposure_of_the_marts_that_it_shows(bundle: bundles.Bundle) -> None:
    declared = yaml.safe_load((MARTS / "_exposures.yml").read_text())["exposures"]
    found = {one["name"]: set(re.findall(r"'(\w+)'\)", " ".join(one["depends_on"]))) for one in declared}
    shown = {}
    for slug, dashboard in bundle.dashboards.items():
        datasets = [bundle.charts[chart].dataset for chart in dashboard.charts]
        names = " ".join(dataset.sql or f"from {dataset.slug}" for dataset in datasets)
        shown[slug.replace("-", "_")] = set(re.findall(r"from (\w+)", names)) & set(bundle.models)
    assert found == shown


def test_the_same_files_give_the_same_bundle(bundle: bundles.Bundle) -> None:
    assert import_files(bundles.Bundle(ASSETS, MARTS)) == import_files(bundle)


def test_no_uuid_stands_in_a_file_of_the_assets() -> None:
    for path in ASSETS.rglob("*.yml"):
        assert "uuid" not in path.read_text().lower(), path


def test_no_chart_looks_back_from_today(bundle: bundles.Bundle) -> None:
    assert {chart.params["time_range"] for chart in bundle.charts.values()} == {"No filter"}


def test_no_column_name_is_shown_to_a_viewer(bundle: bundles.Bundle) -> None:
    for chart in bundle.charts.values():
        assert "_" not in chart.title + chart.description, chart.slug
    for dataset in bundle.datasets.values():
        for shown in [*dataset.columns.values(), *dataset.metrics.values()]:
            assert "_" not in shown.label, f"{dataset.slug}.{shown.name}"


POCKET, ISSUES, WORST = "dashboards/fleet-pocket.yml", "charts/pocket-issues.yml", "charts/pocket-worst.yml"
BREAKAGES = {
    "a chart of no dataset": (WORST, "dataset: cube_devices_recent", "dataset: cube_devices", "there is no dataset"),
    "a dashboard of no chart": (POCKET, "chart: pocket-worst", "chart: pocket-wurst", "there is no chart"),
    "a column that no mart has": (WORST, "main_issue", "main_isue", "not in cube_devices_recent"),
    "a metric that no mart has": (ISSUES, "devices_with_issues", "issues", "not in cube_devices_recent"),
    "a filter over no column": (POCKET, "tenant_name", "tenant", "not in cube_fleet_recent"),
    "a row that is too wide": (POCKET, "width: 12}", "width: 13}", "at most 12"),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_broken_reference_is_refused_with_file_and_remedy(copy: Path, name: str) -> None:
    file, old, new, complaint = BREAKAGES[name]
    (copy / file).write_text((copy / file).read_text().replace(old, new))
    with pytest.raises(AssetError, match=complaint) as error:
        bundles.Bundle(copy, MARTS)
    assert Path(file).name in str(error.value)


def test_a_chart_that_no_dashboard_shows_is_refused(copy: Path) -> None:
    shutil.copy(copy / "charts" / "pocket-worst.yml", copy / "charts" / "left-over.yml")
    with pytest.raises(AssetError, match=r"left-over.yml: no dashboard shows this chart"):
        bundles.Bundle(copy, MARTS)
