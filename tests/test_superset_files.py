"""The dashboards' files without Superset: everything wrong in them is said at once, and hand-made changes come back."""

import copy
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration.people import ensure_credentials, forget_log_ins
from orchestration.settings import ROOT, Settings
from tests.conftest import run_fleetmart

sys.path.insert(0, str(ROOT / "superset" / "embedding"))
sys.path.insert(0, str(ROOT / "superset" / "branding"))
sys.path.insert(0, str(ROOT / "superset" / "security"))
sys.path.insert(0, str(ROOT / "superset"))
import declared_roles
from alert_files import read_alerts, tenant_alerts
from bundle import Bundle
from check_files import check_files, metric_problems
from differences import differences
from problems import AssetError
from pull_files import PullError, pull_files
from wanted_state import assets_state

MARTS = ROOT / "dbt_project" / "models" / "marts"
ASSETS = ROOT / "superset" / "assets"
Pull = Callable[..., Bundle]


@pytest.fixture(scope="module")
def made() -> dict[str, dict[str, Any]]:
    """What the shipped files make."""
    return assets_state(Bundle(ASSETS, MARTS))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A copy of the assets, free to be changed."""
    return Path(shutil.copytree(ASSETS, tmp_path / "assets"))


@pytest.fixture
def pull(files: Path, made: dict[str, dict[str, Any]]) -> Pull:
    """Pulls a dashboard that was changed by hand; what the files make then is what it is now."""

    def pull(slug: str, change: Callable[[dict, dict], None], own: dict | None = None) -> list[str]:
        dashboard = copy.deepcopy(made[f"dashboard {slug}"])
        shown = [cell["chart"] for row in dashboard["rows"] for cell in row["cells"] if "chart" in cell]
        charts = {chart: copy.deepcopy(made[f"chart {chart}"]) for chart in shown}
        change(dashboard, charts)
        pulled = pull_files(files, MARTS, slug, {"dashboard": dashboard, "charts": charts, "own": own or {}})
        now = assets_state(Bundle(files, MARTS))
        assert {chart: now[f"chart {chart}"] for chart in charts} == charts
        assert own or now[f"dashboard {slug}"] == dashboard
        return sorted(path.name for path in pulled.files)

    return pull


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_shipped_files_are_in_order() -> None:
    done = run_fleetmart(Path("/nowhere"), "superset", "validate", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"problems": []}), done.stderr


def test_everything_that_is_wrong_is_said_at_once_with_its_place(files: Path) -> None:
    edit(files / "charts" / "pocket-worst.yml", "main_issue", "main_isue")
    edit(files / "charts" / "pocket-issues.yml", "dataset: cube_devices_recent", "dataset: cube_devises_recent")
    edit(files / "charts" / "storage-now.yml", "{column: is_latest", "{column: is_last")
    edit(
        files / "dashboards" / "fleet-pocket.yml", "chart: pocket-changes, width: 12", "chart: pocket-change, width: 13"
    )
    edit(files / "dashboards" / "data-quality.yml", "/superset/dashboard/fleet-overview/", "/superset/dashboard/fleet/")
    edit(files / "dashboards" / "device-explorer.yml", "column: tenant_name", "column: tenant")
    edit(files / "dashboards" / "device-explorer.yml", "sorted_by: tenant_order", "sorted_by: order")
    edit(files / "datasets" / "loads_named.yml", "columns: [tenant_name]", "columns: [tenant]")
    (files / "charts" / "left-over.yml").write_text("title: Left over\nviz: tabel\ndataset: loads_named\nsort: up\n")
    found = {(one.file, one.where) for one in check_files(files, MARTS)}
    assert found >= {
        ("charts/pocket-worst.yml", "params.all_columns"),
        ("charts/pocket-issues.yml", "dataset"),
        ("charts/storage-now.yml", "where[0]"),
        ("dashboards/fleet-pocket.yml", "rows[6]"),
        ("dashboards/data-quality.yml", "rows[0].cells[0]"),
        ("dashboards/device-explorer.yml", "filters[0]"),
        ("dashboards/device-explorer.yml", "filters[1]"),
        ("datasets/loads_named.yml", "names.dim_tenants.columns"),
        ("charts/left-over.yml", ""),
    }
    # what a broken dataset or chart would have made is not missed elsewhere as well
    assert {file for file, _ in found} == {
        "charts/pocket-worst.yml", "charts/pocket-issues.yml", "charts/storage-now.yml", "charts/left-over.yml",
        "charts/pocket-changes.yml", "dashboards/fleet-pocket.yml", "dashboards/data-quality.yml",
        "dashboards/device-explorer.yml", "datasets/loads_named.yml",
    }  # fmt: skip


def test_validate_says_what_is_wrong_and_exits_with_1(files: Path, tmp_path: Path) -> None:
    edit(files / "charts" / "pocket-worst.yml", "main_issue", "main_isue")
    done = run_fleetmart(tmp_path / "home", "superset", "validate", FLEETMART_ASSETS=str(files))
    assert done.returncode == 1 and not (tmp_path / "home").exists()
    assert done.stdout.startswith("charts/pocket-worst.yml, params.all_columns: all_columns names column 'main_isue'")
    assert "Known are: " in done.stdout


@pytest.mark.parametrize("text", ["title: [", "- a list", "title: 7\nrows: none\n", "rows: []\n"])
def test_a_file_of_no_form_is_a_problem_and_no_crash(files: Path, text: str) -> None:
    (files / "dashboards" / "fleet-pocket.yml").write_text(text)
    assert "dashboards/fleet-pocket.yml" in {one.file for one in check_files(files, MARTS)}


def test_a_metric_that_its_mart_cannot_answer_is_found(made: dict) -> None:
    bundle = Bundle(ASSETS, MARTS)
    dataset = bundle.datasets["cube_fleet_recent"]
    metric = next(iter(dataset.metrics.values()))
    broken = dict(dataset.metrics) | {"broken": type(metric)("broken", "Broken", "sum(no_such_column)", "")}
    found = list(metric_problems({"cube_fleet_recent": type(dataset)(**vars(dataset) | {"metrics": broken})}))
    assert [one.where for one in found] == ["metric broken"] and "no_such_column" in found[0].problem


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("executive: [look, filter", "executive: [look, filters", "personas.executive"),
        ("[can_read, Chart]", "[can_read]", "sets.look[1]"),
        ("storage-and-price: [operator]", "storage: [operator]", "dashboards.storage"),
        ("storage-and-price: [operator]", "storage-and-price: [nobody]", "dashboards.storage-and-price"),
        ("  download:\n", "  upload:\n", "sets.upload"),
    ],
)
def test_roles_that_name_what_is_not_there_are_found(
    old: str, new: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roles = Path(shutil.copy(declared_roles.ROLES, tmp_path))
    edit(roles, old, new)
    monkeypatch.setattr(declared_roles, "ROLES", roles)
    assert place in {one.where for one in check_files(ASSETS, MARTS, ["nyc-airports"])}


ALERT = {
    "title": "Too few", "description": "Too few readings.", "dataset": "cube_fleet_recent", "asks": "readings",
    "condition": {"is": "<", "value": 5}, "schedule": "0 7 * * *", "tells": ["steward"], "opens": "fleet-overview",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "place", "told"),
    [
        ({"dataset": "cube_fleet"}, "dataset", "there is no dataset 'cube_fleet'. Known are: cube_activity_daily"),
        ({"asks": "reading"}, "asks", "there is no metric 'reading' in cube_fleet_recent. Known are: availability"),
        ({"asks": {"of": "tenant", "is": "MAX"}}, "asks", "there is no column 'tenant'"),
        ({"asks": {"of": "valid_count", "is": "MEDIAN"}}, "asks", "'MEDIAN' is no aggregate. Known are: AVG"),
        ({"asks": "data_as_of"}, "asks", "asks for no number"),
        ({"asks": {"of": "site_name", "is": "AVG"}}, "", "cannot be read: Binder Error"),
        ({"where": [{"column": "days", "is": "==", "value": 0}]}, "where[0]", "where names column 'days'"),
        ({"where": [{"column": "site_id", "is": "IN", "value": "x"}]}, "where[0]", "IN cannot compare with 'x'"),
        ({"condition": {"is": "under", "value": 5}}, "condition", "'under' is no comparison. Known are: !=, <,"),
        ({"condition": {"is": "<", "value": "5 %"}}, "condition", "must be {is: <, value: a number}"),
        ({"condition": {"is": "<", "value": float("nan")}}, "condition", "must be {is: <, value: a number}"),
        ({"condition": {"is": ["<"], "value": 5}}, "condition", "['<'] is no comparison"),
        ({"schedule": "daily"}, "schedule", "'daily' is no schedule"),
        ({"schedule": "0 25 * * *"}, "schedule", "'0 25 * * *' is no schedule"),
        ({"tells": ["guest"]}, "tells", "there is no persona 'guest' that looks at dashboards. Known are: analyst"),
        ({"tells": []}, "tells", "names nobody"),
        ({"opens": "storage-and-price"}, "opens", "'storage-and-price' is no dashboard that every tenant opens."),
        ({"sql": "select 1"}, "", "says sql, which means nothing here."),
    ],
)
def test_an_alert_that_names_what_is_not_there_is_found(
    change: dict[str, Any], place: str, told: str, files: Path
) -> None:
    path = files / "alerts" / "too-few.yml"
    path.write_text(yaml.safe_dump(ALERT | change))
    (found,) = check_files(files, MARTS)
    assert (found.file, found.where) == ("alerts/too-few.yml", place) and told in str(found)


def test_an_alerts_question_is_made_of_declared_names_and_of_values_that_stay_values(files: Path) -> None:
    where = [
        {"column": "site_name", "is": "IN", "value": ["O'Hare", "' or 1 = 1 --"]},
        {"column": "valid_share", "is": "<", "value": 0.5},
        {"column": "completeness", "is": "IS NOT NULL"},
    ]
    asks = {"of": "site_id", "is": "COUNT_DISTINCT"}
    (files / "alerts" / "too-few.yml").write_text(yaml.safe_dump(ALERT | {"asks": asks, "where": where}))
    assert check_files(files, MARTS) == []
    (alert,) = [one for one in read_alerts(Bundle(files, MARTS)) if one.slug == "too-few"]
    assert alert.sql == (
        'select count(distinct "site_id") as value from "cube_fleet_recent" as asked '
        "where \"site_name\" in ('O''Hare', ''' or 1 = 1 --') and \"valid_share\" < 0.5 "
        'and "completeness" is not null'
    )


def test_each_tenant_but_the_operator_has_each_alert_of_its_own() -> None:
    users = [
        {"username": f"{tenant}-{role}", "role": role, "tenant": tenant}
        for tenant in ("operator", "nyc-airports", "nrel-pv")
        for role in ("executive", "steward")
    ]
    made = tenant_alerts(read_alerts(Bundle(ASSETS, MARTS)), users)
    assert {(one.tenant, one.username) for one in made} == {
        ("nyc-airports", "nyc-airports-steward"), ("nrel-pv", "nrel-pv-steward"),
    }  # fmt: skip
    assert len({one.name for one in made}) == len(made) == 2 * len(list((ASSETS / "alerts").glob("*.yml")))


def test_each_tenant_but_the_operator_has_a_row_rule() -> None:
    rules = declared_roles.row_rules({"operator", "north", "south"})
    assert [(rule.clause, rule.role) for rule in rules] == [
        ("tenant_id = 'north'", "tenant:north"),
        ("tenant_id = 'south'", "tenant:south"),
    ]


def test_log_ins_of_a_tenant_that_left_wait_for_it_until_it_is_removed(small: Callable[..., Settings]) -> None:
    settings = small()
    tenants = settings.registry / "tenants.csv"
    without = tenants.read_text()

    def log_ins(registered: str) -> list[dict[str, str]]:
        tenants.write_text(registered)
        return [user for user in ensure_credentials(settings) if user["tenant"] == "north-wind"]

    first = log_ins(f"{without}north-wind,North Wind,Wind power,\n")
    assert first and log_ins(without) == []
    assert log_ins(tenants.read_text() + "north-wind,North Wind,Wind power,\n") == first
    log_ins(without)
    forget_log_ins(settings, "north-wind")
    assert "north-wind" not in settings.credentials.read_text()


def test_differences_are_told_field_by_field() -> None:
    wanted = {"a": {"same": 1, "was": 1, "gone": {"x": 1}, "rows": [{"n": 1}]}, "missing": {}}
    present = {"a": {"same": 1, "was": 2, "new": 3, "rows": [{"n": 1}, {"n": 2}]}, "other": {}}
    assert sorted(map(str, differences(wanted, present))) == [
        "a: gone removed: {'x': 1}",
        "a: new added: 3",
        "a: rows[1] added: {'n': 2}",
        "a: was: 1 → 2",
        "missing: missing in Superset",
        "other: only in Superset",
    ]
    assert differences(wanted, wanted) == []


def test_nothing_changed_by_hand_writes_nothing(pull: Pull) -> None:
    for slug in ("fleet-pocket", "device-explorer", "data-quality", "storage-and-price"):
        assert pull(slug, lambda dashboard, charts: None) == []


def test_a_layout_made_by_hand_comes_back_and_nothing_else_in_the_file_moves(pull: Pull, files: Path) -> None:
    path = files / "dashboards" / "fleet-pocket.yml"
    trend = "  - height: 30\n    cells:\n      - {chart: pocket-completeness-trend"
    edit(path, trend, f"  # the trend, on its own\n{trend}")
    before = path.read_text().splitlines()

    def change(dashboard: dict, charts: dict) -> None:
        dashboard["title"] = "Fleet in your pocket"
        dashboard["rows"][0]["cells"].reverse()
        dashboard["rows"][4]["cells"][0] |= {"height": 40, "width": 11}
        dashboard["filters"]["Site"] = {
            "kind": "select", "dataset": "cube_devices_recent", "column": "site_name", "single": False,
            "under": ["Tenant"],
        }  # fmt: skip
        dashboard["order of filters"].append("Site")

    assert pull("fleet-pocket", change) == ["fleet-pocket.yml"]
    after = path.read_text().splitlines()
    assert "  # the trend, on its own" in after
    assert "  - {name: Site, dataset: cube_devices_recent, column: site_name, under: [Tenant]}" in after
    assert "      - {chart: pocket-headline-trend, width: 11}" in after
    assert "  - height: 40" in after
    assert len(after) == len(before) + 1 and len([line for line in before if line not in after]) == 3


def test_a_chart_changed_by_hand_comes_back_in_the_words_of_the_files(pull: Pull, files: Path) -> None:
    def change(dashboard: dict, charts: dict) -> None:
        charts["pocket-worst"]["params"]["row_limit"] = 7
        charts["pocket-completeness-trend"]["params"] |= {"markerEnabled": True, "zoomable": True}
        del charts["pocket-completeness-trend"]["params"]["tooltipTimeFormat"]
        charts["pocket-issues"]["where"] = [{"column": "site_name", "is": "==", "value": "Newark"}]

    assert pull("fleet-pocket", change) == ["pocket-completeness-trend.yml", "pocket-issues.yml", "pocket-worst.yml"]
    assert "  row_limit: 7\n" in (files / "charts" / "pocket-worst.yml").read_text()


def test_somebodys_own_chart_on_the_dashboard_becomes_a_file(pull: Pull, files: Path, made: dict) -> None:
    name = "somebody's own chart 'Our weather!' (99)"
    chart = copy.deepcopy(made["chart pocket-issues"]) | {"title": "Our weather!"}

    def change(dashboard: dict, charts: dict) -> None:
        dashboard["rows"].append({"cells": [{"chart": name, "width": 12, "height": 50, "phone": 12}]})

    written = pull("fleet-pocket", change, {name: {"id": 99, "form": chart}})
    assert written == ["fleet-our-weather.yml", "fleet-pocket.yml"]
    assert "- {width: 12, chart: fleet-our-weather}" in (files / "dashboards" / "fleet-pocket.yml").read_text()


@pytest.mark.parametrize(
    "change",
    [
        lambda dashboard, charts: dashboard["rows"].append({"type": "TABS"}),
        lambda dashboard, charts: dashboard["settings"].update(refresh_frequency=10),
        lambda dashboard, charts: (
            charts["pocket-worst"]["where"].append({"clause": "WHERE", "sqlExpression": "1 = 1"})
            if "where" in charts["pocket-worst"]
            else charts["pocket-worst"].update(where=[{"clause": "WHERE", "sqlExpression": "1 = 1"}])
        ),
    ],
    ids=["tabs", "a setting", "a condition in SQL"],
)
def test_what_the_files_have_no_words_for_is_refused_and_nothing_written(
    pull: Pull, files: Path, change: Callable
) -> None:
    before = {path: path.read_bytes() for path in files.rglob("*.*")}
    with pytest.raises((PullError, AssetError)):
        pull("fleet-pocket", change)
    assert {path: path.read_bytes() for path in files.rglob("*.*")} == before
