"""Make Superset what the files say: roles, users, row rules, datasets, charts and dashboards, in one transaction.

Run it with Superset's own Python: `push` (the default), `diff`, `read SLUG`, `adopt SLUG ID…`, `forget TENANT`,
`alerts`.
Progress goes to standard error, one JSON object to standard output; exit 1 with the reason when it fails.
When no input changed since the last time, a push that is not forced says so at once, without loading Superset.
"""

import argparse
import dataclasses
import fcntl
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
MARTS = FOLDER.parent / "dbt_project" / "models" / "marts"
sys.path[:0] = [str(FOLDER), *(str(FOLDER / name) for name in ("security", "branding", "embedding"))]

import services  # noqa: E402
from alert_files import TenantAlert, read_alerts, tenant_alerts  # noqa: E402
from bundle import Bundle  # noqa: E402
from check_files import brand_problems, check_files  # noqa: E402
from declared_roles import RowRule, declared_roles, row_rules  # noqa: E402
from differences import Difference, State, differences  # noqa: E402
from embedded_addresses import give_addresses  # noqa: E402
from embedding import EmbeddingError, dashboards_of, embedded_uuid  # noqa: E402
from generated_secrets import SharedSecret, generated_secrets, require_private  # noqa: E402
from import_files import owned  # noqa: E402
from last_push import LastPush  # noqa: E402
from marts import uuid_of  # noqa: E402
from problems import AssetError, refuse  # noqa: E402
from push_alerts import make_alerts  # noqa: E402
from push_assets import (  # noqa: E402
    drop_kept_queries,
    grant_data,
    import_bundle,
    limit_dashboards,
    make_row_rules,
    own_assets,
    remove_what_left,
    share_queries,
)
from push_people import log_in_as_the_product, make_roles, make_users  # noqa: E402
from run_alerts import run_due  # noqa: E402
from superset_session import (  # noqa: E402
    ProvisionError,
    make_records,
    one_transaction,
    say,
    superset_started,
    upgrade_apart,
    upgrade_records,
)
from tenancy import TENANT_ID, fleetmart_home  # noqa: E402
from wanted_state import wanted_state  # noqa: E402

ROLES = ("admin", "executive", "analyst", "engineer", "steward", "tenant-admin")


def main() -> int:
    """Do what the arguments say, and answer on standard output."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.set_defaults(act=lambda home, _: push(home))
    acts = parser.add_subparsers()
    pushing = acts.add_parser("push", help="make Superset what the files say")
    pushing.add_argument("--force", action="store_true", help="look at Superset even when no input has changed")
    pushing.set_defaults(act=lambda home, given: push(home, given.force))
    acts.add_parser("diff", help="what Superset holds that the files do not say").set_defaults(
        act=lambda home, _: diff(home)
    )
    reading = acts.add_parser("read", help="a dashboard or chart as Superset holds it")
    reading.add_argument("slug")
    reading.set_defaults(act=lambda home, given: read(home, given.slug))
    adopting = acts.add_parser("adopt", help="make a person's own chart the files' one of this slug")
    adopting.add_argument("charts", nargs="+", help="SLUG=ID")
    adopting.set_defaults(act=lambda home, given: adopt(home, dict(pair.split("=") for pair in given.charts)))
    forgetting = acts.add_parser("forget", help="remove a tenant that has left, its people and all that they made")
    forgetting.add_argument("tenant")
    forgetting.set_defaults(act=lambda home, given: forget(home, given.tenant))
    acts.add_parser("alerts", help="ask what alerts are due, and tell").set_defaults(act=lambda home, _: alerts(home))
    given = parser.parse_args()
    try:
        print(json.dumps(given.act(fleetmart_home(), given)))
    except (ProvisionError, AssetError, SharedSecret, EmbeddingError, services.ServiceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def assets_folder() -> Path:
    """Where the dashboards' files are; the same default as the command line's."""
    return Path(os.environ.get("FLEETMART_ASSETS") or FOLDER / "assets").expanduser().absolute()


@dataclasses.dataclass(frozen=True)
class Files:
    """Everything that the files say, proved; `users` are those of credentials.json.

    `addresses` are the tenant and dashboard of each address under which a dashboard may be embedded.
    """

    bundle: Bundle
    users: list[dict[str, str]]
    rules: list[RowRule]
    addresses: dict[str, tuple[str, str]]
    alerts: list[TenantAlert]

    @classmethod
    def of(cls, home: Path) -> "Files":
        """What the files say.

        Raises ProvisionError or AssetError with all that is wrong in them.
        """
        users = read_users(home / "credentials.json")
        tenants = {user["tenant"] for user in users}
        refuse(check_files(assets_folder(), MARTS, tenants))
        secret = generated_secrets(home)["guest_token_jwt_secret"]
        addresses = {
            embedded_uuid(secret, tenant, slug): (tenant, slug)
            for tenant in sorted(tenants)
            for slug in dashboards_of(tenant)
        }
        bundle = Bundle(assets_folder(), MARTS)
        alerts = tenant_alerts(read_alerts(bundle), users)
        return cls(bundle, users, row_rules(tenants), addresses, alerts)

    @property
    def wanted(self) -> State:
        return wanted_state(self.bundle, self.users, self.rules, self.addresses, self.alerts)


def push(
    home: Path,
    forced: bool = True,
    but_first: Callable[[], dict[str, Any]] = dict,
    afterwards: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Bring Superset's records under `home` in line with the files, all of it or nothing.

    `but_first` is called within the same transaction, and its answer is given too; `afterwards` once it is committed.
    Raises ProvisionError, AssetError, SharedSecret, EmbeddingError or ServiceError, with what to do.
    """
    started = time.monotonic()
    refuse(brand_problems())
    services.check()
    with _alone(home):
        last = _last_push(home)
        users = read_users(home / "credentials.json")
        inputs = fingerprint(users)
        if not forced and last.inputs == inputs:
            return {"changed": 0, "changes": [], "seconds": round(time.monotonic() - started, 1)}
        files = Files.of(home)
        say(f"{len(files.bundle.dashboards)} dashboards, {len(files.bundle.charts)} charts proved")
        if services.database():
            upgrade_apart(home / "superset")
        else:
            make_records(home / "superset" / "superset.db")
        with superset_started():
            upgrade_records()
            with one_transaction():
                also = but_first()
                changes = _push(files, last)
                _note(last, inputs, users)
            afterwards()
    return {
        **also,
        "changed": len({change.object for change in changes}),
        "changes": [_told(change) for change in changes],
        "users": len(users),
        "datasets": len(files.bundle.datasets),
        "charts": len(files.bundle.charts),
        "dashboards": len(files.bundle.dashboards),
        "seconds": round(time.monotonic() - started, 1),
    }


def diff(home: Path) -> dict[str, Any]:
    """What Superset holds of what is the files' own, and they do not say; nothing is written.

    Raises ProvisionError when there is nothing to compare yet, AssetError for what is wrong in the files.
    """
    files = Files.of(home)
    with _reading(home):
        found = _differences(files, _last_push(home))
    return {"differences": [_told(one) for one in found]}


def _told(one: Difference) -> dict[str, Any]:
    return {**dataclasses.asdict(one), "text": str(one)}


def read(home: Path, slug: str) -> dict[str, Any]:
    """A dashboard, with the charts that it shows, or a chart, as Superset holds them, in the words of the files.

    Charts that people made and put there come under their ids.
    Raises ProvisionError when Superset has none of this slug.
    """
    from pulled import pulled

    bundle = Bundle(assets_folder(), MARTS)
    with _reading(home):
        found = pulled(bundle, slug)
    if found is None:
        known = ", ".join(sorted({*bundle.dashboards, *bundle.charts}))
        raise ProvisionError(f"Superset holds no dashboard or chart {slug!r} of the files. Known are: {known}.")
    return found


def adopt(home: Path, charts: dict[str, str]) -> dict[str, Any]:
    """Make charts that people made those of the files: from now on they are what the file of this slug says."""
    with _alone(home), superset_started(), one_transaction():
        from superset.models.slice import Slice

        from superset import db

        for slug, number in charts.items():
            chart = db.session.get(Slice, int(number))
            if chart is None:
                raise ProvisionError(f"There is no chart {number} to become {slug}; it was deleted meanwhile.")
            chart.uuid, chart.external_url = uuid_of("chart", slug), owned("chart", slug)
    return {"adopted": sorted(charts)}


def forget(home: Path, tenant: str) -> dict[str, Any]:
    """Remove a tenant that credentials.json no longer names from Superset: people, their work, every trace of them.

    Raises ProvisionError while the tenant is still there.
    """
    from forget_tenant import clean_up, forget_tenant

    if not TENANT_ID.fullmatch(tenant):
        raise ProvisionError(f"{tenant!r} cannot be a tenant's key.")
    if any(user["tenant"] == tenant for user in read_users(home / "credentials.json")):
        raise ProvisionError(f"{tenant} still has log-ins. Take its rows out of the registry first.")
    return push(home, but_first=lambda: {"removed": forget_tenant(tenant)}, afterwards=lambda: clean_up(tenant))


def alerts(home: Path) -> dict[str, Any]:
    """Ask every alert that is due, and tell whoever is to be told; what came of each.

    Raises ProvisionError when there is no Superset yet.
    """
    with _alone(home):
        _require_pushed(home)
        return {"alerts": run_due(home, services.records(home / "superset"))}


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One push at a time; the other one waits."""
    (home / "superset").mkdir(parents=True, exist_ok=True)
    with (home / "superset" / "push.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _last_push(home: Path) -> LastPush:
    return LastPush.of(services.records(home / "superset"), generated_secrets(home)["superset_secret_key"])


def read_users(path: Path) -> list[dict[str, str]]:
    """The people of credentials.json, proved.

    Raises ProvisionError when the file is missing or says what cannot be, SharedSecret when others may read it.
    """
    try:
        require_private(path)
        users = json.loads(path.read_text())["users"]
        for user in users:
            if user["role"] not in ROLES or not TENANT_ID.fullmatch(user["tenant"]) or not user["password"]:
                raise ProvisionError(
                    f"{path}: {user['username']} needs a role of {', '.join(ROLES)}, a tenant's key and a password."
                )
    except FileNotFoundError:
        raise ProvisionError(f"{path} does not exist. Run `fleetmart run` once; it makes the log-ins.") from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ProvisionError(
            f'{path} is not of the form {{"users": [{{"username", "password", "role", "tenant"}}]}} ({error}).'
        ) from error
    if not any(user["role"] == "admin" for user in users):
        raise ProvisionError(f"{path} names no user of role admin; somebody has to own the dashboards.")
    return users


def fingerprint(users: list[dict[str, str]]) -> str:
    """One hash over everything that provisioning reads."""
    digest = hashlib.sha256(metadata.version("apache-superset").encode())
    paths = {*FOLDER.rglob("*"), *assets_folder().rglob("*"), *MARTS.glob("*.yml")}
    for path in sorted(path for path in paths if path.is_file() and "__pycache__" not in path.parts):
        digest.update(f"{path}\0".encode() + path.read_bytes())
    digest.update(json.dumps(users, sort_keys=True).encode())
    # the addresses of embedded dashboards follow from it
    digest.update(generated_secrets(fleetmart_home())["guest_token_jwt_secret"].encode())
    return digest.hexdigest()


def _require_pushed(home: Path) -> None:
    if _last_push(home).inputs is None:
        raise ProvisionError("Nothing was ever pushed to Superset. Run `fleetmart superset push` first.")


@contextmanager
def _reading(home: Path) -> Iterator[None]:
    """Superset, to look at; whatever is done to its records meanwhile is undone.

    Raises ProvisionError when there is none yet.
    """
    _require_pushed(home)
    with superset_started():
        from superset import db

        try:
            yield
        finally:
            db.session.rollback()


def _push(files: Files, last: LastPush) -> list[Difference]:
    """Make Superset what the files say; returns what was not so before.

    Raises ProvisionError when it is not so afterwards: an import that lost something must not count as done.
    """
    _sync_permissions()
    changes = _differences(files, last)
    if not changes:
        return []
    changed = {change.object for change in changes}
    make_roles(files.users, last)
    make_users(files.users, last)
    log_in_as_the_product()
    if any(name.split()[0] in ("database", "dataset", "chart", "dashboard") for name in changed):
        import_bundle(files.bundle)
        own_assets(files.bundle)
        drop_kept_queries(files.bundle, changed)
    remove_what_left(files.bundle)
    grant_data(files.bundle)
    limit_dashboards(files.bundle)
    give_addresses({user["tenant"] for user in files.users})
    make_row_rules(files.bundle, files.rules)
    make_alerts(files.bundle, files.alerts)
    share_queries(files.bundle)
    _sync_permissions()
    _read_back(files, last)
    return changes


def _note(last: LastPush, inputs: str, users: list[dict[str, str]]) -> None:
    from superset import db

    last.note(db.session.connection(), inputs, users, declared_roles()["personas"])


def _differences(files: Files, last: LastPush) -> list[Difference]:
    from present_state import present_state

    return differences(files.wanted, present_state(files.bundle, files.users, files.addresses, last))


def _sync_permissions() -> None:
    from superset import appbuilder, security_manager

    say("permissions and roles")
    appbuilder.add_permissions(update_perms=True)
    security_manager.sync_role_definitions()


def _read_back(files: Files, last: LastPush) -> None:
    """Compare what stands in Superset with the files; log-ins are set up when the push is done.

    Raises ProvisionError with every difference.
    """
    from superset import db

    say("reading back")
    db.session.flush()
    db.session.expire_all()
    left = [one for one in _differences(files, last) if one.field != "credentials"]
    if left:
        told = "\n".join(map(str, left[:20]))
        raise ProvisionError(f"Superset does not hold what the files say, so nothing was changed:\n{told}")


if __name__ == "__main__":
    sys.exit(main())
