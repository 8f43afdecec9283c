"""Homes to test against: the demo's own, made once, and small ones for whatever writes."""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import hypothesis
import pytest
import redis
import sqlalchemy
from xdist.scheduler import LoadScopeScheduling

from orchestration.dbt_process import Dbt
from orchestration.settings import ROOT, Settings
from tests.attacks.caller import Caller

if TYPE_CHECKING:
    from tests.production import Production

# An example of a property of whole builds takes half a minute: a few in every run, more by `make soak`.
hypothesis.settings.register_profile("test", max_examples=2, derandomize=True)
hypothesis.settings.register_profile("soak", max_examples=25)
hypothesis.settings.load_profile("test")

PASSWORD = "hunter2-Zq%/9"
FLEETMART = str(Path(sys.executable).with_name("fleetmart"))
# A site whose scripts may call the demo's API.
LISTED_SITE = "https://listed.example"
LOOKS_AT_DEMO = re.compile(r"\b(fleetmart_home|superset_url|demo_settings)\b")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--demo-home", type=Path, help="where the demo's home is made, or stands from a call before")


class ByFileAndDemo(LoadScopeScheduling):
    """Tests of a file stay together; files that look at the demo are one process's, which makes it and serves it."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return "demo" if LOOKS_AT_DEMO.search((ROOT / file).read_text()) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return ByFileAndDemo(config, log)


@pytest.fixture(scope="session")
def fleetmart_home(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """A home in which `fleetmart demo --no-serve` ran once; tests read it and change nothing."""
    home = pytestconfig.getoption("--demo-home") or tmp_path_factory.mktemp("demo")
    whole = home / "demo.json"
    if not whole.exists():
        done = run_fleetmart(home, "demo", "--no-serve", "--json")
        assert done.returncode == 0, done.stderr[-4000:]
        whole.write_text(done.stdout)
    return home


@pytest.fixture(autouse=True)
def models_read_before(monkeypatch: pytest.MonkeyPatch, models_read: Callable[[], Path]) -> None:
    """What dbt knows of the models is in every new home already: reading them takes longer than a small build."""
    prepare = Settings.prepare_home

    def prepared(settings: Settings) -> None:
        prepare(settings)
        if not settings.dbt_target.exists():
            settings.dbt_target.mkdir(parents=True)
            shutil.copy(models_read(), settings.dbt_target)

    monkeypatch.setattr(Settings, "prepare_home", prepared)


@pytest.fixture(scope="session")
def models_read(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """The file in which dbt keeps what it read of the models, which it does once."""

    @cache
    def read() -> Path:
        settings = Settings(home=tmp_path_factory.mktemp("models"))
        with Dbt(settings) as dbt:
            dbt.run(["parse"], lambda line: None)
        return settings.dbt_target / "partial_parse.msgpack"

    return read


@pytest.fixture(scope="session")
def demo_settings(fleetmart_home: Path) -> Settings:
    return Settings(home=fleetmart_home)


@pytest.fixture(scope="session")
def credentials(fleetmart_home: Path) -> dict:
    return json.loads((fleetmart_home / "credentials.json").read_text())


@pytest.fixture(scope="session")
def portal_port() -> int:
    """Where the demo's dashboards may be framed from."""
    return free_port()


@pytest.fixture(scope="session")
def superset_url(fleetmart_home: Path, portal_port: int) -> Iterator[str]:
    """The demo's home served, for tests that look and change nothing."""
    with served(fleetmart_home, FLEETMART_PORTAL_PORT=str(portal_port), FLEETMART_CORS_HOSTS=LISTED_SITE) as url:
        yield url


@pytest.fixture
def person(superset_url: str, credentials: dict) -> Callable[[str], Caller]:
    """Logs in one of the demo's people, by name."""
    passwords = {user["username"]: user["password"] for user in credentials["users"]}
    return lambda username: Caller(superset_url).log_in(username, passwords[username])


@pytest.fixture
def records(fleetmart_home: Path) -> Iterator[sqlite3.Connection]:
    """The demo's records of Superset, to be changed by hand and put back."""
    with closing(sqlite3.connect(fleetmart_home / "superset" / "superset.db", timeout=60)) as connection:
        yield connection


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


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """URL of a database of its own, with a password that the server's `trust` does not ask for."""
    if not listens(5432):
        missing("no PostgreSQL listens on 127.0.0.1:5432")
    server = next(filter(None, map(_connected, ("postgres", "root"))), None)
    if server is None:
        missing("PostgreSQL on 127.0.0.1:5432 lets neither postgres nor root in without a password")
    name = f"fleetmart_test_{uuid.uuid4().hex[:12]}"
    server.execute(f"create database {name}")
    yield str(server.engine.url.set(database=name, password=PASSWORD).render_as_string(hide_password=False))
    server.execute(f"drop database {name} with (force)")
    server.close()


def _connected(user: str) -> sqlalchemy.engine.Connection | None:
    url = f"postgresql://{user}@127.0.0.1:5432/postgres"
    try:
        return sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT").connect()
    except sqlalchemy.exc.OperationalError:
        return None


@pytest.fixture(scope="module")
def empty_redis() -> Iterator[str]:
    """URL of a Redis database that held nothing before and holds nothing after."""
    if not listens(6379):
        missing("no Redis listens on 127.0.0.1:6379")
    for number in range(15, 0, -1):
        with redis.Redis(port=6379, db=number) as client:
            if client.dbsize() == 0:
                yield f"redis://127.0.0.1:6379/{number}"
                client.flushdb()
                return
    missing("no database of the Redis on 127.0.0.1:6379 is empty")


@pytest.fixture(scope="module")
def production(
    fleetmart_home: Path, tmp_path_factory: pytest.TempPathFactory, postgres: str, empty_redis: str
) -> Iterator["Production"]:
    """The demo's home in the production profile, provisioned once a module."""
    from tests.production import production_profile

    folder = tmp_path_factory.mktemp("production")
    with production_profile(fleetmart_home, folder, postgres, empty_redis) as made:
        yield made


def listens(port: int) -> bool:
    """Whether a server listens on this machine."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def missing(what: str) -> NoReturn:
    """Skip a test for want of a service, and fail it in CI."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@contextmanager
def served(home: Path, **environment: str) -> Iterator[str]:
    """`fleetmart serve` on free ports; stopped as a person would, with Ctrl-C."""
    superset_port, dagster_port = free_port(), free_port()
    ports = {"FLEETMART_SUPERSET_PORT": str(superset_port), "FLEETMART_DAGSTER_PORT": str(dagster_port)}
    with (home / "serve.log").open("w") as log:
        server = subprocess.Popen(
            [FLEETMART, "serve"], env=environment_of(home) | ports | environment, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{superset_port}"
    try:
        wait_for(f"{url}/health", server, home / "serve.log")
        wait_for(f"http://127.0.0.1:{dagster_port}/server_info", server, home / "serve.log")
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=30) == 0
        for port in (superset_port, dagster_port):
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", port)) != 0, "a server outlived Ctrl-C"


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


def wait_for(url: str, server: subprocess.Popen, log: Path, seconds: float = 600) -> None:
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
