"""The command line and the documents: what they name exists, and answers as they say."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from orchestration.cli import main
from orchestration.registry import Registry, RegistryError
from orchestration.settings import ROOT, Settings
from tests.conftest import run_fleetmart

COMMANDS = {"demo", "load", "listen", "build", "gate", "publish", "run", "serve", "status", "sql"}
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

PERSONAS = ("executive", "analyst", "engineer", "steward", "tenant-admin")


def test_the_commands_are_those_of_the_design() -> None:
    assert set(main.commands) >= COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help_and_json(command: str, tmp_path: Path) -> None:
    done = run_fleetmart(tmp_path / "home", command, "--help")
    assert done.returncode == 0 and "--json" in done.stdout
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("command", ["status", "load"])
def test_an_empty_home_answers_with_one_object(command: str, tmp_path: Path) -> None:
    done = run_fleetmart(tmp_path / "home", command, "--json")
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), dict)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("build", "Nothing was loaded yet"),
        ("gate", "no finished build"),
        ("publish", "no finished build"),
        ("run", "Nothing was loaded yet"),
    ],
)
def test_a_step_before_its_time_says_which_comes_first(command: str, says: str, tmp_path: Path) -> None:
    done = run_fleetmart(tmp_path / "home", command)
    assert done.returncode == 1 and says in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["nonsense"], ["sql"], ["load", "--source", "lhb_scada"], ["status", "--what"]])
def test_wrong_usage_exits_with_2(arguments: list[str], tmp_path: Path) -> None:
    assert run_fleetmart(tmp_path / "home", *arguments).returncode == 2


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    done = run_fleetmart(tmp_path / "home", "status", FLEETMART_SUPERSET_PORT="high")
    assert done.returncode == 2 and "FLEETMART_SUPERSET_PORT" in done.stderr


def test_status_says_what_is_loaded_built_gated_published_and_served(fleetmart_home: Path) -> None:
    answer = json.loads(run_fleetmart(fleetmart_home, "status", "--json").stdout)
    tenants = ["la-haute-borne", "nrel-pv", "nyc-airports"]
    assert answer["loaded"]["readings"] > 670_000 and answer["loaded"]["waiting_files"] == 0
    assert answer["loaded"]["partitions_not_built"] == 0
    assert answer["built"]["status"] == "built" and answer["built"]["finished_at"]
    assert [row["tenant_id"] for row in answer["gated"]] == tenants
    assert [row["tenant_id"] for row in answer["published"]] == sorted([*tenants, "operator"])
    assert all(row["current"] == f"v{row['build_id']}.duckdb" for row in answer["published"])
    assert set(answer["served"]) == {"superset", "dagster"}


def test_sql_answers_from_the_tenants_own_snapshot(fleetmart_home: Path) -> None:
    done = run_fleetmart(
        fleetmart_home, "sql", "select distinct tenant_id from cube_fleet_daily", "--tenant", "nrel-pv", "--json"
    )
    assert json.loads(done.stdout) == {"columns": ["tenant_id"], "rows": [["nrel-pv"]]}


def test_a_demo_run_again_changes_nothing(fleetmart_home: Path) -> None:
    before = json.loads(run_fleetmart(fleetmart_home, "status", "--json").stdout)
    done = run_fleetmart(fleetmart_home, "demo", "--no-serve", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == before


def test_log_ins_are_generated_private_and_complete(fleetmart_home: Path, credentials: dict) -> None:
    users = credentials["users"]
    tenants = ["operator", *Registry(ROOT / "orchestration" / "registry").tenant_ids]
    wanted = {("admin", "operator")} | {(r, t) for t in tenants for r in PERSONAS}
    assert {(user["role"], user["tenant"]) for user in users} == wanted
    assert len({user["password"] for user in users}) == len(users) == len(wanted)
    assert all(len(user["password"]) >= 16 for user in users)
    for name in ("credentials.json", "secrets.json"):
        assert (fleetmart_home / name).stat().st_mode & 0o777 == 0o600


def test_a_registry_that_is_wrong_is_told_with_file_line_and_column(small: Callable[..., Settings]) -> None:
    settings = small()
    sites = settings.registry / "sites.csv"
    sites.write_text(sites.read_text().replace("Europe/Paris", "Europe/Atlantis"))
    done = run_fleetmart(settings.home, "sql", "select 1", FLEETMART_REGISTRY=str(settings.registry))
    assert done.returncode == 1
    assert re.search(r"sites\.csv, line \d+, timezone", done.stderr), done.stderr


@pytest.mark.parametrize(
    ("table", "old", "new", "says"),
    [
        (
            "device_model_metrics",
            ",active_power,kW,",
            ",active_power,dBm,",
            r"line 2, unit: unit 'dBm' of senvion-mm82",
        ),
        ("device_model_metrics", ",active_power,kW,", ",active_power,bananas,", r"line 2, unit: .*Write units as pint"),
        ("metrics", ",gauge,kW,number", ",gauge,mW,number", r"^$"),
        ("metrics", ",gauge,kW,number", ",gauge,,number", r"unit 'kW' of senvion-mm82 cannot become None"),
        ("metrics", "metric,metric_label,", "metric,name,", r"line 1, metric_label: there is no such column"),
        ("metrics", ",gauge,kW,number", ",gauge,kW,number,more", r"line \d+, row: the line has more fields"),
        ("headline_metrics", "wind_speed,2,", "wind_speed,1,", r"line 3, rank: rank 1 of la-haute-borne stands twice"),
    ],
)
def test_what_is_wrong_in_the_registry_is_told(
    table: str, old: str, new: str, says: str, small: Callable[..., Settings]
) -> None:
    settings = small()
    path = settings.registry / f"{table}.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    try:
        Registry(settings.registry)
        told = ""
    except RegistryError as error:
        told = str(error)
    assert re.search(says, told), told


def test_a_unit_that_is_not_named_is_the_metrics_own_one(small: Callable[..., Settings]) -> None:
    settings = small()
    path = settings.registry / "device_model_metrics.csv"
    path.write_text(path.read_text().replace(",active_power,kW,", ",active_power,,"))
    with duckdb.connect() as connection:
        Registry(settings.registry).write_to(connection, [])
        found = connection.execute(
            "select distinct unit_factor, unit_offset from registry.device_model_metrics where metric = 'active_power'"
        ).fetchall()
    assert found == [(1.0, 0.0)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_only_what_exists(document: Path) -> None:
    text = document.read_text()
    for command in re.findall(r"`?fleetmart ([a-z]+(?:-[a-z]+)*)", text):
        assert command in main.commands, f"{document.name} names `fleetmart {command}`"
    settings = {f"FLEETMART_{name.upper()}" for name in Settings.model_fields}
    for name in re.findall(r"FLEETMART_[A-Z_]+", text):
        assert name in settings, f"{document.name} names {name}"
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"
    made = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for target in re.findall(r"`make ([a-z]+)", text):
        assert target in made, f"{document.name} names `make {target}`"


def test_the_readme_names_every_setting() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in Settings.model_fields:
        assert f"FLEETMART_{name.upper()}" in readme, name


def test_locks_name_no_index_and_hash_everything() -> None:
    for lock in (ROOT / "requirements.lock", ROOT / "superset" / "requirements.lock"):
        text = lock.read_text()
        assert "://" not in text and "index" not in text.lower().replace("indexed", "")
        pinned = re.findall(r"^[a-z0-9._-]+==", text, re.M)
        assert len(pinned) > 100 and text.count("--hash=sha256:") >= len(pinned)


def test_the_samples_are_small_and_licensed() -> None:
    sample = ROOT / "orchestration" / "sample"
    assert sum(path.stat().st_size for path in sample.rglob("*") if path.is_file()) < 8_000_000
    told = (sample / "README.md").read_text()
    for folder in (path.name for path in sample.iterdir() if path.is_dir()):
        assert folder in told
    for words in ("Licence Ouverte 2.0", "CC0", "MIT", "ENGIE"):
        assert words in told


def test_the_tree_holds_no_generated_data_and_no_paths_of_a_machine() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert not [name for name in tracked if name.endswith((".duckdb", ".db", ".sqlite", ".pyc"))]
    assert {"requirements.lock", "README.md", "LICENSE", "Makefile"} <= set(tracked)
