"""How the command line answers: one JSON object, or text and tables on standard output; the rest on standard error."""

import json
import sys
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console
from rich.table import Table

SHOWN_NAMES = 10

as_json = click.option("--json", "as_json", is_flag=True, help="Answer with one JSON object.")


def report(line: str) -> None:
    """A line of progress."""
    click.echo(line, err=True)


def give(answer: dict[str, Any], as_json: bool, show: Callable[[dict[str, Any]], None]) -> None:
    """The answer as one JSON object, or as `show` shows it."""
    if as_json:
        click.echo(json.dumps(answer, default=str))
    else:
        show(answer)


def exit_for(problems: list[str]) -> None:
    """Exit 1 when there are problems, each said."""
    for problem in problems:
        click.echo(f"fleetmart: {problem}", err=True)
    if problems:
        sys.exit(1)


def show_rows(columns: list[str], rows: list[Any]) -> None:
    """A table."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    # A pipe has no width: wrapping there would break lines that another program reads.
    Console(width=None if sys.stdout.isatty() else 10_000).print(table)


def show_pairs(answer: dict[str, Any]) -> None:
    """One line for each value that is no list."""
    for key, value in answer.items():
        if not isinstance(value, list):
            click.echo(f"{key.replace('_', ' ')}: {value}")


def show_list(key: str) -> Callable[[dict[str, Any]], None]:
    """A table of the objects under a key of the answer."""

    def show(answer: dict[str, Any]) -> None:
        found = answer[key]
        if not found:
            click.echo(f"No new {key}.")
            return
        show_rows(list(found[0]), [tuple(row.values()) for row in found])

    return show


def show_check(answer: dict[str, Any]) -> None:
    """What a source makes of a file."""
    click.echo(
        f"{answer['file']} as {answer['source']}: {answer['rows']:,} rows, {answer['readings']:,} readings, "
        f"{answer['empty']:,} empty values, {answer['rejected_count']:,} rejected"
    )
    for title, rows in (
        ("First readings", answer["first_readings"]),
        ("Readings by metric", answer["metrics"]),
        ("Rejected", answer["rejected"]),
    ):
        if rows:
            click.echo(f"\n{title}")
            shown = [tuple(value[:80] if isinstance(value, str) else value for value in row.values()) for row in rows]
            show_rows(list(rows[0]), shown)
    for kind, names in answer["unregistered"].items():
        more = f" and {len(names) - SHOWN_NAMES:,} more (--json has all)" if len(names) > SHOWN_NAMES else ""
        click.echo(f"\nNot in the registry, kept and flagged: {kind}: {', '.join(names[:SHOWN_NAMES])}{more}")
    if answer["unused_columns"]:
        unused = ", ".join(f"'{column}'" for column in answer["unused_columns"])
        click.echo(f"\nColumns that the source does not read: {unused}")
    if answer["absent_columns"]:
        absent = ", ".join(f"'{column}'" for column in answer["absent_columns"])
        click.echo(f"\nColumns that the source names and no document has: {absent}")


def show_pull(answer: dict[str, Any]) -> None:
    """What a pull of the registry changes."""
    columns = ["table", "rows", "added", "changed", "removed"]
    show_rows(columns, [[table[column] for column in columns] for table in answer["tables"]])
    for table in answer["tables"]:
        if keys := table["removed_keys"]:
            more = ", …" if table["removed"] > len(keys) else ""
            click.echo(f"removed from {table['table']}: {', '.join(keys)}{more}")
    click.echo(f"{answer['changes']:,} changes{' would be made' if answer['dry_run'] else ''}")


def show_status(answer: dict[str, Any]) -> None:
    """Where loading, building, judging, publishing and serving stand."""
    loaded, built = answer["loaded"], answer["built"]
    click.echo(f"home       {answer['home']}")
    click.echo(
        f"loaded     {loaded['files']} files, {loaded['readings']:,} readings, {loaded['rejected']:,} rejected, "
        f"{loaded['set_aside_files']} files set aside, {loaded['waiting_files']} waiting"
    )
    click.echo(f"built      {_built_line(built)}")
    for verdict in answer["gated"]:
        click.echo(f"gated      {verdict['tenant_id']}: build {verdict['build_id']} {verdict['verdict']}")
    for snapshot in answer["published"]:
        click.echo(f"published  {snapshot['tenant_id']}: {snapshot['current']}, {snapshot['published_at']}")
    for name, server in answer["served"].items():
        click.echo(f"served     {name}: {server['url']} {'answers' if server['answers'] else 'does not answer'}")


def _built_line(built: dict[str, Any] | None) -> str:
    return f"build {built['build_id']} {built['status']}, {built['finished_at'] or 'not ended'}" if built else "never"
