"""What a steward does at the desk is done by the command line, the one front door for whoever acts on data.

Superset's environment has none of the project's code, so the command runs as a process of its own: without a shell,
and each value as `--option=value`, so that nothing a person types can pose as an option.
"""

import json
import logging
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desk_records import other_tenants
from tenancy import OPERATOR, fleetmart_home

COMMAND = Path(__file__).resolve().parents[2] / ".venv" / "bin" / "fleetmart"
# Proxies give up after a minute; what takes longer goes on by itself.
PATIENCE_SECONDS = 50
# The command says itself what is too long to be read; far longer the system would not even pass on.
LONGEST_VALUE = 20_000
SAID = "fleetmart: "

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What came of an act: the command's answer if it did it, and what it had to say.

    `goes_on` is of work that nobody waited for to the end; `is_wrong_use` of what was asked wrongly.
    """

    answer: dict[str, Any] | None = None
    said: str = ""
    goes_on: bool = False
    is_wrong_use: bool = False


def on_case(act: str, case_id: int, **values: Any) -> Outcome:
    """Run `fleetmart quality acknowledge`, `explain` or `waive`."""
    return _run("quality", act, str(case_id), *_options(values))


def on_tenant(act: str, tenant_id: str, **values: Any) -> Outcome:
    """Run `fleetmart quality hold-back` or `release`."""
    return _run("quality", act, *_options({"tenant": tenant_id, **values}))


def roll_back(tenant_id: str, **values: Any) -> Outcome:
    """Run `fleetmart publish --rollback`."""
    return _run("publish", "--rollback", *_options({"tenant": tenant_id, **values}))


def fit_for(said: str, tenant_id: str) -> str:
    """What the command said, unless it speaks of somebody else: publishing is all tenants' work."""
    words = set(re.findall(r"[a-z0-9][a-z0-9_-]*", said.lower()))
    if tenant_id == OPERATOR or not words & (other_tenants(fleetmart_home(), tenant_id) - {OPERATOR}):
        return said
    return "What you did is recorded where this page shows it; the rest could not be done now. Ask your operator."


def _options(values: dict[str, Any]) -> list[str]:
    return [f"--{name}={_argument(value)}" for name, value in values.items() if value is not None] + ["--json"]


def _argument(value: Any) -> str:
    """The value as one argument can be: without the byte that would end it, lines as Unix ends them."""
    return str(value).replace("\0", "").replace("\r\n", "\n")[:LONGEST_VALUE]


def _run(*arguments: str) -> Outcome:
    command = [os.environ.get("FLEETMART_COMMAND") or str(COMMAND), *arguments]
    # Files, not pipes: a command that nobody waits for any more can still write.
    with tempfile.TemporaryFile(dir=_folder()) as output, tempfile.TemporaryFile(dir=_folder()) as errors:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
            code = process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            return Outcome(goes_on=True)
        except OSError as error:
            log.error("The desk's command could not be started: %s", error)
            return Outcome(said="The command that does this is not installed here. Tell your administrator.")
        return _outcome(code, _text(output), _text(errors))


def _outcome(code: int, output: str, errors: str) -> Outcome:
    """An answer beside an exit of 1 is an act that was done, and a publication that was withheld all the same."""
    said = next((line for line in reversed(errors.splitlines()) if line.startswith(SAID)), "").removeprefix(SAID)
    answer = _object(output) if code in (0, 1) else None
    if code and not said:
        log.error("The desk's command ended with %s: %s", code, errors[-4000:])
        said = "The command did not say why. Your administrator finds it in the log."
    return Outcome(answer, said if code else "", is_wrong_use=code == 2)


def _object(output: str) -> dict[str, Any] | None:
    try:
        found = json.loads(output)
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _folder() -> Path:
    return fleetmart_home() / "superset"


def _text(file: Any) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
