"""Many people at the dashboards while the pipeline publishes, beside a plain Superset on one shared file."""

import dataclasses
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from orchestration.bench import FLEET, FLEETMART, deliver_minute, delivered, machine, timed
from orchestration.bench_people import Person, Watched, percentile, watch
from orchestration.bench_plain import make_plain
from orchestration.demo import YIELDING, answers, prepare, provision, start, stop, superset_command
from orchestration.errors import FleetmartError, WrongUse
from orchestration.people import OPERATOR, read_credentials
from orchestration.server_memory import MemoryWatch
from orchestration.settings import Settings
from orchestration.simulate_fleet import Fleet

SERIES = FLEET.tenants * FLEET.devices * FLEET.metrics
PUBLISH_SECONDS = 60
START_SECONDS = 180
# The log-in page takes 40 a minute from one address, and all people here have the same one.
LOG_INS = 36
COLUMNS = (
    "server", "workers x threads", "pages", "charts", "errors", "chart p50", "chart p95", "page p50", "page p95",
    "memory", "publishings", "slowest",
)  # fmt: skip


@dataclass(frozen=True)
class Size:
    """How much is looked at, and by how many: each opens a page every `every` seconds for `minutes`."""

    readings: int
    tenants: int
    people: int
    every: float
    minutes: float


@dataclass(frozen=True)
class Served:
    """One server: what its people saw, its greatest memory in MB, and seconds of each of the pipeline's runs meanwhile.

    Times are in seconds.
    """

    server: str
    workers: int
    threads: int
    pages: int
    charts: int
    errors: list[str]
    chart_p50: float
    chart_p95: float
    page_p50: float
    page_p95: float
    megabytes: int
    publishings: list[float]


@dataclass
class _Pipeline:
    """Takes in a minute's readings and publishes them, once a minute, beside whatever else is done."""

    fleet: Fleet
    home: Path
    minute: int = 0
    seconds: list[float] = field(default_factory=list)
    problem: FleetmartError | None = None

    @contextmanager
    def publishing(self) -> Iterator[list[float]]:
        """Publish every minute until the block ends; yields the seconds that each run took.

        Raises FleetmartError when a run failed.
        """
        self.seconds = []
        over = threading.Event()
        thread = threading.Thread(target=self._run, args=(over,), daemon=True)
        thread.start()
        try:
            yield self.seconds
        finally:
            over.set()
            thread.join()
        if self.problem:
            raise self.problem

    def _run(self, over: threading.Event) -> None:
        due = time.monotonic()
        while not over.wait(max(0.0, due - time.monotonic())):
            due += PUBLISH_SECONDS
            try:
                deliver_minute(self.fleet, self.home, self.minute)
                self.minute += 1
                self.seconds.append(timed([*YIELDING, FLEETMART, "run"], self.home).seconds)
            except FleetmartError as error:
                self.problem = error
                return


def workers_and_threads(named: Iterable[str]) -> list[tuple[int, int]]:
    """Pairs of what is named as `2x8`; without any, what the settings say.

    Raises WrongUse for what is no such pair.
    """
    pairs = []
    for name in named:
        if not (found := re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", name)):
            raise WrongUse(f"--server {name} is no pair of workers and threads, such as 2x8.")
        pairs.append((int(found[1]), int(found[2])))
    return pairs or [(Settings().server_workers, Settings().server_threads)]


def bench_serve(
    folder: Path, size: Size, servers: list[tuple[int, int]], with_plain: bool, report: Callable[[str], None]
) -> list[Served]:
    """Publish a fleet of this size, then let people look at it through each server (workers, threads) in turn.

    A plain Superset is served as the first of them is. Raises FleetmartError when a step fails.
    """
    if Settings().superset_database and with_plain:
        raise WrongUse("The plain Superset is made from records in the home; unset FLEETMART_SUPERSET_DATABASE.")
    fleet = dataclasses.replace(FLEET, tenants=size.tenants, devices=max(1, SERIES // FLEET.metrics // size.tenants))
    fleet, rows, home = delivered(folder, size.readings, report, fleet)
    settings = Settings(home=home, sources=folder / "fleet" / "sources", registry=folder / "fleet" / "registry")
    timed([FLEETMART, "run"], home)
    report(f"{rows:,} readings of {fleet.tenants} tenants are published")
    prepare(settings, report)
    provision(settings, report)
    pipeline = _Pipeline(fleet, home)
    results = []
    for workers, threads in servers:
        chosen = settings.model_copy(update={"server_workers": workers, "server_threads": threads})
        results.append(_look("Fleetmart", chosen, {}, size, pipeline, report))
    if with_plain:
        plain = make_plain(settings, folder / "plain")
        chosen = settings.model_copy(update={"server_workers": servers[0][0], "server_threads": servers[0][1]})
        results.append(_look("plain Superset", chosen, plain, size, pipeline, report))
    shutil.rmtree(folder)
    return results


def _look(
    name: str,
    settings: Settings,
    environment: dict[str, str],
    size: Size,
    pipeline: _Pipeline,
    report: Callable[[str], None],
) -> Served:
    watched = Watched()
    with _serving(settings, environment) as (url, pid):
        people = _people(settings, url, size, watched)
        with MemoryWatch(pid) as memory, pipeline.publishing() as seconds:
            watch(people, 60 * size.minutes, size.every)
    served = Served(
        server=name,
        workers=settings.server_workers,
        threads=settings.server_threads,
        pages=len(watched.pages),
        charts=len(watched.charts),
        errors=watched.errors,
        chart_p50=percentile(watched.charts, 0.5),
        chart_p95=percentile(watched.charts, 0.95),
        page_p50=percentile(watched.pages, 0.5),
        page_p95=percentile(watched.pages, 0.95),
        megabytes=memory.peak_mb,
        publishings=list(seconds),
    )
    report(
        f"{name}, {served.workers} workers of {served.threads} threads: {served.pages} pages, {len(served.errors)} "
        f"errors, charts' p95 {served.chart_p95:.2f} s, pages' {served.page_p95:.2f} s, {served.megabytes:,} MB"
    )
    return served


@contextmanager
def _serving(settings: Settings, environment: dict[str, str]) -> Iterator[tuple[str, int]]:
    """The dashboards' server alone, once it answers: its address and process."""
    url = f"http://127.0.0.1:{settings.superset_port}"
    server = start(settings, "superset", superset_command(settings), environment)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(f"{url}/health"):
            if server.poll() is not None or time.monotonic() > deadline:
                raise FleetmartError(f"The server did not start; see {settings.home / 'logs' / 'superset.log'}.")
            time.sleep(0.5)
        yield url, server.pid
    finally:
        stop([server])


def _people(settings: Settings, url: str, size: Size, watched: Watched) -> list[Person]:
    """So many people, tenants and personas in turn; several with one log-in where there are more than log-ins."""
    users = [user for user in read_credentials(settings) if user["tenant"] != OPERATOR]
    users.sort(key=lambda user: (user["role"], user["tenant"]))
    users = users[: min(size.people, LOG_INS)]
    known = [Person(url, user["username"], user["password"], watched) for user in users]
    return [known[number % len(known)] for number in range(size.people)]


def table(size: Size, results: list[Served]) -> str:
    """The results as docs/bench-serve.md has them."""
    rows = "\n".join(
        f"| {one.server} | {one.workers} x {one.threads} | {one.pages:,} | {one.charts:,} | {len(one.errors)} "
        f"| {_ms(one.chart_p50)} | **{_ms(one.chart_p95)}** | {one.page_p50:.1f} s | **{one.page_p95:.1f} s** "
        f"| {one.megabytes:,} MB | {len(one.publishings)} | {max(one.publishings, default=0):.0f} s |"
        for one in results
    )
    return f"""# Serving, measured

`fleetmart bench serve`: {size.people} people, each of whom opens a page every {size.every:g} seconds for
{size.minutes:g} minutes, over the dashboards of {size.tenants} tenants with {size.readings / 1e6:g} million readings
in all, while the pipeline takes in a minute's readings of every device, builds, judges and publishes them once a
minute (*slowest* is the whole of such a run). Server, people and pipeline share the machine; the pipeline yields the
processors to the others, as it does under `fleetmart serve`. A page is all that a browser asks of the server as it
opens: the page, the dashboard's, its charts' and datasets' descriptions, the filters' choices and every chart, six at
a time, also those further down that a browser asks for later; scripts, which browsers keep, are not among it.
*Memory* is the most that the server's processes held together, what they share counted once. Whoever looks is an
executive, an analyst or a steward of each tenant in turn; the first look at everything counts as well. What was asked
of late is answered of each new snapshot before it is shown, by a process beside the server, which yields as the
pipeline does and for which each publishing waits.

*Plain Superset* is Superset as it comes on one shared DuckDB file with the rows of all tenants, row rules by role, and
its file cache, in which results stay for a minute, since nothing tells it of new data. Its file stays as it is: whoever
wrote it would lock readers out.

| {" | ".join(COLUMNS)} |
|{" --- |" * len(COLUMNS)}
{rows}

To reach with 50 people and 100 million readings: no error, charts' p95 at most 500 ms, pages' p95 at most 3 s, memory
at most 4 GB.

{machine()}.
"""


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:,.0f} ms"
