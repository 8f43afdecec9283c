"""Boundaries, as a table: who may import whom; and that importing the project connects to nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.settings import ROOT

FORBIDDEN = [
    # package or module, what it must not import anywhere, what it must not import at module top
    ("orchestration/defs", set(), {"great_expectations"}),
    ("orchestration", {"dagster", "dagster_dbt", "great_expectations", "superset"}, set()),
    ("expectations", {"dagster", "dagster_dbt", "superset", "dbt"}, set()),
]
ALLOWED_TOP = {
    "expectations/suites.py": {"great_expectations"},
    "expectations/data_docs/__init__.py": {"great_expectations"},
}


def modules(package: str) -> list[Path]:
    paths = sorted((ROOT / package).rglob("*.py"))
    return [path for path in paths if package != "orchestration" or "defs" not in path.parts]


def imported(nodes: list[ast.stmt] | ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(nodes) if isinstance(nodes, ast.AST) else nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize(("package", "anywhere", "at_top"), FORBIDDEN, ids=[row[0] for row in FORBIDDEN])
def test_boundaries_hold(package: str, anywhere: set[str], at_top: set[str]) -> None:
    for path in modules(package):
        tree = ast.parse(path.read_text())
        assert not imported(tree) & anywhere, path
        assert not imported(tree.body) & at_top, path


def test_great_expectations_is_imported_only_where_it_runs() -> None:
    for path in modules("orchestration") + modules("expectations"):
        allowed = ALLOWED_TOP.get(str(path.relative_to(ROOT)), set())
        top = imported(ast.parse(path.read_text()).body)
        assert "great_expectations" not in top or "great_expectations" in allowed, path


def test_importing_the_command_line_connects_to_nothing_and_writes_nothing(tmp_path: Path) -> None:
    watch = (
        "import sys, socket\n"
        "def refuse(*a, **k): raise AssertionError('connected at import')\n"
        "socket.socket.connect = refuse\n"
        "import orchestration.cli, orchestration.run, orchestration.demo, orchestration.status\n"
        "assert 'great_expectations' not in sys.modules and 'dagster' not in sys.modules\n"
    )
    home = tmp_path / "never-made"
    done = subprocess.run(
        [sys.executable, "-c", watch],
        env={"FLEETMART_HOME": str(home), "PATH": "/usr/bin:/bin"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not home.exists()


def test_superset_is_a_folder_and_no_package() -> None:
    assert not (ROOT / "superset" / "__init__.py").exists()
    assert not (ROOT / "tests" / "superset").exists()
