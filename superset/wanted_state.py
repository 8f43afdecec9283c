"""What the files want Superset to hold, in the form in which present_state.py reads it there."""

import json
from typing import Any

from alert_files import TenantAlert
from bundle import Bundle
from declared_roles import RowRule, declared_roles, permissions_of
from differences import State
from example_queries import example_queries
from import_files import import_documents, owned
from own_records import PRODUCT_ACCOUNT
from readable_form import Names, chart_form, dashboard_form, without_empty
from tenancy import ROLE_PREFIX

DATABASE_FIELDS = (
    "expose_in_sqllab",
    "allow_run_async",
    "allow_ctas",
    "allow_cvas",
    "allow_dml",
    "cache_timeout",
)
DATASET_FIELDS = (
    "table_name",
    "main_dttm_col",
    "description",
    "schema",
    "sql",
    "filter_select_enabled",
    "normalize_columns",
    "always_filter_main_dttm",
)
COLUMN_FIELDS = ("verbose_name", "description", "type", "is_dttm", "is_active", "groupby", "filterable", "expression")
METRIC_FIELDS = ("verbose_name", "description", "expression", "d3format")


def wanted_state(
    bundle: Bundle,
    users: list[dict[str, str]],
    rules: list[RowRule],
    addresses: dict[str, tuple[str, str]],
    alerts: list[TenantAlert],
) -> State:
    """Everything that the files say; `users` are those of credentials.json.

    `addresses` are the tenant and dashboard of each address under which a dashboard may be embedded.
    """
    assets = assets_state(bundle)
    for kind, slugs in bundle.uuids.items():
        for slug in slugs.values():
            assets[f"{kind} {slug}"] |= {"mark": owned(kind, slug), "made by": PRODUCT_ACCOUNT}
    return {
        **assets,
        **_roles_state(bundle, sorted({user["tenant"] for user in users})),
        **{f"query {query.uuid}": query_state(query) for query in example_queries(bundle.assets / "queries")},
        **{f"user {user['username']}": user_state([user["tenant"]], is_set_up=True) for user in users},
        **{f"row rule {rule.name}": _rule_state(bundle, rule) for rule in rules},
        **{f"alert {alert.name}": alert.state for alert in alerts},
        **{f"embedding of {slug} for {tenant}": {"shows": slug} for tenant, slug in addresses.values()},
    }


def assets_state(bundle: Bundle) -> State:
    """The database, datasets, charts and dashboards."""
    # Through JSON, as they go into Superset: a number as a key is a text there.
    documents = json.loads(json.dumps(import_documents(bundle)))
    opened_by = declared_roles()["dashboards"]
    state = {f"database {bundle.database['name']}": _only(documents["databases/database.yaml"], DATABASE_FIELDS)}
    for slug in bundle.datasets:
        state[f"dataset {slug}"] = dataset_state(documents[f"datasets/{slug}.yaml"])
    for slug, chart in bundle.charts.items():
        state[f"chart {slug}"] = chart_form(documents[f"charts/{slug}.yaml"], chart.dataset.slug)
    for slug, dashboard in bundle.dashboards.items():
        names = Names(
            lambda number, charts=dashboard.charts: charts[number - 1], lambda uuid: bundle.uuids["dataset"][uuid]
        )
        form = own_style(bundle, dashboard_form(documents[f"dashboards/{slug}.yaml"], names))
        limited = {"only for": sorted(opened_by[slug])} if slug in opened_by else {}
        state[f"dashboard {slug}"] = form | limited
    return state


def own_style(bundle: Bundle, form: dict[str, Any]) -> dict[str, Any]:
    """The dashboard's form with the style that is its own: without what all share, and what its charts bring along."""
    css = form.get("css", "").removeprefix(bundle.shared_css)
    shown = [cell["chart"] for row in form.get("rows", []) for cell in row.get("cells", []) if "chart" in cell]
    says = sorted(
        slug for slug in shown if slug in bundle.charts and (block := bundle.charts[slug].css) and block in css
    )
    for chart in bundle.charts.values():
        css = css.replace(chart.css, "") if chart.css else css
    return without_empty({**form, "css": css, "says when empty": says})


def dataset_state(document: dict[str, Any]) -> dict[str, Any]:
    """A dataset, its columns and its metrics by name; `document` has the fields of Superset's own export."""
    columns = {column["column_name"]: _only(column, COLUMN_FIELDS) for column in document["columns"]}
    metrics = {metric["metric_name"]: _only(metric, METRIC_FIELDS) for metric in document["metrics"]}
    return {**_only(document, DATASET_FIELDS), "columns": columns, "metrics": metrics}


def query_state(query: Any) -> dict[str, Any]:
    """A saved query that every analyst sees, of the files or of Superset."""
    return {"label": query.label, "description": query.description, "sql": query.sql}


def user_state(tenants: list[str], is_set_up: bool) -> dict[str, Any]:
    """A log-in of credentials.json; what its owner changes once it is set up, such as the password, is its own."""
    return {"tenant": tenants, "credentials": "set up" if is_set_up else "not set up since they were changed"}


def _roles_state(bundle: Bundle, tenants: list[str]) -> State:
    declared = declared_roles()
    personas = {
        f"role {persona}": {
            "permissions": {f"{permission} on {view}": True for permission, view in permissions_of(declared, persona)},
            **({"datasets": dict.fromkeys(bundle.datasets, True)} if "look" in sets else {}),
            **({"database": True} if "sql" in sets else {}),
        }
        for persona, sets in declared["personas"].items()
    }
    return personas | {f"role {ROLE_PREFIX}{tenant}": {} for tenant in tenants}


def _rule_state(bundle: Bundle, rule: RowRule) -> dict[str, Any]:
    return {
        "clause": rule.clause,
        "type": "Regular",
        "description": rule.description,
        "roles": [rule.role],
        "datasets": {slug: True for slug, dataset in bundle.datasets.items() if rule.column in dataset.columns},
    }


def _only(document: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    return without_empty({field: document.get(field) for field in fields})
