"""Make Superset what the files say: roles, users, datasets, charts and dashboards, in one process.

Run it with Superset's own Python. Progress goes to standard error, one JSON object to standard output;
exit 1 with the reason when it fails. When no input changed since the last time it says so at once,
without loading Superset.
"""

import argparse
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent
MARTS = FOLDER.parent / "dbt_project" / "models" / "marts"
CHILD = FOLDER.parent / "orchestration" / "child.py"
sys.path[:0] = [str(FOLDER), str(FOLDER / "security"), str(FOLDER / "branding")]

from bundle import AssetError, Bundle  # noqa: E402
from import_files import import_files  # noqa: E402
from tenancy import ROLE_PREFIX, TENANT_ID, fleetmart_home  # noqa: E402

MAKE_RECORDS = """
import logging
logging.disable(logging.INFO)
import flask_migrate
from superset.app import create_app
with create_app().app_context():
    flask_migrate.upgrade()
"""
ROLES = ("admin", "executive", "analyst", "steward")


class ProvisionError(Exception):
    """What could not be made so, and what to do about it."""


def main() -> int:
    """Provision, and say on standard output what was done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--force", action="store_true", help="provision even when no input has changed")
    forced = parser.parse_args().force
    try:
        print(json.dumps(provision(fleetmart_home(), forced)))
    except (ProvisionError, AssetError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def provision(home: Path, forced: bool = False) -> dict[str, Any]:
    """Bring Superset's records under `home` in line with the files.

    Raises ProvisionError or AssetError, with what to do.
    """
    started = time.monotonic()
    users = read_users(home / "credentials.json")
    done = home / "superset" / "provisioned.json"
    inputs = fingerprint(users)
    if not forced and _is_done(done, inputs, home):
        return {"changed": False, "seconds": round(time.monotonic() - started, 1)}
    bundle = Bundle(FOLDER / "assets", MARTS)
    _say(f"{len(bundle.dashboards)} dashboards, {len(bundle.charts)} charts, {len(bundle.datasets)} datasets proved")
    done.unlink(missing_ok=True)
    _make_records(home / "superset" / "superset.db")
    counts = _provision_superset(users, bundle)
    done.write_text(json.dumps({"inputs": inputs}))
    return {"changed": True, **counts, "seconds": round(time.monotonic() - started, 1)}


def read_users(path: Path) -> list[dict[str, str]]:
    """The people of credentials.json, proved.

    Raises ProvisionError when the file is missing or says what cannot be.
    """
    try:
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
    files = [path for path in FOLDER.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    for path in sorted(files + list(MARTS.glob("*.yml"))):
        digest.update(f"{path.relative_to(FOLDER.parent)}\0".encode() + path.read_bytes())
    digest.update(json.dumps(users, sort_keys=True).encode())
    return digest.hexdigest()


def _is_done(done: Path, inputs: str, home: Path) -> bool:
    if not done.exists() or not (home / "superset" / "superset.db").exists():
        return False
    with suppress(json.JSONDecodeError):
        return json.loads(done.read_text()).get("inputs") == inputs
    return False


def _make_records(records: Path) -> None:
    """New, empty records, whole or not at all: SQLite cannot undo a half-done migration.

    Raises ProvisionError when they cannot be made.
    """
    if records.exists():
        return
    partial = records.with_name("superset.db.part")
    records.parent.mkdir(parents=True, exist_ok=True)
    for left_over in records.parent.glob(f"{partial.name}*"):
        left_over.unlink()
    _say("making Superset's records")
    bound = [sys.executable, "-P", str(CHILD), str(os.getpid()), str(int(signal.SIGKILL))]
    made = subprocess.run(
        [*bound, sys.executable, "-c", MAKE_RECORDS],
        env=os.environ | {"SUPERSET_CONFIG_PATH": str(FOLDER / "superset_config.py"), "SUPERSET_RECORDS": partial.name},
        cwd=records.parent,
        stdout=sys.stderr,
        check=False,
    )
    if made.returncode:
        raise ProvisionError("Superset's records could not be made; its own words stand above.")
    os.replace(partial, records)


def _provision_superset(users: list[dict[str, str]], bundle: Bundle) -> dict[str, Any]:
    os.environ["SUPERSET_CONFIG_PATH"] = str(FOLDER / "superset_config.py")
    os.environ.setdefault("FLEETMART_HOME", str(fleetmart_home()))
    # Hundreds of migrations each say so; what matters is said here, and failures raise.
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    _say("starting Superset")
    with _standard_output_to_error():
        from superset.app import create_app

        app = create_app()
        with app.app_context():
            _upgrade_records()
            _sync_permissions()
            _make_roles(users)
            _make_users(users)
            _log_in_as_owner(users)
            _import(bundle)
            removed = _remove_what_left(bundle)
            _grant_data(bundle)
            _limit_dashboards(bundle)
            _read_back(bundle)
    return {
        "users": len(users),
        "datasets": len(bundle.datasets),
        "charts": len(bundle.charts),
        "dashboards": len(bundle.dashboards),
        "removed": removed,
    }


def _upgrade_records() -> None:
    import flask_migrate

    _say("upgrading Superset's records")
    flask_migrate.upgrade()


def _sync_permissions() -> None:
    from superset import appbuilder, security_manager

    _say("permissions and roles")
    appbuilder.add_permissions(update_perms=True)
    security_manager.sync_role_definitions()


def _make_roles(users: list[dict[str, str]]) -> None:
    """Persona roles hold exactly what roles.yml lists; tenant roles hold nothing and name a tenant."""
    from superset import security_manager

    declared = yaml.safe_load((FOLDER / "security" / "roles.yml").read_text())
    for persona, sets in declared["personas"].items():
        role = security_manager.add_role(persona)
        listed = [pair for name in sets for pair in declared["sets"][name]]
        role.permissions = [security_manager.add_permission_view_menu(*pair) for pair in listed]
    for tenant in {user["tenant"] for user in users}:
        security_manager.add_role(ROLE_PREFIX + tenant)
    _commit()


def _make_users(users: list[dict[str, str]]) -> None:
    from superset import security_manager

    _say(f"{len(users)} users")
    named = {user["username"] for user in users}
    for user in security_manager.get_all_users():
        if user.username not in named:
            user.active = False
    for user in users:
        roles = [security_manager.find_role(name) for name in _role_names(user)]
        account = security_manager.find_user(username=user["username"])
        if account is None:
            first, last = _shown_name(user)
            account = security_manager.add_user(
                user["username"], first, last, f"{user['username']}@fleetmart.invalid", roles, user["password"]
            )
            if not account:
                raise ProvisionError(f"User {user['username']} could not be made; Superset's log above says why.")
        account.active = True
        account.roles = roles
        account.groups = []
        security_manager.reset_password(account.id, user["password"])
    _commit()


def _role_names(user: dict[str, str]) -> list[str]:
    persona = "Admin" if user["role"] == "admin" else user["role"]
    return [persona, ROLE_PREFIX + user["tenant"]]


def _shown_name(user: dict[str, str]) -> tuple[str, str]:
    """First and last name: whoever looks at an asset's history sees the product, no person."""
    if user["role"] == "admin":
        return "Fleetmart", "Administrator"
    return user["role"].capitalize(), user["tenant"].replace("-", " ").title()


def _log_in_as_owner(users: list[dict[str, str]]) -> None:
    """Imports belong to an administrator, and open the operator's snapshot."""
    from flask import g

    from superset import security_manager

    owner = next(user for user in users if user["role"] == "admin")
    g.user = security_manager.find_user(username=owner["username"])


def _import(bundle: Bundle) -> None:
    """Push the bundle in one transaction.

    Raises ProvisionError with the importer's own complaints.
    """
    from marshmallow import ValidationError
    from superset.commands.exceptions import CommandException
    from superset.commands.importers.v1.assets import ImportAssetsCommand

    _say("importing dashboards")
    try:
        ImportAssetsCommand(import_files(bundle)).run()
    except (CommandException, ValidationError) as error:
        complaints = getattr(error, "normalized_messages", lambda: "")()
        raise ProvisionError(f"Superset refused the dashboards: {error} {complaints}") from error


def _remove_what_left(bundle: Bundle) -> list[str]:
    """Delete what an earlier import brought and the files no longer hold."""
    from superset.connectors.sqla.models import SqlaTable
    from superset.models.core import Database
    from superset.models.dashboard import Dashboard
    from superset.models.slice import Slice

    from superset import db

    removed = []
    owned = db.session.query(SqlaTable).join(Database).filter(Database.uuid == bundle.database_uuid)
    kinds = [
        ("dashboard", db.session.query(Dashboard).filter(Dashboard.slug.isnot(None))),
        ("chart", db.session.query(Slice)),
        ("dataset", owned),
    ]
    made_here = _made_here()
    for kind, query in kinds:
        for asset in query.all():
            if str(asset.uuid) in made_here and str(asset.uuid) not in bundle.uuids[kind]:
                removed.append(f"{kind} {asset}")
                db.session.delete(asset)
    _commit()
    _remember(made_here | set().union(*bundle.uuids.values()))
    return removed


def _made_here() -> set[str]:
    """UUIDs that earlier imports brought: people's own assets are not among them."""
    path = fleetmart_home() / "superset" / "imported.json"
    return set(json.loads(path.read_text())) if path.exists() else set()


def _remember(uuids: set[str]) -> None:
    (fleetmart_home() / "superset" / "imported.json").write_text(json.dumps(sorted(uuids)))


def _grant_data(bundle: Bundle) -> None:
    """Personas read the imported datasets; those with SQL read the database as well."""
    from superset.connectors.sqla.models import SqlaTable
    from superset.models.core import Database

    from superset import db, security_manager

    declared = yaml.safe_load((FOLDER / "security" / "roles.yml").read_text())
    database = db.session.query(Database).filter_by(uuid=bundle.database_uuid).one()
    datasets = db.session.query(SqlaTable).filter_by(database_id=database.id).all()
    readable = [security_manager.add_permission_view_menu("datasource_access", dataset.perm) for dataset in datasets]
    whole = security_manager.add_permission_view_menu("database_access", database.perm)
    for persona, sets in declared["personas"].items():
        role = security_manager.find_role(persona)
        wanted = readable + ([whole] if "sql" in sets else [])
        role.permissions = role.permissions + [access for access in wanted if access not in role.permissions]
    _commit()


def _limit_dashboards(bundle: Bundle) -> None:
    """Give the dashboards that roles.yml limits to people of some tenants these tenants' roles; bundles carry none.

    Raises ProvisionError for a dashboard that there is not.
    """
    from superset.models.dashboard import Dashboard

    from superset import db, security_manager

    declared = yaml.safe_load((FOLDER / "security" / "roles.yml").read_text())["dashboards"]
    if unknown := declared.keys() - bundle.dashboards.keys():
        raise ProvisionError(f"roles.yml limits {_short(unknown)}, which is no dashboard.")
    for slug in bundle.dashboards:
        dashboard = db.session.query(Dashboard).filter_by(slug=slug).one()
        dashboard.roles = [security_manager.add_role(ROLE_PREFIX + tenant) for tenant in declared.get(slug, [])]
    _commit()


def _read_back(bundle: Bundle) -> None:
    """Compare what stands in Superset with the files.

    Raises ProvisionError at the first difference: an import that lost something must not count as done.
    """
    from superset.connectors.sqla.models import SqlaTable
    from superset.models.dashboard import Dashboard
    from superset.models.slice import Slice

    from superset import db

    _say("reading back")
    for dataset in bundle.datasets.values():
        found = _one(db.session.query(SqlaTable).filter_by(uuid=dataset.uuid), "dataset", dataset.slug)
        _require_same("dataset", dataset.slug, set(dataset.columns), {c.column_name for c in found.columns})
        _require_same("dataset", dataset.slug, set(dataset.metrics), {m.metric_name for m in found.metrics})
    for chart in bundle.charts.values():
        found = _one(db.session.query(Slice).filter_by(uuid=chart.uuid), "chart", chart.slug)
        _require_same("chart", chart.slug, (chart.title, chart.viz), (found.slice_name, found.viz_type))
        _require_same("chart", chart.slug, chart.dataset.name, found.datasource.name.removeprefix("main."))
    for dashboard in bundle.dashboards.values():
        found = _one(db.session.query(Dashboard).filter_by(uuid=dashboard.uuid), "dashboard", dashboard.slug)
        wanted = {bundle.charts[slug].uuid for slug in dashboard.charts}
        _require_same("dashboard", dashboard.slug, wanted, {str(chart.uuid) for chart in found.slices})
        _require_same("dashboard", dashboard.slug, dashboard.slug, found.slug)


def _one(query: Any, kind: str, slug: str) -> Any:
    found = query.all()
    if len(found) != 1:
        raise ProvisionError(f"{kind} {slug}: {len(found)} stand in Superset after the import, not one.")
    return found[0]


def _require_same(kind: str, slug: str, wanted: Any, found: Any) -> None:
    if wanted != found:
        raise ProvisionError(f"{kind} {slug}: the files say {_short(wanted)}, Superset holds {_short(found)}.")


def _short(value: Any) -> str:
    return ", ".join(sorted(value)) if isinstance(value, Iterable) and not isinstance(value, str) else str(value)


def _commit() -> None:
    from superset import db

    db.session.commit()


class _standard_output_to_error:
    """Superset prints while it starts; standard output is for the answer alone."""

    def __enter__(self) -> None:
        self.kept, sys.stdout = sys.stdout, sys.stderr

    def __exit__(self, *error: object) -> None:
        sys.stdout = self.kept


def _say(line: str) -> None:
    print(f"superset: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
