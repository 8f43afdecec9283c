"""The models: their unit tests pass, each mart's contract is enforced, each column says what it is."""

import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import duckdb
import pytest

from orchestration.dbt_process import DBT, DBT_PROJECT, dbt_environment
from orchestration.marts_document import marts_document
from orchestration.settings import ROOT, Settings


@pytest.fixture(scope="module")
def manifest(demo_settings: Settings) -> dict:
    return json.loads((demo_settings.dbt_target / "manifest.json").read_text())


def marts(manifest: dict) -> list[dict]:
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    return [node for node in models if node["path"].startswith("marts/")]


def test_the_models_own_tests_pass(demo_settings: Settings, tmp_path: Path) -> None:
    """Hard cases in unit tests; keys and relationships in the demo's marts, whose last build is done once more."""
    settings = Settings(home=tmp_path)
    shutil.copyfile(demo_settings.warehouse, settings.warehouse)
    done = subprocess.run(
        [DBT, "build", "--project-dir", str(DBT_PROJECT)],
        env=os.environ | dbt_environment(settings),
        cwd=DBT_PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    results = json.loads((settings.dbt_target / "run_results.json").read_text())["results"]
    found = Counter(result["unique_id"].split(".")[0] for result in results if result["status"] == "pass")
    assert found["unit_test"] > 30 and found["test"] > 50


def test_rows_of_a_model_are_told_apart_by_its_unique_key(manifest: dict, demo_settings: Settings) -> None:
    """Builds and publishes replace rows by it."""
    keyed = [node for node in marts(manifest) if node["config"]["unique_key"]]
    assert len(keyed) >= 10
    with duckdb.connect(str(demo_settings.warehouse), read_only=True) as connection:
        for node in keyed:
            keys = ", ".join(node["config"]["unique_key"])
            repeated = f"select {keys} from main.{node['name']} group by all having count(*) > 1"
            assert connection.execute(repeated).fetchall() == [], node["name"]


def test_every_model_states_its_grain_and_every_mart_proves_a_hard_case(manifest: dict) -> None:
    proved = {test["model"] for test in manifest["unit_tests"].values()}
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    assert len(models) > 30
    for node in models:
        assert node["description"].strip().startswith("One row per "), node["name"]
    assert {node["name"] for node in marts(manifest)} - proved == set(), "marts without a unit test"


def test_every_marts_contract_is_enforced_and_every_column_is_described(manifest: dict) -> None:
    found = marts(manifest)
    assert len(found) >= 12
    for node in found:
        assert node["config"]["contract"]["enforced"], node["name"]
        assert node["description"].startswith("One row per "), node["name"]
        for column in node["columns"].values():
            assert column["data_type"] and column["description"], (node["name"], column["name"])
            assert column["config"]["meta"]["label"], (node["name"], column["name"])


def test_the_document_of_the_marts_is_what_their_yaml_says() -> None:
    written = (ROOT / "docs" / "marts.md").read_text()
    assert written == marts_document(), "run `make docs`"
    assert "## loads\n" in written and "## cube_fleet_daily\n" in written
