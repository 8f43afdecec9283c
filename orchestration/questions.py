"""The questions of dbt_project/analyses as SQL that runs on the warehouse, or on a snapshot attached under its name."""

import json
from pathlib import Path

from orchestration.dbt_process import Dbt
from orchestration.settings import Settings

WAREHOUSE = "warehouse"


def questions(settings: Settings, target: Path, **parameters: str) -> dict[str, str]:
    """The analyses by name, compiled into `target` with these values of their vars.

    Raises FleetmartError when dbt fails.
    """
    arguments = ["compile", "--select", "resource_type:analysis", "--target-path", str(target)]
    with Dbt(settings) as process:
        process.run([*arguments, "--vars", json.dumps(parameters)], lambda line: None)
    compiled = (target / "compiled" / "fleetmart" / "analyses").glob("*.sql")
    return {path.stem: path.read_text() for path in sorted(compiled)}
