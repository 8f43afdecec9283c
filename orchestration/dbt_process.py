"""dbt as a process of its own, which may be started before it is known what it has to do: its imports take seconds."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from types import TracebackType

from orchestration.errors import FleetmartError
from orchestration.settings import ROOT, Settings

DBT_PROJECT = ROOT / "dbt_project"
DBT = str(Path(sys.executable).with_name("fleetmart-dbt"))


class Dbt:
    """One call of dbt on this home, within a `with` block; a process that got nothing to do ends with the block.

    `meanwhile` is what this process has to do while dbt works, in a thread of its own; `target` is where dbt writes
    what it knows of the models, if not where everybody looks for it.
    """

    def __init__(
        self, settings: Settings, meanwhile: Callable[[], object] = lambda: None, target: Path | None = None
    ) -> None:
        self._settings = settings
        self._meanwhile = meanwhile
        self._target = target or settings.dbt_target
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the process; it waits for what `run` tells it."""
        self._process = subprocess.Popen(
            [DBT],
            env=os.environ | dbt_environment(self._settings) | {"DBT_TARGET_PATH": str(self._target)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, arguments: list[str], report: Callable[[str], None]) -> None:
        """Run dbt, reporting its lines; raises FleetmartError with its last words when it fails."""
        if self._process is None:
            self.start()
        self._process.stdin.write(json.dumps([*arguments, "--project-dir", str(DBT_PROJECT)]) + "\n")
        self._process.stdin.close()
        Thread(target=self._meanwhile, daemon=True).start()
        lines = []
        for line in self._process.stdout:
            lines.append(line.rstrip())
            report(lines[-1])
        if self._process.wait():
            raise FleetmartError(
                "dbt failed: "
                + "\n".join(line for line in lines[-30:] if line)
                + f"\nThe whole log is {self._settings.home / 'dbt' / 'logs' / 'dbt.log'}; nothing was published."
            )

    def __enter__(self) -> "Dbt":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()


def dbt_environment(settings: Settings) -> dict[str, str]:
    """Environment in which dbt finds this home and writes nothing elsewhere."""
    return {
        "FLEETMART_HOME": str(settings.home),
        "FLEETMART_MEMORY_LIMIT": settings.memory_limit,
        "DBT_PROFILES_DIR": str(DBT_PROJECT),
        "DBT_TARGET_PATH": str(settings.dbt_target),
        "DBT_LOG_PATH": str(settings.home / "dbt" / "logs"),
        "DO_NOT_TRACK": "1",
    }
