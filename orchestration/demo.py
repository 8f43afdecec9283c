"""The main job end to end on the real sample fleets, and the servers that show it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from orchestration.arrivals import digests
from orchestration.child import bound
from orchestration.dbt_process import Dbt, dbt_environment
from orchestration.errors import FleetmartError
from orchestration.landing import deliver
from orchestration.load import is_loaded
from orchestration.models_page import newest_model, write_models_page
from orchestration.people import ensure_credentials, ensure_secrets
from orchestration.settings import ROOT, Settings
from orchestration.superset_process import SUPERSET_PYTHON, ask_superset

SAMPLE = ROOT / "orchestration" / "sample"
DAGSTER_YAML = """\
# One run at a time, and within it one writer: the warehouse has a single one.
concurrency:
  runs:
    max_concurrent_runs: 1
telemetry:
  enabled: false
"""
# Relative to the home, where the servers run: a socket's whole path could be longer than the system takes.
CODE_SOCKET = "dagster/code"
WORKSPACE_YAML = f"""\
# The page and the daemon share one process that has the code; by themselves each would start its own, the daemon one a
# minute.
load_from:
  - grpc_server:
      socket: {CODE_SOCKET}
      location_name: orchestration.defs
"""
# What the pipeline runs with where people look at the same time: it yields the processors to them.
YIELDING = ["nice", "-n", "19"]
Report = Callable[[str], None]


def check_ports(settings: Settings) -> None:
    """Raise FleetmartError when a port that `serve` needs is in use, saying how to choose another."""
    for name, port in (("superset", settings.superset_port), ("dagster", settings.dagster_port)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise FleetmartError(
                    f"Port {port} of 127.0.0.1 is in use. Stop what uses it, or choose another port: "
                    f"FLEETMART_{name.upper()}_PORT={port + 1}"
                ) from error


def deliver_sample(settings: Settings) -> int:
    """Put the sample fleets' files into landing, those that were loaded already excepted; returns how many."""
    delivered = 0
    for folder in sorted(path for path in SAMPLE.iterdir() if path.is_dir()):
        files = sorted(folder.iterdir())
        new = [file for file in files if not is_loaded(settings, folder.name, digests(file, None)[0])]
        delivered += len(deliver(settings, folder.name, new))
    return delivered


def prepare(settings: Settings, report: Report = lambda line: None) -> None:
    """Credentials, keys, Dagster's home and dbt's manifest; what stands is kept."""
    settings.prepare_home()
    ensure_credentials(settings)
    ensure_secrets(settings)
    settings.dagster_home.mkdir(exist_ok=True)
    (settings.dagster_home / "dagster.yaml").write_text(DAGSTER_YAML)
    (settings.dagster_home / "workspace.yaml").write_text(WORKSPACE_YAML)
    manifest = settings.dbt_target / "manifest.json"
    if not manifest.exists() or manifest.stat().st_mtime < newest_model():
        report("dbt: reading the models")
        with Dbt(settings) as dbt:
            dbt.run(["parse"], lambda line: None)


def run_in_dagster(settings: Settings, report: Report) -> None:
    """Run everything that is waiting as one Dagster run, which its UI then shows; raises FleetmartError."""
    report("dagster: starting the run")
    command = bound([_tool("dagster"), "job", "execute", "-m", "orchestration.defs", "-j", "everything"])
    with subprocess.Popen(
        command,
        env=home_environment(settings),
        cwd=settings.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip())
            if worth_showing := _progress_of(lines[-1]):
                report(worth_showing)
    if process.returncode:
        log = settings.home / "dagster" / "last-run.log"
        log.write_text("\n".join(lines))
        errors = [line for line in lines if "Error" in line][-3:]
        raise FleetmartError("The Dagster run failed: " + "\n".join(errors) + f"\nThe whole log is {log}.")


def provision(settings: Settings, report: Report) -> None:
    """Bring the dashboards, users and roles of the files into Superset, and write the page about the models.

    Raises FleetmartError.
    """
    write_models_page(settings)
    ask_superset(["push"], home_environment(settings), report)


def demo(settings: Settings, serve_after: bool, report: Report) -> None:
    """Deliver the sample, run everything through Dagster and provision Superset beside it; then serve.

    Raises FleetmartError at the first step that fails; run again, it goes on from there.
    """
    _stop_on_signals()
    if serve_after:
        check_ports(settings)
    prepare(settings, report)
    report(f"sample: {deliver_sample(settings)} files delivered to landing")
    beside = _Beside(lambda: provision(settings, report))
    run_in_dagster(settings, report)
    beside.wait()
    if serve_after:
        serve(settings, report, provisioned=True)


def serve(settings: Settings, report: Report, provisioned: bool = False) -> None:
    """Serve Superset and Dagster until Ctrl-C or a termination signal; everything started here stops with it."""
    _stop_on_signals()
    check_ports(settings)
    if not provisioned:
        prepare(settings, report)
        provision(settings, report)
    socket_of_code, url = settings.home / CODE_SOCKET, f"http://127.0.0.1:{settings.superset_port}"
    socket_of_code.unlink(missing_ok=True)
    commands = dagster_commands(settings)
    servers = [start(settings, "superset", superset_command(settings))]
    try:
        # One after the other: the page and the daemon look for the code once, and make a new home's tables.
        for name, is_up in (
            ("dagster-code", socket_of_code.exists),
            ("dagster-webserver", lambda: answers(f"http://127.0.0.1:{settings.dagster_port}/server_info")),
        ):
            servers.append(start(settings, name, commands[name]))
            _wait_until(is_up, name, settings, servers)
        report("dagster: up")
        servers.append(start(settings, "dagster-daemon", commands["dagster-daemon"]))
        _wait_until(lambda: answers(f"{url}/health"), "superset", settings, servers)
        report("dashboards: up")
        report(
            f"\nDashboards   {url}\n"
            f"Dagster      http://127.0.0.1:{settings.dagster_port}\n"
            f"Log-ins      {settings.credentials}\n"
            "Ctrl-C stops everything."
        )
        while all(server.poll() is None for server in servers):
            time.sleep(0.5)
        raise FleetmartError(f"A server ended by itself. Its log is in {settings.home / 'logs'}.")
    except KeyboardInterrupt:
        report("stopping")
    finally:
        stop(servers)


class _Beside:
    """Work in a thread whose error is raised where it is waited for."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._error = error

    def wait(self) -> None:
        self._thread.join()
        if self._error:
            raise self._error


def superset_command(settings: Settings) -> list[str]:
    """The command of the dashboards' server."""
    return [
        str(SUPERSET_PYTHON.with_name("gunicorn")), "--config", str(ROOT / "superset" / "gunicorn.conf.py"),
        "--bind", f"127.0.0.1:{settings.superset_port}", "superset.app:create_app()",
    ]  # fmt: skip


def dagster_commands(settings: Settings) -> dict[str, list[str]]:
    """The command of each of Dagster's servers, by its name."""
    code = ["-m", "orchestration.defs", "-s", CODE_SOCKET, "--use-python-environment-entry-point"]
    page = ["-h", "127.0.0.1", "-p", str(settings.dagster_port)]
    workspace = ["-w", str(settings.dagster_home / "workspace.yaml")]
    return {
        "dagster-code": [*YIELDING, _tool("dagster"), "api", "grpc", *code],
        "dagster-webserver": [_tool("dagster-webserver"), *page, *workspace],
        "dagster-daemon": [*YIELDING, _tool("dagster-daemon"), "run", *workspace],
    }


def start(
    settings: Settings, name: str, command: list[str], environment: dict[str, str] | None = None
) -> subprocess.Popen:
    """Start a server of this home, as the leader of a process group; what it says goes to logs/<name>.log."""
    logs = settings.home / "logs"
    logs.mkdir(exist_ok=True)
    with (logs / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            bound(command, signal.SIGTERM),
            env=home_environment(settings) | (environment or {}),
            cwd=settings.home,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def stop(servers: list[subprocess.Popen]) -> None:
    """Ask each server's whole process group to end, and make it after ten seconds."""
    for kind, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        for server in servers:
            try:
                os.killpg(server.pid, kind)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + patience
        while any(server.poll() is None for server in servers) and time.monotonic() < deadline:
            time.sleep(0.1)


def _wait_until(
    is_up: Callable[[], bool], name: str, settings: Settings, servers: list[subprocess.Popen], seconds: float = 180
) -> None:
    """Wait for a server; raises FleetmartError when one of the servers ends, or the time is over."""
    deadline = time.monotonic() + seconds
    while not is_up():
        if time.monotonic() > deadline or any(server.poll() is not None for server in servers):
            raise FleetmartError(f"{name} did not come up. What it said is in {settings.home / 'logs'}.")
        time.sleep(0.5)


def answers(url: str) -> bool:
    """True when this address answers that all is well."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def home_environment(settings: Settings) -> dict[str, str]:
    """Environment of every process that works on this home."""
    return (
        os.environ
        | dbt_environment(settings)
        | {
            "FLEETMART_BRANDING": str(settings.branding),
            "FLEETMART_SOURCES": str(settings.sources),
            "FLEETMART_REGISTRY": str(settings.registry),
            "FLEETMART_ASSETS": str(settings.assets),
            "FLEETMART_SUPERSET_PORT": str(settings.superset_port),
            "FLEETMART_DAGSTER_PORT": str(settings.dagster_port),
            "FLEETMART_SERVER_WORKERS": str(settings.server_workers),
            "FLEETMART_SERVER_THREADS": str(settings.server_threads),
            # whose pages may hold embedded dashboards
            "FLEETMART_PORTAL_PORT": str(settings.portal_port),
            "DAGSTER_HOME": str(settings.dagster_home),
            # what the steward's desk acts by
            "FLEETMART_COMMAND": _tool("fleetmart"),
            "SUPERSET_CONFIG_PATH": str(ROOT / "superset" / "superset_config.py"),
            "PYTHONUNBUFFERED": "1",
        }
    )


def _tool(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else (shutil.which(name) or name)


def _progress_of(line: str) -> str | None:
    """The part of a Dagster log line that a person wants to follow."""
    for mark in ("fleetmart: ", "waiting for another writer", "STEP_FAILURE", "RUN_FAILURE"):
        if mark in line:
            return line[line.index(mark) :].removeprefix("fleetmart: ")
    return None


def _stop_on_signals() -> None:
    """Ctrl-C and a polite kill end in the same way, even where a shell had Ctrl-C ignored for the background."""
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, _interrupt)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
