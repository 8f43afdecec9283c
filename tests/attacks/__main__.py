"""Make all attempts at a home, and say what came of each: `python -m tests.attacks --home var --write docs/attacks.md`.

Exit 1 when anything came back that should not.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.attacks.attempts import ENDLESS
from tests.attacks.siege import ALL, Outcome, Siege
from tests.conftest import served

HEAD = """# Attempts at the boundary

What a tenant's analyst, executive and steward, forged and expired tokens and nobody tried at a live server that serves
three tenants, and what came back. Each answer, its headers and what is packed in it were searched for every other
tenant's keys, names, people and counts of rows: none held any. `tests/test_attacks.py` tries all of this in every run
of the tests, `tests/test_production.py` with PostgreSQL and Redis all but what runs for long; the list is
[tests/attacks/attempts.py](../tests/attacks/attempts.py), one line an attempt.

"""


def main() -> int:
    """Run everything, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="a home in which `fleetmart demo` ran")
    parser.add_argument("--url", help="where it is served already; without it, it is served for this")
    parser.add_argument("--write", type=Path, help="file for the table")
    asked = parser.parse_args()
    credentials = json.loads((asked.home / "credentials.json").read_text())
    with _serving(asked.home, asked.url) as url:
        siege = Siege(url, asked.home, credentials)
        outcomes = [siege.outcome(attempt) for attempt in ALL] + siege.outcomes_together(ENDLESS)
        siege.end()
    complaints = [f"{one.attempt.name}: {one.complaint}" for one in outcomes if one.complaint]
    print("\n".join(complaints) or f"{len(outcomes)} attempts, nothing of another tenant", file=sys.stderr)
    if asked.write and not complaints:
        asked.write.write_text(document(outcomes))
    return 1 if complaints else 0


def document(outcomes: list[Outcome]) -> str:
    """The table of all attempts, in their order."""
    counts = Counter(one.attempt.who for one in outcomes)
    tried = ", ".join(f"{count} as {who}" for who, count in counts.items())
    rows = [f"| {_cell(one.attempt.name)} | {one.attempt.who} | {one.said} |" for one in outcomes]
    table = ["| what was tried | as whom | what came back |", "| --- | --- | --- |", *rows]
    return f"{HEAD}{len(outcomes)} attempts: {tried}.\n\n" + "\n".join(table) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


@contextmanager
def _serving(home: Path, url: str | None) -> Iterator[str]:
    if url:
        yield url
        return
    with served(home) as own:
        yield own


if __name__ == "__main__":
    sys.exit(main())
