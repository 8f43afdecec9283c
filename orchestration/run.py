"""All that is waiting: load, build, gate, publish, one after the other under one lock."""

from collections.abc import Callable
from dataclasses import dataclass

from expectations.gate import Verdict, gate
from orchestration.build import Build, build
from orchestration.load import Loaded, load_waiting
from orchestration.publish import Published, publish_all
from orchestration.settings import Settings
from orchestration.writer_lock import writer


@dataclass(frozen=True)
class Run:
    """What each step did."""

    loaded: Loaded
    build: Build
    verdicts: list[Verdict]
    published: Published

    @property
    def problems(self) -> list[str]:
        """What somebody must look at: files and rows that were not taken in, tenants that were withheld."""
        return self.loaded.problems + self.published.withheld


def run_waiting(settings: Settings, report: Callable[[str], None] = lambda line: None) -> Run:
    """Take in what waits, rebuild what it touched, judge it, and publish what passed."""
    with writer(settings, "run"):
        return Run(
            load_waiting(settings, report),
            build(settings, report=report),
            gate(settings, report),
            publish_all(settings, report),
        )
