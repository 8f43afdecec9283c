"""The command line: the same functions that Dagster's assets call.

Answers go to standard output (with --json one object), progress and problems to standard error.
Exit 0: done. 1: the work failed, or something was not taken in or withheld. 2: wrong usage.
"""

import dataclasses
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from orchestration.cli_answers import (
    as_json,
    exit_for,
    give,
    report,
    show_check,
    show_list,
    show_pairs,
    show_pull,
    show_rows,
    show_status,
)
from orchestration.cli_embedding import embed_key, embed_token, portal
from orchestration.cli_quality import quality, roll_tenant_back, who
from orchestration.cli_superset import superset, tenant
from orchestration.errors import FleetmartError, WrongUse, is_for_want_of_room
from orchestration.settings import Settings


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
        except Exception as error:
            if not is_for_want_of_room(error):
                raise
            _fail(f"{Settings().home} cannot be written ({error}). Make room, then run this again: nothing is lost.", 1)


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
    run_demo(settings, not no_serve, report)
    if no_serve:
        give(current_status(settings), as_json, show_status)


@main.command()
@click.option("--source", help="Take FILES in as this declared source.")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@as_json
def load(source: str | None, files: tuple[Path, ...], as_json: bool) -> None:
    """Take in what waits in landing; with --source, FILES as well (they are copied, not moved)."""
    from orchestration.landing import deliver
    from orchestration.load import load_waiting

    if bool(source) != bool(files):
        raise WrongUse("Give --source and FILES together, or neither.")
    settings = Settings()
    if source:
        deliver(settings, source, files)
    loaded = load_waiting(settings, report)
    give(dataclasses.asdict(loaded), as_json, show_pairs)
    exit_for(loaded.problems)


@main.command()
@click.argument("source")
@as_json
def listen(source: str, as_json: bool) -> None:
    """Put the messages of SOURCE's MQTT broker into landing, each once, until Ctrl-C."""
    from orchestration.listen import listen as run_listen

    give(dataclasses.asdict(run_listen(Settings(), source, report)), as_json, show_pairs)


@main.command()
@click.option("--full-refresh", is_flag=True, help="Rebuild every partition of the lake.")
@as_json
def build(full_refresh: bool, as_json: bool) -> None:
    """Rebuild the marts' partitions that new loads touched."""
    from orchestration.build import build as run_build

    give(dataclasses.asdict(run_build(Settings(), full_refresh, report)), as_json, show_pairs)


@main.command()
@as_json
def gate(as_json: bool) -> None:
    """Judge the latest build, tenant by tenant."""
    from expectations.gate import gate as run_gate

    verdicts = run_gate(Settings(), report)
    give({"verdicts": [dataclasses.asdict(verdict) for verdict in verdicts]}, as_json, show_list("verdicts"))
    exit_for([f"{v.tenant_id} failed {v.critical_failures} critical expectations" for v in verdicts if not v.passed])


@main.command()
@click.option("--rollback", is_flag=True, help="Go back to an earlier snapshot, and hold newer ones back.")
@click.option("--tenant", help="Whose snapshot to roll back.")
@click.option("--to", "build_id", type=int, help="Build to roll back to; by default the one before.")
@click.option("--why", help="The reason of a roll-back, for the record.")
@who
@as_json
def publish(rollback: bool, tenant: str | None, build_id: int | None, why: str | None, who: str, as_json: bool) -> None:
    """Make what passed the gate what people see; or, with --rollback, what a tenant saw before."""
    from orchestration.publish import publish_all

    if rollback:
        return roll_tenant_back(tenant, build_id, who, why, as_json)
    if tenant or build_id or why:
        raise WrongUse("--tenant, --to and --why belong to --rollback.")

    published = publish_all(Settings(), report)
    give(dataclasses.asdict(published), as_json, show_list("snapshots"))
    exit_for(published.withheld)


@main.command()
@as_json
def run(as_json: bool) -> None:
    """Do all that is waiting: load, build, gate, publish."""
    from orchestration.run import run_waiting

    done = run_waiting(Settings(), report)
    give(dataclasses.asdict(done), as_json, lambda answer: show_list("snapshots")(answer["published"]))
    exit_for(done.problems)


@main.command()
@click.option("--from", "first", type=click.DateTime(["%Y-%m-%d"]), help="First UTC day.")
@click.option("--to", "last", type=click.DateTime(["%Y-%m-%d"]), help="Last UTC day, included.")
@click.option("--tenant", help="Only this tenant's readings.")
@click.option("--full-refresh", is_flag=True, help="Rebuild everything that the lake holds.")
@as_json
def backfill(
    first: datetime | None, last: datetime | None, tenant: str | None, full_refresh: bool, as_json: bool
) -> None:
    """Rebuild a past span of days from the lake, judge it and publish it."""
    from orchestration.build import Span
    from orchestration.run import rebuild

    if full_refresh == (first is not None or last is not None) or (first is None) != (last is None):
        raise WrongUse("Give --from and --to, or --full-refresh.")
    if full_refresh and tenant:
        raise WrongUse("--full-refresh is of all tenants; for one of them give --from and --to.")
    if not full_refresh and first > last:
        raise WrongUse(f"--from {first:%Y-%m-%d} is after --to {last:%Y-%m-%d}.")
    span = None if full_refresh else Span(first.date(), last.date(), tenant)
    done = rebuild(Settings(), span, report)
    give(dataclasses.asdict(done), as_json, lambda answer: show_list("snapshots")(answer["published"]))
    exit_for(done.published.withheld)


@main.group(invoke_without_command=True)
@click.option("--tenants", default=3, show_default=True)
@click.option("--devices", default=10, show_default=True, help="Devices of each tenant.")
@click.option("--metrics", default=4, show_default=True, help="Metrics of each device.")
@click.option("--days", default=7, show_default=True)
@click.option("--seed", default=1, show_default=True, help="Another seed is another fleet.")
@click.option("--start", type=click.DateTime(["%Y-%m-%d"]), default="2024-01-01", show_default=True)
@click.option("--interval", default=600, show_default=True, help="Seconds between readings.")
@click.option("--faults", default="none", show_default=True, help="all, none, or kinds with commas between.")
@click.option("--to", "folder", type=click.Path(path_type=Path), help="Folder; by default simulated/ of the home.")
@as_json
@click.pass_context
def simulate(
    context: click.Context, folder: Path | None, start: datetime, faults: str, as_json: bool, **size: int
) -> None:
    """Write a fleet of any size as landing files, with its registry, its source, and the truth about its faults."""
    if context.invoked_subcommand:
        return
    from orchestration.simulate import simulate as run_simulate
    from orchestration.simulate_faults import FAULTS
    from orchestration.simulate_fleet import Fleet

    named = {"all": tuple(FAULTS), "none": ()}
    kinds = named[faults] if faults in named else tuple(filter(None, faults.split(",")))
    fleet = Fleet(**size, start=start.date(), faults=kinds)
    folder = (folder or Settings().home / "simulated").absolute()
    truth = run_simulate(fleet, folder, report)
    _report_how_to_load(folder)
    answer = {"folder": str(folder), "files": truth.files, "rows": truth.rows, "faults": len(truth.faults)}
    give(answer, as_json, show_pairs)


@simulate.command("trucks")
@click.option("--trucks", default=100, show_default=True)
@click.option("--days", default=3, show_default=True)
@click.option("--seed", default=123, show_default=True, help="Another seed is another fleet.")
@click.option("--start", type=click.DateTime(["%Y-%m-%d"]), default="2016-01-01", show_default=True)
@click.option("--interval", default=10, show_default=True, help="Seconds between readings.")
@click.option("--to", "folder", type=click.Path(path_type=Path), help="Folder; by default trucks/ of the home.")
@as_json
def simulate_trucks(folder: Path | None, start: datetime, as_json: bool, **size: int) -> None:
    """Write the trucks of the Time Series Benchmark Suite, with its dirt, as landing files of two sources."""
    from orchestration.simulate_trucks import Trucks
    from orchestration.simulate_trucks import simulate_trucks as run_simulate

    folder = (folder or Settings().home / "trucks").absolute()
    truth = run_simulate(Trucks(**size, start=start.date()), folder, report)
    _report_how_to_load(folder)
    give({"folder": str(folder), **dataclasses.asdict(truth)}, as_json, show_pairs)


def _report_how_to_load(folder: Path) -> None:
    report(
        f"To load it, set FLEETMART_SOURCES={folder / 'sources'} and FLEETMART_REGISTRY={folder / 'registry'}, "
        f"copy {folder / 'landing'} into the home, and run `fleetmart run`."
    )


@main.group()
def bench() -> None:
    """Measure, as ratios within one run."""


@bench.command("load")
@click.option("--millions", type=int, multiple=True, default=(10, 30, 100), show_default=True, help="Sizes.")
@click.option("--write", type=click.Path(path_type=Path), help="File for the table, such as docs/bench-load.md.")
@as_json
def bench_load(millions: tuple[int, ...], write: Path | None, as_json: bool) -> None:
    """Loads of many millions against the plainest script, and a minute's batch on top."""
    from orchestration.bench import bench_folder, table
    from orchestration.bench import bench_load as run_bench

    results = run_bench(bench_folder(), list(millions), report)
    if write:
        write.write_text(table(results))
    answer = {"results": [dataclasses.asdict(one) | {"ratio": one.ratio} for one in results]}
    give(answer, as_json, lambda _: click.echo(table(results)))


@bench.command("cubes")
@click.option("--millions", type=int, multiple=True, default=(10, 30, 100), show_default=True, help="Sizes.")
@click.option("--write", type=click.Path(path_type=Path), help="File for the table, such as docs/bench-cubes.md.")
@as_json
def bench_cubes(millions: tuple[int, ...], write: Path | None, as_json: bool) -> None:
    """Builds of many millions against one hand-written script, and a touched day's on top."""
    from orchestration.bench import bench_folder
    from orchestration.bench_cubes import bench_cubes as run_bench
    from orchestration.bench_cubes import table

    results = run_bench(bench_folder() / "cubes", list(millions), report)
    if write:
        write.write_text(table(results))
    answer = {"results": [dataclasses.asdict(one) | {"ratio": one.ratio} for one in results]}
    give(answer, as_json, lambda _: click.echo(table(results)))


@bench.command("tsbs")
@click.option("--millions", type=click.FloatRange(0, min_open=True), default=20, show_default=True, help="Of rows.")
@click.option("--write", type=click.Path(path_type=Path), help="File for the table, such as docs/bench-tsbs.md.")
@as_json
def bench_tsbs(millions: float, write: Path | None, as_json: bool) -> None:
    """The trucks' twelve questions of the marts, against ClickHouse's engine and DuckDB on the raw rows."""
    from orchestration.bench import bench_folder
    from orchestration.bench_tsbs import bench_tsbs as run_bench
    from orchestration.bench_tsbs import table

    result = run_bench(bench_folder() / "tsbs", millions, report)
    if write:
        write.write_text(table(result))
    give(dataclasses.asdict(result) | result.ratios, as_json, lambda _: click.echo(table(result)))


@bench.command("serve")
@click.option("--millions", type=click.FloatRange(0, min_open=True), default=100, show_default=True, help="Readings.")
@click.option("--tenants", type=click.IntRange(1), default=10, show_default=True)
@click.option("--people", type=click.IntRange(1), default=50, show_default=True)
@click.option("--every", type=click.FloatRange(0, min_open=True), default=20, show_default=True, help="Seconds.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=10, show_default=True)
@click.option("--server", "servers", multiple=True, metavar="WxT", help="Workers and threads, such as 2x8; repeatable.")
@click.option("--plain/--no-plain", default=True, show_default=True, help="Compare with a plain Superset.")
@click.option("--write", type=click.Path(path_type=Path), help="File for the table, such as docs/bench-serve.md.")
@as_json
def bench_serve(servers: tuple[str, ...], plain: bool, write: Path | None, as_json: bool, **size: Any) -> None:
    """People at the dashboards while the pipeline publishes, beside a plain Superset on one shared file."""
    from orchestration.bench import bench_folder
    from orchestration.bench_serve import Size, table, workers_and_threads
    from orchestration.bench_serve import bench_serve as run_bench

    chosen = Size(readings=int(1_000_000 * size.pop("millions")), **size)
    results = run_bench(bench_folder() / "serve", chosen, workers_and_threads(servers), plain, report)
    if write:
        write.write_text(table(chosen, results))
    answer = {"results": [dataclasses.asdict(one) for one in results]}
    give(answer, as_json, lambda _: click.echo(table(chosen, results)))
    exit_for([error for one in results if one.server == "Fleetmart" for error in one.errors])


@main.command()
@as_json
def maintain(as_json: bool) -> None:
    """Make few files of the lake's many, and delete those that no recent version needs."""
    from orchestration.run import maintain as run_maintain

    give(dataclasses.asdict(run_maintain(Settings())), as_json, show_pairs)


@main.command()
@as_json
def serve(as_json: bool) -> None:
    """Serve the dashboards and Dagster's UI until Ctrl-C."""
    from orchestration.demo import serve as run_serve

    settings = Settings()
    run_serve(settings, report)
    give({"stopped": True}, as_json, lambda answer: None)


@main.command()
@as_json
def status(as_json: bool) -> None:
    """Say what is loaded, built, gated, published and served."""
    from orchestration.status import status as current_status

    give(current_status(Settings()), as_json, show_status)


@main.command()
@click.argument("statement")
@click.option("--tenant", default="operator", show_default=True, help="Whose snapshot to ask.")
@as_json
def sql(statement: str, tenant: str, as_json: bool) -> None:
    """Ask a published snapshot in SQL, read-only and locked down."""
    from orchestration.snapshot_sql import query

    answer = query(Settings(), statement, tenant)
    give(
        {"columns": answer.columns, "rows": answer.rows},
        as_json,
        lambda found: show_rows(found["columns"], found["rows"]),
    )


@main.group()
def source() -> None:
    """What kinds of files are declared, and what they would come to."""


@source.command("list")
@as_json
def source_list(as_json: bool) -> None:
    """Say which sources are declared, and where."""
    from orchestration.source_check import listed

    settings = Settings()
    found = listed(settings)
    if not found:
        raise FleetmartError(
            f"No source is declared in {settings.sources}; `fleetmart source infer FILE` proposes one."
        )
    give({"sources": found}, as_json, show_list("sources"))


@source.command("check")
@click.argument("source")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", help="What FILE would be called below landing/SOURCE/, folders included.")
@as_json
def source_check(source: str, file: Path, name: str | None, as_json: bool) -> None:
    """Read FILE as SOURCE (a name, or a YAML's path) without loading it: readings, counts, rejected rows."""
    from orchestration.source_check import check

    checked = check(Settings(), source, file, name)
    give(dataclasses.asdict(checked), as_json, show_check)
    if checked.refusal:
        exit_for([f"{file}: {checked.refusal}; a load would set it aside."])
    exit_for([f"{checked.rejected_count:,} rows or values would be rejected."] if checked.rejected_count else [])


@source.command("infer")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@as_json
def source_infer(file: Path, as_json: bool) -> None:
    """Propose a source's YAML for a FILE never seen; its comments say what is yours to decide."""
    from orchestration.infer_source import infer

    proposal = infer(file, Settings().memory_limit)
    give(dataclasses.asdict(proposal), as_json, lambda answer: click.echo(answer["yaml"], nl=False))


@main.group()
def registry() -> None:
    """What the fleet is: tenants, sites, devices, models and metrics."""


@registry.command("pull")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@as_json
def registry_pull(dry_run: bool, as_json: bool) -> None:
    """Replace the tables that database.yml declares by what the database says now, all or none."""
    from orchestration.registry_pull import pull

    done = pull(Settings(), dry_run, report)
    give({**dataclasses.asdict(done), "changes": done.changes}, as_json, show_pull)


for command in (quality, superset, tenant, embed_token, embed_key, portal):
    main.add_command(command)
