"""How the dashboards' server runs: quiet, and writing nothing outside FLEETMART_HOME."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gunicorn.http.wsgi

sys.path.insert(0, str(Path(__file__).resolve().parent / "security"))
import services

FOLDER = Path(__file__).resolve().parent

# `fleetmart bench serve --server 2x8 --server 3x8` compares.
workers = int(os.environ.get("FLEETMART_SERVER_WORKERS") or 2)
worker_class = "gthread"
threads = int(os.environ.get("FLEETMART_SERVER_THREADS") or 8)
timeout = 120
# A person looks at a page for longer than the default of 2 seconds before the next click, and a connection that is
# closed just as a request comes looks to its sender like a server that ended.
keepalive = 75
# Otherwise a socket is put into the user's home directory.
control_socket_disable = True

# The engine's own limit does not count long texts and lists under construction: without this one, a line of SQL takes
# the machine's memory. What is refused memory fails by itself, and says so.
MOST_MEMORY = 3 * 1024**3
# A worker that holds so much for longer than any query may run will not give it back, and ends after its requests.
FULL, FULL_SECONDS = MOST_MEMORY * 2 // 3, 60
# The engine's allocator otherwise keeps addresses that it needs no more, and the limit counts them: after two large
# statements the worker could not even hash a password. It reads this once, when the engine is loaded.
os.environ.setdefault("DUCKDB_JE_MALLOC_CONF", "retain:false")


def post_fork(server: Any, worker: Any) -> None:
    """Limit what a worker may hold, and let answers not say what serves them."""
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    gunicorn.http.wsgi.SERVER = "web"


def post_request(worker: Any, request: Any, environ: Any, response: Any) -> None:
    """End a worker that does not give back what it holds; another takes its place."""
    if _held() < FULL:
        worker.full_since = None
        return
    worker.full_since = getattr(worker, "full_since", None) or time.monotonic()
    if worker.alive and time.monotonic() - worker.full_since > FULL_SECONDS:
        worker.log.warning("This worker holds %d MB and does not give them back; it ends.", _held() // 1024**2)
        worker.alive = False


def _held() -> int:
    """Bytes that count towards the limit."""
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    return pages * resource.getpagesize()


def when_ready(server: Any) -> None:
    """Start who answers ahead: bound to this process, and behind the workers, as those are who publish.

    Only for a server of tenants: what `fleetmart bench serve` compares with is none.
    """
    if Path(os.environ.get("SUPERSET_CONFIG_PATH", "")) != FOLDER / "superset_config.py":
        return
    bound = [sys.executable, "-P", str(FOLDER.parent / "orchestration" / "child.py"), str(os.getpid()), "9"]
    subprocess.Popen(
        [*bound, "nice", "-n", "19", sys.executable, str(FOLDER / "answer_ahead.py")],
        env=os.environ | {"PYTHONPATH": str(FOLDER / "security")},
    )


def on_starting(server: Any) -> None:
    """End before any worker starts when what the settings name does not serve, saying so."""
    try:
        services.check()
    except services.ServiceError as error:
        sys.exit(f"error: {error}")
