"""Homes to test against: the demo's own, made once, and small ones for whatever writes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from orchestration.settings import ROOT, Settings

# An example of a property of whole builds takes half a minute: a few in every run, more by `make soak`.
hypothesis.settings.register_profile("test", max_examples=2, derandomize=True)
hypothesis.settings.register_profile("soak", max_examples=25)
hypothesis.settings.load_profile("test")

FLEETMART = str(Path(sys.executable).with_name("fleetmart"))


@pytest.fixture(scope="session")
def fleetmart_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which `fleetmart demo --no-serve` ran once; tests read it and change nothing."""
    home = tmp_path_factory.mktemp("demo")
    done = run_fleetmart(home, "demo", "--no-serve", "--json")
    assert done.returncode == 0, done.stderr[-4000:]
    return home


@pytest.fixture(scope="session")
def demo_settings(fleetmart_home: Path) -> Settings:
    return Settings(home=fleetmart_home)


@pytest.fixture(scope="session")
def credentials(fleetmart_home: Path) -> dict:
    return json.loads((fleetmart_home / "credentials.json").read_text())


@pytest.fixture(scope="session")
def superset_url(fleetmart_home: Path) -> Iterator[str]:
    """`fleetmart serve` on free ports; stopped as a person would, with Ctrl-C."""
    superset_port, dagster_port = free_port(), free_port()
    environment = environment_of(fleetmart_home) | {
        "FLEETMART_SUPERSET_PORT": str(superset_port),
        "FLEETMART_DAGSTER_PORT": str(dagster_port),
    }
    with (fleetmart_home / "serve.log").open("w") as log:
        server = subprocess.Popen([FLEETMART, "serve"], env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{superset_port}"
    try:
        wait_for(f"{url}/health", server, fleetmart_home / "serve.log")
        wait_for(f"http://127.0.0.1:{dagster_port}/server_info", server, fleetmart_home / "serve.log")
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=30) == 0
        for port in (superset_port, dagster_port):
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", port)) != 0, "a server outlived Ctrl-C"


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., Settings]:
    """Settings of an empty home with a registry and sources of its own, both free to be edited."""

    def make(name: str = "home") -> Settings:
        for folder in ("registry", "sources"):
            if not (tmp_path / folder).exists():
                shutil.copytree(ROOT / "orchestration" / folder, tmp_path / folder)
        settings = Settings(
            home=tmp_path / name, registry=tmp_path / "registry", sources=tmp_path / "sources", settle_seconds=0
        )
        settings.prepare_home()
        return settings

    return make


def environment_of(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLEETMART_")}
    return kept | {"FLEETMART_HOME": str(home)}


def run_fleetmart(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a user runs it."""
    return subprocess.run(
        [FLEETMART, *arguments],
        env=environment_of(home) | environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url: str, server: subprocess.Popen, log: Path, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()[-4000:]
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                if response.status == 200:
                    return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"{url} did not answer:\n{log.read_text()[-4000:]}")
