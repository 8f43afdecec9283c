"""A guest asks what the dashboard asks, and nothing else of the same data.

Superset compares a guest's query with the saved chart only where the guest may see the chart by itself, and ours may
not; and it lets guests drill into any column of a dashboard's datasets. So the rule stands here: the columns and
metrics of a query are among those that the chart's own parameters name, its own conditions are kept, what narrows it
further is named somewhere on the dashboard, and there is no SQL but the declared. Needs nothing of Superset.
"""

import json
from collections.abc import Iterable
from typing import Any

READABLE = ("full", "results")


def complaint(context: Any, dashboard: Any) -> str | None:
    """Why this query of a guest is not one that the dashboard makes; None when it is."""
    if context.result_type not in READABLE or context.result_format != "json":
        return "Only what the page shows can be asked for."
    asked = _asked(context.form_data or {}, dashboard)
    if asked is None:
        return "This chart is not on the dashboard."
    names, conditions = asked
    on_page = names_in(json.loads(dashboard.json_metadata or "{}"))
    on_page = on_page.union(*(names_in(json.loads(chart.params or "{}")) for chart in dashboard.slices))
    complaints = (_complaint(query, context.datasource, names, conditions, on_page) for query in context.queries)
    return next(filter(None, complaints), None)


def _asked(form_data: dict[str, Any], dashboard: Any) -> tuple[set[str], list[dict[str, Any]]] | None:
    """Names and conditions of the chart or the filter that the query is for; None when it is for neither."""
    if form_data.get("type") == "NATIVE_FILTER":
        filters = json.loads(dashboard.json_metadata or "{}").get("native_filter_configuration", [])
        found = next((one for one in filters if one["id"] == form_data.get("native_filter_id")), None)
        return (names_in([found["targets"], found.get("sortMetric")]), []) if found else None
    chart = next((one for one in dashboard.slices if one.id == form_data.get("slice_id")), None)
    if chart is None:
        return None
    params = json.loads(chart.params or "{}")
    return names_in(params), params.get("adhoc_filters") or []


def _complaint(
    query: Any, datasource: Any, names: set[str], conditions: list[dict[str, Any]], on_page: set[str]
) -> str | None:
    if query.datasource not in (None, datasource) or query.result_type not in (None, *READABLE):
        return "Only what the page shows can be asked for."
    if query.annotation_layers or any(query.extras.get(clause) for clause in ("where", "having")):
        return "A guest's query has no SQL and no layers of its own."
    wanted = [*query.columns, *(query.metrics or []), *query.series_columns, *(one for one, _ in query.orderby)]
    if query.series_limit_metric:
        wanted.append(query.series_limit_metric)
    if not {_name(one) for one in wanted} <= names:
        return "The chart does not show this."
    narrowed = {_frozen([one.get("col"), one.get("op"), one.get("val")]) for one in query.filter}
    kept = {_frozen([one.get("subject"), one.get("operator"), one.get("comparator")]) for one in conditions}
    if not kept <= narrowed or not {_name(one.get("col")) for one in query.filter} <= on_page:
        return "The chart is narrowed otherwise."
    return None


def names_in(value: Any) -> set[str]:
    """Every text in a chart's or filter's parameters, and every whole metric that is defined there."""
    if isinstance(value, str):
        return {value}.union(*map(names_in, _listed_in(value)))
    if isinstance(value, dict):
        own = {_frozen(value)} if "expressionType" in value else set()
        return own.union(*map(names_in, value.values()))
    return set().union(*map(names_in, value)) if isinstance(value, list) else set()


def _name(asked: Any) -> str:
    """A column's or a metric's name; a column with a time grain is still that column."""
    if isinstance(asked, dict) and "sqlExpression" in asked and "columnType" in asked:
        return str(asked["sqlExpression"])
    return asked if isinstance(asked, str) else _frozen(asked)


def _listed_in(text: str) -> Iterable[Any]:
    """Orders are kept as lists in text."""
    try:
        found = json.loads(text) if text.startswith("[") else []
    except json.JSONDecodeError:
        return []
    return found if isinstance(found, list) else []


def _frozen(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
