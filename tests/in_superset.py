"""What runs in Superset's Python is tested there: scripts with superset/security first on their path."""

import os
import subprocess
from pathlib import Path
from typing import Any

from orchestration.settings import ROOT

SUPERSET_PYTHON = ROOT / ".venv-superset" / "bin" / "python"
SECURITY = ROOT / "superset" / "security"

# Before scripts about caches: what is kept belongs to whom, for any cache and its every way in.
CACHES = """
import sys
from pathlib import Path
import tenancy, tenant_cache
caller = None
def caller_snapshot():
    if caller is None:
        raise tenancy.UnknownCaller("nobody")
    return tenancy.Snapshot(caller[0], Path("x"), None, caller[1])
tenant_cache.caller_snapshot = caller_snapshot
tenant_cache.caller_tenant = lambda: caller_snapshot().tenant_id
def require_apart(cache, outlives_snapshots, *further_ways_in):
    global caller
    caller = ("north", "v1")
    assert cache.set("question", "northern") and cache.get("question") == "northern" and cache.has("question")
    caller = ("south", "v1")
    assert cache.get("question") is None and not cache.has("question"), "another tenant was answered"
    cache.delete("question")
    assert cache.add("question", "southern") and cache.get("question") == "southern"
    caller = ("north", "v2")
    assert cache.get("question") == ("northern" if outlives_snapshots else None), "an older snapshot answered"
    caller = None
    for attempt in (lambda: cache.get("question"), lambda: cache.set("question", 1), lambda: cache.has("question"),
                    lambda: cache.delete("question"), lambda: cache.add("question", 1), *further_ways_in):
        try:
            attempt()
        except tenancy.UnknownCaller:
            continue
        raise AssertionError("the unknown reached the cache")
    caller = ("north", "v1")
    assert cache.get("question") == "northern", "another tenant removed it"
"""


def in_superset(script: str, *arguments: str | Path, **environment: Any) -> subprocess.CompletedProcess:
    """Run the script there; its output as text."""
    return subprocess.run(
        [SUPERSET_PYTHON, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": str(SECURITY)} | {name: str(value) for name, value in environment.items()},
        capture_output=True,
        text=True,
        check=False,
    )


def require_success(script: str, *arguments: str | Path, **environment: Any) -> None:
    """Run the script there; fails with what it said when it does not end well."""
    done = in_superset(script, *arguments, **environment)
    assert done.returncode == 0, done.stderr
