"""The command line: the same functions that Dagster's assets call.

Answers go to standard output (with --json one object), progress and problems to standard error.
Exit 0: done. 1: the work failed, or something was not taken in or withheld. 2: wrong usage.
"""

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from orchestration.errors import FleetmartError, WrongUse
from orchestration.settings import Settings

as_json = click.option("--json", "as_json", is_flag=True, help="Answer with one JSON object.")


class FleetmartGroup(click.Group):
    """Turns what went wrong into a message and an exit code, never a traceback for the expected."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except WrongUse as error:
            _fail(str(error), 2)
        except FleetmartError as error:
            _fail(str(error), 1)
        except ValidationError as error:
            first = error.errors()[0]
            _fail(f"Setting FLEETMART_{'_'.join(map(str, first['loc'])).upper()}: {first['msg']}.", 2)
        except OSError as error:
            _fail(f"{error.filename or 'A file'}: {error.strerror}. Nothing half done was kept; run this again.", 1)


def _fail(message: str, code: int) -> None:
    click.echo(f"fleetmart: {message}", err=True)
    sys.exit(code)


@click.group(cls=FleetmartGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fleetmart")
def main() -> None:
    """An analytics warehouse for device fleets. Data lives in FLEETMART_HOME (default var/)."""


@main.command()
@click.option("--no-serve", is_flag=True, help="Run the main job on the sample fleets, then end.")
@as_json
def demo(no_serve: bool, as_json: bool) -> None:
    """Load the sample fleets, build, gate, publish, provision the dashboards, and serve them."""
    from orchestration.demo import demo as run_demo
    from orchestration.status import status as current_status

    settings = Settings()
    run_demo(settings, not no_serve, _report)
    if no_serve:
        _answer(current_status(settings), as_json, _show_status)


@main.command()
@click.option("--source", help="Take FILES in as this declared source.")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@as_json
def load(source: str | None, files: tuple[Path, ...], as_json: bool) -> None:
    """Take in what waits in landing; with --source, FILES as well (they are copied, not moved)."""
    from orchestration.load import deliver, load_waiting

    if bool(source) != bool(files):
        raise WrongUse("Give --source and FILES together, or neither.")
    settings = Settings()
    if source:
        deliver(settings, source, files)
    loaded = load_waiting(settings, _report)
    _answer(dataclasses.asdict(loaded), as_json, _show_pairs)
    _exit_for(loaded.problems)


@main.command()
@click.option("--full-refresh", is_flag=True, help="Rebuild every partition of the lake.")
@as_json
def build(full_refresh: bool, as_json: bool) -> None:
    """Rebuild the marts' partitions that new loads touched."""
    from orchestration.build import build as run_build

    _answer(dataclasses.asdict(run_build(Settings(), full_refresh, _report)), as_json, _show_pairs)


@main.command()
@as_json
def gate(as_json: bool) -> None:
    """Judge the latest build, tenant by tenant."""
    from expectations.gate import gate as run_gate

    verdicts = run_gate(Settings(), _report)
    _answer({"verdicts": [dataclasses.asdict(verdict) for verdict in verdicts]}, as_json, _show_list("verdicts"))
    _exit_for([f"{v.tenant_id} failed {v.critical_failures} critical expectations" for v in verdicts if not v.passed])


@main.command()
@as_json
def publish(as_json: bool) -> None:
    """Make what passed the gate what people see."""
    from orchestration.publish import publish_all

    published = publish_all(Settings(), _report)
    _answer(dataclasses.asdict(published), as_json, _show_list("snapshots"))
    _exit_for(published.withheld)


@main.command()
@as_json
def run(as_json: bool) -> None:
    """Do all that is waiting: load, build, gate, publish."""
    from orchestration.run import run_waiting

    done = run_waiting(Settings(), _report)
    _answer(dataclasses.asdict(done), as_json, lambda answer: _show_list("snapshots")(answer["published"]))
    _exit_for(done.problems)


@main.command()
@as_json
def serve(as_json: bool) -> None:
    """Serve the dashboards and Dagster's UI until Ctrl-C."""
    from orchestration.demo import serve as run_serve

    settings = Settings()
    run_serve(settings, _report)
    _answer({"stopped": True}, as_json, lambda answer: None)


@main.command()
@as_json
def status(as_json: bool) -> None:
    """Say what is loaded, built, gated, published and served."""
    from orchestration.status import status as current_status

    _answer(current_status(Settings()), as_json, _show_status)


@main.command()
@click.argument("statement")
@click.option("--tenant", default="operator", show_default=True, help="Whose snapshot to ask.")
@as_json
def sql(statement: str, tenant: str, as_json: bool) -> None:
    """Ask a published snapshot in SQL, read-only and locked down."""
    from orchestration.snapshot_sql import query

    answer = query(Settings(), statement, tenant)
    _answer(
        {"columns": answer.columns, "rows": answer.rows},
        as_json,
        lambda found: _show_rows(found["columns"], found["rows"]),
    )


def _report(line: str) -> None:
    click.echo(line, err=True)


def _answer(answer: dict[str, Any], as_json: bool, show: Callable[[dict[str, Any]], None]) -> None:
    if as_json:
        click.echo(json.dumps(answer, default=str))
    else:
        show(answer)


def _exit_for(problems: list[str]) -> None:
    for problem in problems:
        click.echo(f"fleetmart: {problem}", err=True)
    if problems:
        sys.exit(1)


def _show_rows(columns: list[str], rows: list[Any]) -> None:
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    # A pipe has no width: wrapping there would break lines that another program reads.
    Console(width=None if sys.stdout.isatty() else 10_000).print(table)


def _show_pairs(answer: dict[str, Any]) -> None:
    for key, value in answer.items():
        if not isinstance(value, list):
            click.echo(f"{key.replace('_', ' ')}: {value}")


def _show_list(key: str) -> Callable[[dict[str, Any]], None]:
    def show(answer: dict[str, Any]) -> None:
        found = answer[key]
        if not found:
            click.echo("Nothing was waiting.")
            return
        _show_rows(list(found[0]), [tuple(row.values()) for row in found])

    return show


def _show_status(answer: dict[str, Any]) -> None:
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
