"""A home served in the production profile: records in PostgreSQL, caches and counts in Redis, by settings alone."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from orchestration.demo import provision, start, stop, superset_command
from orchestration.people import read_credentials
from orchestration.settings import Settings
from tests.conftest import environment_of, free_port, wait_for
from tests.test_chart_data import Charts, analyst
from tests.test_desk import Visitor

NOT_NEEDED = ("lake", "archive", "dagster", "warehouse.duckdb*", "superset", "landing", "logs")


@dataclass
class Production:
    """A home whose dashboards' records are in PostgreSQL, and caches and counts in Redis."""

    settings: Settings
    database: str
    redis: redis.Redis
    said: list[str] = field(default_factory=list)
    _servers: list[subprocess.Popen] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.superset_port}"

    def provision(self) -> list[str]:
        """Provision as `fleetmart serve` does; returns what was said."""
        said: list[str] = []
        provision(self.settings, said.append)
        return said

    def serve(self) -> str:
        """Serve, if that is not done yet; returns the address."""
        if not self._servers:
            self._servers = [start(self.settings, "superset", superset_command(self.settings))]
            wait_for(f"{self.url}/health", self._servers[0], self.settings.home / "logs" / "superset.log")
        return self.url

    def stop(self) -> None:
        stop(self._servers)
        self._servers = []

    def charts(self, tenant_id: str) -> Charts:
        return Charts(self.serve(), analyst({"users": read_credentials(self.settings)}, tenant_id))

    def visitor(self, tenant_id: str) -> Visitor:
        visitor, user = Visitor(self.serve()), analyst({"users": read_credentials(self.settings)}, tenant_id)
        visitor.log_in(user["username"], user["password"])
        return visitor

    def keys(self, kind: str) -> set[str]:
        return {key.decode() for key in self.redis.keys(f"fleetmart.{kind}.*")}


@contextmanager
def production_profile(home: Path, folder: Path, database: str, redis_url: str) -> Iterator[Production]:
    """A copy of the home in `folder`, provisioned; served from when it is asked to, until the block ends."""
    copy = Path(shutil.copytree(home, folder / "home", symlinks=True, ignore=shutil.ignore_patterns(*NOT_NEEDED)))
    address = folder / "database"
    address.write_text(database + "\n")
    address.chmod(0o600)
    with pytest.MonkeyPatch.context() as patch, redis.Redis.from_url(redis_url) as client:
        for name, value in environment_of(copy).items():
            patch.setenv(name, value)
        patch.setenv("FLEETMART_SUPERSET_DATABASE_FILE", str(address))
        patch.setenv("FLEETMART_REDIS_URL", redis_url)
        settings = Settings(home=copy, superset_port=free_port(), server_workers=2, server_threads=4)
        production = Production(settings, database, client)
        production.said = production.provision()
        try:
            yield production
        finally:
            production.stop()
