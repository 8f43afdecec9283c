"""What Superset holds now of what is the files' own; people's own work is left out.

Needs an application context of Superset.
"""

import json
from collections.abc import Iterable
from typing import Any

from bundle import Bundle
from declared_roles import OWN_RULES, declared_roles
from differences import State
from import_files import OWNED
from last_push import LastPush
from marts import uuid_of
from own_records import PRODUCT_ACCOUNT
from push_alerts import alerts_state
from readable_form import Names, chart_form, dashboard_form, without_empty
from tenancy import ROLE_PREFIX
from wanted_state import DATABASE_FIELDS, dataset_state, own_style, query_state, user_state

DATA_PERMISSIONS = {"datasource_access", "schema_access", "catalog_access", "database_access"}


def is_of_data(held: Any) -> bool:
    """Whether a permission that a role holds opens data; who may do that is not written in roles.yml."""
    return held.permission.name in DATA_PERMISSIONS


def present_state(
    bundle: Bundle, users: list[dict[str, str]], addresses: dict[str, tuple[str, str]], last: LastPush
) -> State:
    """Everything in Superset that the files answer for, also what they no longer hold; arguments as of wanted_state."""
    assets = assets_state(bundle)
    for kind in bundle.uuids:
        for slug, asset in owned_assets(bundle, kind).items():
            made_by = asset.created_by.username if asset.created_by else None
            assets[f"{kind} {slug}"] |= without_empty({"mark": asset.external_url, "made by": made_by})
    return {
        **assets,
        **_roles_state(bundle, users, last),
        **{f"query {query.uuid}": query_state(query) for query in shared_queries()},
        **_users_state(users, last),
        **_rules_state(bundle),
        **alerts_state(),
        **_addresses_state(bundle, addresses),
    }


def assets_state(bundle: Bundle) -> State:
    """The database, and datasets, charts and dashboards that the files brought."""
    from superset.models.core import Database

    from superset import db

    database = db.session.query(Database).filter_by(uuid=bundle.database_uuid).one_or_none()
    state = {}
    if database is not None:
        state[f"database {database.database_name}"] = without_empty(
            {field: getattr(database, field) for field in DATABASE_FIELDS}
        )
    for slug, dataset in owned_assets(bundle, "dataset").items():
        state[f"dataset {slug}"] = dataset_state(_dataset_document(dataset))
    for slug, chart in owned_assets(bundle, "chart").items():
        state[f"chart {slug}"] = chart_form(chart_document(chart), dataset_name(bundle, chart.datasource_id))
    for slug, dashboard in owned_assets(bundle, "dashboard").items():
        state[f"dashboard {slug}"] = dashboard_state(bundle, dashboard)
    return state


def owned_assets(bundle: Bundle, kind: str) -> dict[str, Any]:
    """By slug, the datasets, charts or dashboards that the files brought, those included that have left them."""
    from superset import db

    found = {}
    for asset in db.session.query(_model(kind)).all():
        slug = bundle.uuids[kind].get(str(asset.uuid)) or (asset.external_url or "").removeprefix(f"{OWNED}{kind}/")
        # a copy that somebody made may bear the mark, but never the UUID
        if slug and str(asset.uuid) == uuid_of(kind, slug):
            found[slug] = asset
    return found


def shared_queries() -> list[Any]:
    """The saved queries that the files brought."""
    from superset.models.sql_lab import SavedQuery

    from superset import db, security_manager

    model = security_manager.user_model
    made = db.session.query(SavedQuery).join(model, model.id == SavedQuery.created_by_fk)
    return made.filter(model.username == PRODUCT_ACCOUNT).all()


def dashboard_state(bundle: Bundle, dashboard: Any) -> dict[str, Any]:
    """One dashboard of Superset's, in the words of the files."""
    document = {
        "dashboard_title": dashboard.dashboard_title,
        "description": dashboard.description,
        "css": dashboard.css,
        "slug": dashboard.slug,
        "published": dashboard.published,
        "position": json.loads(dashboard.position_json or "{}"),
        "metadata": json.loads(dashboard.json_metadata or "{}"),
    }
    names = Names(lambda number: chart_name(bundle, number), lambda number: dataset_name(bundle, number))
    roles = sorted(role.name.removeprefix(ROLE_PREFIX) for role in dashboard.roles)
    return own_style(bundle, dashboard_form(document, names)) | ({"only for": roles} if roles else {})


def chart_name(bundle: Bundle, number: Any) -> str:
    """The slug of the chart with this id; of a person's own chart, what it is called and its id."""
    from superset.models.slice import Slice

    from superset import db

    chart = db.session.get(Slice, number) if number else None
    if chart is None:
        return f"no chart ({number})"
    return bundle.uuids["chart"].get(str(chart.uuid)) or f"somebody's own chart {chart.slice_name!r} ({number})"


def dataset_name(bundle: Bundle, number: Any) -> str:
    """The slug of the dataset with this id; of a person's own dataset, what it is called and its id."""
    from superset.connectors.sqla.models import SqlaTable

    from superset import db

    dataset = db.session.get(SqlaTable, number) if number else None
    if dataset is None:
        return f"no dataset ({number})"
    return bundle.uuids["dataset"].get(str(dataset.uuid)) or f"somebody's own dataset {dataset.table_name!r} ({number})"


def _model(kind: str) -> Any:
    from superset.connectors.sqla.models import SqlaTable
    from superset.models.dashboard import Dashboard
    from superset.models.slice import Slice

    return {"dataset": SqlaTable, "chart": Slice, "dashboard": Dashboard}[kind]


def _dataset_document(dataset: Any) -> dict[str, Any]:
    return {
        **_columns_of(dataset),
        "columns": [_columns_of(column) for column in dataset.columns],
        "metrics": [_columns_of(metric) for metric in dataset.metrics],
    }


def chart_document(chart: Any) -> dict[str, Any]:
    """A chart with the fields of Superset's own export."""
    return {**_columns_of(chart), "params": json.loads(chart.params or "{}")}


def _columns_of(record: Any) -> dict[str, Any]:
    return {column.key: getattr(record, column.key) for column in record.__mapper__.column_attrs}


def _roles_state(bundle: Bundle, users: list[dict[str, str]], last: LastPush) -> State:
    from superset import db, security_manager

    slugs = {dataset.perm: slug for slug, dataset in owned_assets(bundle, "dataset").items()}
    names = {*declared_roles()["personas"], *last.personas, *(ROLE_PREFIX + user["tenant"] for user in users)}
    model = security_manager.role_model
    roles = {role.name: role for role in db.session.query(model).filter(model.name.in_(names))}
    return {f"role {name}": _role_state(role.permissions, slugs) for name, role in roles.items()}


def _role_state(permissions: Iterable[Any], slugs: dict[str, str]) -> dict[str, Any]:
    """What a role holds; access to people's own datasets is theirs to give."""
    pairs = [(held.permission.name, held.view_menu.name) for held in permissions]
    return without_empty(
        {
            "permissions": {f"{name} on {view}": True for name, view in pairs if name not in DATA_PERMISSIONS},
            "datasets": {slugs[view]: True for name, view in pairs if name == "datasource_access" and view in slugs},
            "database": any(name == "database_access" for name, _ in pairs) or None,
            "schemas": [view for name, view in pairs if name in ("schema_access", "catalog_access")],
        }
    )


def _users_state(users: list[dict[str, str]], last: LastPush) -> State:
    """Which tenant each log-in of credentials.json belongs to; whether others that it once named still get in."""
    from superset import security_manager

    named, tenants = {user["username"]: user for user in users}, {user["tenant"] for user in users}
    state = {}
    for account in security_manager.get_all_users():
        own = tenants_of(account)
        has_left = is_from_the_files(account) or (own and not tenants & set(own))
        if account.username in named:
            state[f"user {account.username}"] = user_state(own, last.set_up(named[account.username]))
        elif account.active and has_left:
            state[f"user {account.username}"] = {"tenant": own}
    return state


def tenants_of(account: Any) -> list[str]:
    """Tenants whose role the account has, by itself or by a group."""
    roles = [*account.roles, *(role for group in account.groups for role in group.roles)]
    return sorted({role.name.removeprefix(ROLE_PREFIX) for role in roles if role.name.startswith(ROLE_PREFIX)})


def is_from_the_files(account: Any) -> bool:
    """Whether provisioning made the account, whose address then is of no real domain."""
    return account.email == address_of(account.username)


def address_of(username: str) -> str:
    """The e-mail address of an account that provisioning makes."""
    return f"{username}@fleetmart.invalid"


def _rules_state(bundle: Bundle) -> State:
    from superset.connectors.sqla.models import RowLevelSecurityFilter

    from superset import db

    rules = db.session.query(RowLevelSecurityFilter).filter(RowLevelSecurityFilter.name.startswith(OWN_RULES))
    return {f"row rule {rule.name}": _rule_state(bundle, rule) for rule in rules}


def _rule_state(bundle: Bundle, rule: Any) -> dict[str, Any]:
    return without_empty(
        {
            "clause": rule.clause,
            "type": str(getattr(rule.filter_type, "value", rule.filter_type)),
            "description": rule.description,
            "group": rule.group_key,
            "roles": sorted(role.name for role in rule.roles),
            "datasets": {dataset_name(bundle, dataset.id): True for dataset in rule.tables},
        }
    )


def _addresses_state(bundle: Bundle, addresses: dict[str, tuple[str, str]]) -> State:
    """Under which addresses dashboards may be embedded, and which each of them shows."""
    from superset.models.embedded_dashboard import EmbeddedDashboard

    from superset import db

    state = {}
    for address in db.session.query(EmbeddedDashboard).all():
        uuid = str(address.uuid)
        tenant, slug = addresses.get(uuid, ("nobody", uuid))
        shown = address.dashboard.slug if address.dashboard else None
        state[f"embedding of {slug} for {tenant}"] = without_empty(
            {"shows": shown, "domains": address.allow_domain_list}
        )
    return state
