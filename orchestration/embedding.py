"""Dashboards inside other products: tokens, keys, and the portal that shows how.

Tokens and keys are Superset's business, so its Python makes them; the portal is a product like any customer's, which
knows nothing of this project but an address and a key.
"""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from typing import Any

from orchestration.child import bound
from orchestration.demo import SUPERSET_PYTHON, Report
from orchestration.errors import FleetmartError, WrongUse
from orchestration.registry import Registry
from orchestration.settings import ROOT, Settings

EMBEDDING = ROOT / "superset" / "embedding"
PORTAL = EMBEDDING / "portal"
FIRST_DASHBOARD = "fleet-overview"


def mint(settings: Settings, tenant_id: str, dashboard: str, user: str) -> dict[str, Any]:
    """A guest token as `token`, the dashboard's address as `id`, and `expires_at` in Unix seconds.

    Raises FleetmartError with what cannot be embedded.
    """
    _require_tenant(settings, tenant_id)
    return _asked(settings, "token", f"--tenant={tenant_id}", f"--dashboard={dashboard}", f"--user={user}")


def make_key(settings: Settings, tenant_id: str, rotate: bool) -> dict[str, Any]:
    """The tenant's new `key`, which nothing keeps.

    Raises FleetmartError when there is one already and it shall not be replaced.
    """
    _require_tenant(settings, tenant_id)
    settings.prepare_home()
    return _asked(settings, "key", f"--tenant={tenant_id}", *(["--rotate"] if rotate else []))


def serve_portal(settings: Settings, tenant_id: str, report: Report) -> None:
    """Serve the tenant's portal until Ctrl-C.

    Raises FleetmartError when its key is missing or not this tenant's, or the dashboards do not answer.
    """
    _require_tenant(settings, tenant_id)
    if settings.embed_key is None:
        raise FleetmartError(
            f"The portal asks for tokens as {tenant_id}'s product does, and needs its key: "
            f'FLEETMART_EMBED_KEY="$(fleetmart embed-key --tenant {tenant_id})" fleetmart portal --tenant {tenant_id}'
        )
    key = settings.embed_key.get_secret_value()
    _require_key_of(settings, key, tenant_id)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gunicorn = [str(SUPERSET_PYTHON.with_name("gunicorn")), "--config", str(PORTAL / "gunicorn.conf.py")]
    place = ["--chdir", str(PORTAL), "--bind", f"127.0.0.1:{settings.portal_port}"]
    server = subprocess.Popen(
        bound([*gunicorn, *place, "portal:app"], signal.SIGTERM),
        env=os.environ | {"DASHBOARDS_URL": settings.dashboards_url, "EMBED_KEY": key},
        cwd=settings.home,
        start_new_session=True,
    )
    try:
        report(f"\nPortal of {tenant_id}   http://127.0.0.1:{settings.portal_port}\nCtrl-C stops it.")
        while server.poll() is None:
            time.sleep(0.2)
        raise FleetmartError(
            f"The portal ended by itself. If port {settings.portal_port} is in use, choose another for the dashboards "
            "and the portal: FLEETMART_PORTAL_PORT"
        )
    except KeyboardInterrupt:
        report("stopping")
    finally:
        server.terminate()
        server.wait(timeout=15)


def _require_tenant(settings: Settings, tenant_id: str) -> None:
    known = Registry(settings.registry).tenant_ids
    if tenant_id not in known:
        raise WrongUse(f"There is no tenant {tenant_id!r} in the registry. Known are: {', '.join(known)}.")


def _asked(settings: Settings, *arguments: str) -> dict[str, Any]:
    if not SUPERSET_PYTHON.exists():
        raise FleetmartError(f"{SUPERSET_PYTHON} is missing: the dashboards' environment. Run `make setup`.")
    done = subprocess.run(
        bound([str(SUPERSET_PYTHON), str(EMBEDDING / "embed.py"), *arguments]),
        env=os.environ | {"FLEETMART_HOME": str(settings.home)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        raise FleetmartError(said[-1].removeprefix("error: ") if said else done.stderr[-2000:])
    return json.loads(done.stdout)


def _require_key_of(settings: Settings, key: str, tenant_id: str) -> None:
    """Ask for a token as the portal will, so that what is wrong is said here and not in a browser."""
    request = urllib.request.Request(
        f"{settings.dashboards_url}/embed/token",
        json.dumps({"dashboard": FIRST_DASHBOARD, "user": "portal"}).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            found = json.load(response)["tenant"]
    except urllib.error.HTTPError as error:
        raise FleetmartError(f"{settings.dashboards_url} gave no token: {error.read().decode()[:500]}") from error
    except OSError as error:
        raise FleetmartError(
            f"{settings.dashboards_url} does not answer ({error}). `fleetmart serve` serves the dashboards; "
            "FLEETMART_PUBLIC_URL says where they are."
        ) from error
    if found != tenant_id:
        raise FleetmartError(f"FLEETMART_EMBED_KEY is the key of {found}, not of {tenant_id}.")
