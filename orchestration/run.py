"""All that is waiting: load, build, gate, publish, under one lock; a tenant is published while others are judged."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from expectations.gate import judge
from orchestration import lake
from orchestration.build import Build, Span, backfill, build
from orchestration.dbt_process import Dbt
from orchestration.landing import waiting_files
from orchestration.load import Loaded, load_waiting
from orchestration.publish import Published, publish_all
from orchestration.settings import Settings
from orchestration.writer_lock import writer


@dataclass(frozen=True)
class Maintained:
    """What a call of maintain did: files of the lake spared by making one of many, and old files deleted."""

    files_spared: int
    files_deleted: int


@dataclass(frozen=True)
class Rebuilt:
    """What a backfill or full refresh did."""

    builds: list[Build]
    published: Published


@dataclass(frozen=True)
class Run:
    """What each step did."""

    loaded: Loaded
    build: Build
    published: Published

    @property
    def problems(self) -> list[str]:
        """What somebody must look at: files and rows that were not taken in, tenants that were withheld."""
        return self.loaded.problems + self.published.withheld


def run_waiting(settings: Settings, report: Callable[[str], None] = lambda line: None) -> Run:
    """Take in what waits, rebuild what it touched, judge it, and publish what passed."""
    with writer(settings, "run"), Dbt(settings, _import_the_gates_library) as dbt:
        if waiting_files(settings):
            dbt.start()
        loaded = load_waiting(settings, report)
        return Run(
            loaded,
            build(settings, report=report, dbt=dbt),
            publish_all(settings, report, judge(settings, report)),
        )


def _import_the_gates_library() -> None:
    import_module("expectations.suites")


def rebuild(settings: Settings, span: Span | None, report: Callable[[str], None] = lambda line: None) -> Rebuilt:
    """Rebuild a past span, or everything, from the lake; judge it, and publish what passed."""
    with writer(settings, "rebuild"):
        builds = backfill(settings, span, report) if span else [build(settings, full_refresh=True, report=report)]
        return Rebuilt(builds, publish_all(settings, report, judged=judge(settings, report)))


def maintain(settings: Settings) -> Maintained:
    """Make one file of each partition's many, and delete what no version of the last `lake_hours` needs.

    Neither readers of snapshots nor those of recent versions of the lake notice.
    """
    with writer(settings, "maintain"):
        spared = lake.compact(settings.lake_readings, 1)
        deleted = sum(
            lake.vacuum(table, settings.lake_hours) for table in (settings.lake_readings, settings.lake_rejected)
        )
        return Maintained(spared, deleted)
