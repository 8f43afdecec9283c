"""Superset's own code, asked in a process of its own: it has an environment of its own."""

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

from orchestration.child import bound
from orchestration.errors import FleetmartError
from orchestration.settings import ROOT

SUPERSET_PYTHON = ROOT / ".venv-superset" / "bin" / "python"
PROVISION = ROOT / "superset" / "provision.py"


def ask_superset(
    act: Iterable[str], environment: dict[str, str], report: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """What `superset/provision.py` answers to `act`; its progress is reported.

    Raises FleetmartError with its own words when it fails, or when its environment is missing.
    """
    if not SUPERSET_PYTHON.exists():
        raise FleetmartError(f"{SUPERSET_PYTHON} is missing: the dashboards' environment. Run `make setup`.")
    with (
        tempfile.TemporaryFile("w+") as answer,
        subprocess.Popen(
            bound([str(SUPERSET_PYTHON), str(PROVISION), *act]),
            env=environment,
            cwd=environment["FLEETMART_HOME"],
            stdout=answer,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        lines = []
        for line in process.stderr:
            lines.append(line.rstrip())
            if lines[-1].startswith("superset:"):
                report(lines[-1])
        if process.wait():
            raise FleetmartError(_what_failed(lines))
        answer.seek(0)
        return json.load(answer)


def _what_failed(lines: list[str]) -> str:
    """What the process said was wrong, else its last lines."""
    said = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    if said:
        return "\n".join([lines[said[0]].removeprefix("error: "), *lines[said[0] + 1 :]])
    return "Superset failed; it said last:\n" + "\n".join(lines[-15:])
