"""Push the dashboards' and example queries' files, and what people may see of them: datasets, dashboards, rows."""

from typing import Any

from bundle import Bundle
from declared_roles import OWN_RULES, RowRule, declared_roles
from example_queries import example_queries
from import_files import import_files
from superset_session import ProvisionError, say, set_list
from tenancy import ROLE_PREFIX


def import_bundle(bundle: Bundle) -> None:
    """Push the bundle in one transaction.

    Raises ProvisionError with the importer's own complaints.
    """
    from marshmallow import ValidationError
    from superset.commands.exceptions import CommandException
    from superset.commands.importers.v1.assets import ImportAssetsCommand

    say("importing dashboards")
    try:
        ImportAssetsCommand(import_files(bundle)).run()
    except (CommandException, ValidationError) as error:
        complaints = getattr(error, "normalized_messages", lambda: "")()
        raise ProvisionError(f"Superset refused the dashboards: {error} {complaints}") from error


def own_assets(bundle: Bundle) -> None:
    """What was imported is the product's and nobody else's: security/own_records.py shows it to everybody for that."""
    from flask import g
    from present_state import owned_assets

    for kind in ("dashboard", "chart", "dataset"):
        for asset in owned_assets(bundle, kind).values():
            asset.created_by_fk = g.user.id
            set_list(asset, "owners", [g.user])


def share_queries(bundle: Bundle) -> None:
    """Make the product's saved queries those of the files."""
    from flask import g
    from present_state import shared_queries
    from superset.models.core import Database
    from superset.models.sql_lab import SavedQuery

    from superset import db

    database = db.session.query(Database).filter_by(uuid=bundle.database_uuid).one()
    kept = {str(saved.uuid): saved for saved in shared_queries()}
    for query in example_queries(bundle.assets / "queries"):
        saved = kept.pop(query.uuid, None) or SavedQuery(uuid=query.uuid, user_id=g.user.id, created_by_fk=g.user.id)
        saved.label, saved.description, saved.sql = query.label, query.description, query.sql
        saved.db_id, saved.schema = database.id, bundle.database["schema"]
        db.session.add(saved)
    for left in kept.values():
        db.session.delete(left)


def drop_kept_queries(bundle: Bundle, changed: set[str]) -> None:
    """Charts keep the query that they were saved with, which the API answers: of one that was changed, it is wrong."""
    from present_state import owned_assets

    for slug, chart in owned_assets(bundle, "chart").items():
        if f"chart {slug}" in changed:
            chart.query_context = None


def remove_what_left(bundle: Bundle) -> None:
    """Delete what an earlier push brought and the files no longer hold."""
    from present_state import owned_assets

    from superset import db

    for kind in ("dashboard", "chart", "dataset"):
        for asset in owned_assets(bundle, kind).values():
            if str(asset.uuid) not in bundle.uuids[kind]:
                db.session.delete(asset)
        db.session.flush()
    # permissions on deleted datasets went without the session's knowing
    db.session.expire_all()


def grant_data(bundle: Bundle) -> None:
    """Personas that look read the files' datasets; those with SQL read the database as well."""
    from present_state import is_of_data, owned_assets
    from superset.models.core import Database

    from superset import db, security_manager

    database = db.session.query(Database).filter_by(uuid=bundle.database_uuid).one()
    perms = {dataset.perm for dataset in owned_assets(bundle, "dataset").values()}
    readable = [security_manager.add_permission_view_menu("datasource_access", perm) for perm in sorted(perms)]
    whole = security_manager.add_permission_view_menu("database_access", database.perm)
    for persona, sets in declared_roles()["personas"].items():
        role = security_manager.find_role(persona)
        # access to people's own datasets is theirs to give
        kept = [held for held in role.permissions if not is_of_data(held) or _is_of_own_data(held, perms)]
        wanted = (readable if "look" in sets else []) + ([whole] if "sql" in sets else [])
        set_list(role, "permissions", kept + wanted)


def _is_of_own_data(held: Any, perms: set[str]) -> bool:
    return held.permission.name == "datasource_access" and held.view_menu.name not in perms


def limit_dashboards(bundle: Bundle) -> None:
    """Give the dashboards that roles.yml limits to people of some tenants these tenants' roles; bundles carry none."""
    from superset.models.dashboard import Dashboard

    from superset import db, security_manager

    limited = declared_roles()["dashboards"]
    for slug, dashboard in bundle.dashboards.items():
        found = db.session.query(Dashboard).filter_by(uuid=dashboard.uuid).one()
        set_list(found, "roles", [security_manager.add_role(ROLE_PREFIX + tenant) for tenant in limited.get(slug, [])])


def make_row_rules(bundle: Bundle, rules: list[RowRule]) -> None:
    """The tenants' row rules, as row_rules.yml and the log-ins have them, and none that they no longer have."""
    from present_state import owned_assets
    from superset.connectors.sqla.models import RowLevelSecurityFilter

    from superset import db, security_manager

    kept = db.session.query(RowLevelSecurityFilter).filter(RowLevelSecurityFilter.name.startswith(OWN_RULES))
    found = {rule.name: rule for rule in kept}
    for name in found.keys() - {rule.name for rule in rules}:
        db.session.delete(found[name])
    datasets = owned_assets(bundle, "dataset")
    for rule in rules:
        record = found.get(rule.name) or RowLevelSecurityFilter(name=rule.name)
        record.clause, record.description = rule.clause, rule.description
        record.filter_type, record.group_key = "Regular", None
        set_list(record, "roles", [security_manager.find_role(rule.role)])
        columns = {slug: dataset.columns for slug, dataset in bundle.datasets.items()}
        set_list(record, "tables", [datasets[slug] for slug in columns if rule.column in columns[slug]])
        db.session.add(record)
