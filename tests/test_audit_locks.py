"""The check of the locks: what fails, what may stand until when, and what is said where nobody can be asked."""

import importlib.util
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from types import ModuleType

import pytest

from orchestration.settings import ROOT

SCRIPT = ROOT / ".ci" / "audit_locks.py"
KNOWN = {"id": "GHSA-1", "aliases": ["CVE-1"], "fix_versions": ["3.1.6"]}
FOUND = {"name": "jinja2", "version": "3.1.5", "vulns": [KNOWN]}
UNKNOWN = {"name": "jinja2", "skip_reason": "Dependency not found on PyPI and could not be audited"}


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with one lock."""
    specification = importlib.util.spec_from_file_location("audit_locks", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "audit_locks", module)
    specification.loader.exec_module(module)
    monkeypatch.setattr(module, "LOCKS", ("requirements.lock",))
    return module


def answered(check: ModuleType, monkeypatch: pytest.MonkeyPatch, *packages: dict, error: str = "") -> None:
    """Let pip-audit have said this."""
    said = "" if error else json.dumps({"dependencies": packages})
    done = subprocess.CompletedProcess([], 1, said, error)
    monkeypatch.setattr(check.subprocess, "run", lambda *arguments, **named: done)


def test_what_a_newer_version_mends_fails(check, monkeypatch, capsys) -> None:
    answered(check, monkeypatch, FOUND)
    assert check.main() == 1
    assert "FAIL: requirements.lock: jinja2 3.1.5: GHSA-1, CVE-1, mended in 3.1.6" in capsys.readouterr().out


@pytest.mark.parametrize(("until", "exit_code"), [("9999-01-01", 0), ("2020-01-01", 1)])
def test_what_is_accepted_stands_until_its_day(check, monkeypatch, tmp_path: Path, until: str, exit_code: int) -> None:
    answered(check, monkeypatch, FOUND)
    accepted = tmp_path / "accepted.yml"
    accepted.write_text(f"- {{id: CVE-1, until: {until}, why: no template comes from anybody}}")
    monkeypatch.setattr(check, "ACCEPTED", ROOT / accepted)
    monkeypatch.setattr(check, "ROOT", Path("/"))
    assert check.main() == exit_code


def test_what_no_version_mends_is_told_and_stands(check, monkeypatch, capsys) -> None:
    answered(check, monkeypatch, {**FOUND, "vulns": [{**KNOWN, "fix_versions": []}]})
    assert check.main() == 0
    assert "known: requirements.lock: jinja2 3.1.5: GHSA-1, CVE-1, mended in no version yet" in capsys.readouterr().out


def test_a_service_that_knows_no_package_was_not_asked(check, monkeypatch, capsys) -> None:
    answered(check, monkeypatch, UNKNOWN)
    assert check.main() == 0
    assert "nobody could be asked" in capsys.readouterr().out


def test_a_failure_of_another_kind_fails(check, monkeypatch) -> None:
    answered(check, monkeypatch, error="requirement jinja2 does not contain a hash")
    with pytest.raises(RuntimeError, match="does not contain a hash"):
        check.main()


def test_an_entry_without_a_reason_is_refused(check, tmp_path: Path) -> None:
    accepted = tmp_path / "accepted.yml"
    accepted.write_text(f"- {{id: CVE-1, until: {date.max}, why: ''}}")
    with pytest.raises(ValueError, match="CVE-1"):
        check.read_accepted(accepted)


def test_offline_it_says_that_nobody_could_be_asked_and_passes(tmp_path: Path) -> None:
    """For real: the way out leads nowhere."""
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, SCRIPT], env=os.environ | nowhere, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "nobody could be asked" in done.stdout
