"""docs/marts.md, made of what dbt's YAML says of each mart, so that the page cannot say anything else."""

import sys
from pathlib import Path
from typing import Any

import yaml

from orchestration.settings import ROOT

MARTS = ROOT / "dbt_project" / "models" / "marts"
HEAD = """# The published tables

Every tenant's snapshot holds these tables with that tenant's rows alone, the operator's with all tenants'. Their names
and columns are a public interface: SQL Lab, `fleetmart sql` and saved charts depend on them. Instants are UTC
timestamps; days are those of the site's own clock, unless a column says UTC. Made by `make docs` from
[dbt_project/models/marts](../dbt_project/models/marts), where columns, labels, units and metrics are declared.
"""


def marts_document(folder: Path = MARTS) -> str:
    """The page: each mart by name with its grain, its columns and the metrics over them."""
    return "\n".join([HEAD, *(_mart(declared) for declared in sorted(_declared(folder), key=lambda one: one["name"]))])


def _declared(folder: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted(folder.glob("*.yml")):
        content = yaml.safe_load(path.read_text())
        found += content.get("models", [])
        found += [table for source in content.get("sources", []) for table in source["tables"]]
    return found


def _mart(declared: dict[str, Any]) -> str:
    columns = "\n".join(
        f"| `{column['name']}` | {column['data_type']} | {_cell(column['description'])} |"
        for column in declared["columns"]
    )
    metrics = "\n".join(
        f"- {metric['label']}: {metric['description']} `{' '.join(metric['expression'].split())}`"
        for metric in declared["config"]["meta"].get("metrics", [])
    )
    head = f"## {declared['name']}\n\n{' '.join(declared['description'].split())}\n"
    table = f"| column | type | meaning |\n| --- | --- | --- |\n{columns}\n"
    return "\n".join([head, table, *([f"Metrics:\n\n{metrics}\n"] if metrics else [])])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(marts_document())
