"""Saved queries that teach the marts: each a file of assets/queries, in the order of their names.

A file begins with comments: the first line is the query's name, the lines after it say what it teaches.
"""

from dataclasses import dataclass
from pathlib import Path

from marts import uuid_of
from problems import AssetError, problem


@dataclass(frozen=True)
class ExampleQuery:
    """One file; `sql` is the whole of it, so that whoever opens it reads why it is written so."""

    slug: str
    label: str
    description: str
    sql: str

    @property
    def uuid(self) -> str:
        return uuid_of("query", self.slug)


def example_queries(folder: Path) -> list[ExampleQuery]:
    """Every query of the folder.

    Raises AssetError for a file without a name, a description or a statement.
    """
    return [_query(path) for path in sorted(folder.glob("*.sql"))]


def _query(path: Path) -> ExampleQuery:
    lines = path.read_text().strip().splitlines()
    count = next((number for number, line in enumerate(lines) if not line.startswith("-- ")), len(lines))
    if count < 2 or count == len(lines):
        what = "begins with its name, then what it teaches, each line behind `-- `; then comes its SQL."
        raise AssetError([problem(path, "", what, remedy="Write it so.")])
    label, *description = [line.removeprefix("-- ") for line in lines[:count]]
    return ExampleQuery(path.stem, label, " ".join(description), "\n".join(lines))
