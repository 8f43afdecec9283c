"""What a browser asks for one dashboard, made from what Superset itself says of the dashboard: no browser needed.

The bodies are those that Superset's own pages send for the kinds of charts that superset/assets uses.
"""

import json
from collections.abc import Callable
from typing import Any

Body = dict[str, Any]
# What filter choices a page offers at most.
CHOICES = 1000


def chart_bodies(charts: list[dict[str, Any]], chosen: dict[str, list[Any]], dashboard_id: int) -> list[Body]:
    """The chart data requests of a dashboard's charts, with what its filters have chosen.

    `charts` are results of `/api/v1/dashboard/<slug>/charts`. Raises KeyError for a kind of chart that is not known.
    """
    return [_chart_body(chart["form_data"], chosen, dashboard_id) for chart in charts]


def filter_bodies(
    filters: list[dict[str, Any]], dashboard_id: int, ask: Callable[[Body], list[dict[str, Any]]]
) -> dict[str, list[Any]]:
    """Ask for each filter's choices as a page does when it opens; returns what is chosen, values by column.

    `filters` is the native filter configuration of a dashboard's metadata; `ask` sends a body and returns rows.
    """
    chosen: dict[str, dict[str, list[Any]]] = {}
    for item in filters:
        if item["filterType"] != "filter_select":
            continue
        above = {column: values for name in item.get("cascadeParentIds", []) for column, values in chosen[name].items()}
        column = item["targets"][0]["column"]["name"]
        rows = ask(_filter_body(item, above, dashboard_id))
        takes_first = item["controlValues"].get("defaultToFirstItem") and rows
        chosen[item["id"]] = {column: [rows[0][column]]} if takes_first else {}
    return {column: values for one in chosen.values() for column, values in one.items()}


def _filter_body(item: dict[str, Any], above: dict[str, list[Any]], dashboard_id: int) -> Body:
    target = item["targets"][0]
    column, metric = target["column"]["name"], item.get("sortMetric")
    ascending = item["controlValues"].get("sortAscending", True)
    query = _query([column], [metric] if metric else [], _conditions(above), CHOICES)
    query["orderby"] = [[metric or column, ascending]]
    form_data = {
        "datasource": f"{target['datasetId']}__table",
        "viz_type": item["filterType"],
        "type": "NATIVE_FILTER",
        "native_filter_id": item["id"],
        "dashboardId": dashboard_id,
    }
    return _body(form_data, query)


def _chart_body(form_data: dict[str, Any], chosen: dict[str, list[Any]], dashboard_id: int) -> Body:
    own = [
        {"col": each["subject"], "op": each["operator"], "val": each.get("comparator")}
        for each in form_data.get("adhoc_filters", [])
    ]
    query = QUERIES[form_data["viz_type"]](form_data, own + _conditions(chosen))
    shown = {**form_data, "dashboardId": dashboard_id, "extra_form_data": {"filters": _conditions(chosen)}}
    return _body(shown, query)


def _body(form_data: dict[str, Any], query: dict[str, Any]) -> Body:
    number, _, kind = form_data["datasource"].partition("__")
    return {
        "datasource": {"id": int(number), "type": kind},
        "force": False,
        "queries": [query],
        "form_data": form_data,
        "result_format": "json",
        "result_type": "full",
    }


def _conditions(chosen: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [{"col": column, "op": "IN", "val": values} for column, values in chosen.items()]


def _query(columns: list[Any], metrics: list[Any] | None, filters: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    return {
        "time_range": "No filter",
        "filters": filters,
        "extras": {"having": "", "where": ""},
        "applied_time_extras": {},
        "columns": columns,
        "metrics": metrics,
        "orderby": [],
        "annotation_layers": [],
        "row_limit": limit,
        "series_limit": 0,
        "order_desc": True,
        "url_params": {},
        "custom_params": {},
        "custom_form_data": {},
        "post_processing": [],
    }


def _single_figure(form: dict[str, Any], filters: list[dict[str, Any]]) -> dict[str, Any]:
    return _query([], [form["metric"]], filters, form["row_limit"])


def _figure_over_time(form: dict[str, Any], filters: list[dict[str, Any]]) -> dict[str, Any]:
    query = _query([_axis(form)], [form["metric"]], filters, form["row_limit"])
    label = _label(form["metric"])
    steps = [_pivot(form["x_axis"], [], [label])]
    if form.get("rolling_type"):
        rolling = {"rolling_type": form["rolling_type"], "window": form["rolling_periods"], "columns": {label: label}}
        steps.append({"operation": "rolling", "options": rolling | {"min_periods": form.get("min_periods", 0)}})
    return query | {"post_processing": [*steps, {"operation": "flatten"}]}


def _series(form: dict[str, Any], filters: list[dict[str, Any]]) -> dict[str, Any]:
    groups, metrics = form.get("groupby") or [], form["metrics"]
    query = _query([_axis(form), *groups], metrics, filters, form["row_limit"])
    steps = [_pivot(form["x_axis"], groups, [_label(metric) for metric in metrics]), {"operation": "flatten"}]
    first = form.get("timeseries_limit_metric") or metrics[0]
    return query | {"series_columns": groups, "orderby": [[first, False]], "post_processing": steps}


def _heat_map(form: dict[str, Any], filters: list[dict[str, Any]]) -> dict[str, Any]:
    query = _query([_axis(form), form["groupby"]], [form["metric"]], filters, form["row_limit"])
    rank = {"operation": "rank", "options": {"metric": _label(form["metric"]), "group_by": None}}
    return query | {"orderby": [[form["x_axis"], True], [form["groupby"], True]], "post_processing": [rank]}


def _histogram(form: dict[str, Any], filters: list[dict[str, Any]]) -> dict[str, Any]:
    groups = form.get("groupby") or []
    options = {name: form[name] for name in ("column", "bins", "cumulative", "normalize")} | {"groupby": groups}
    steps = [{"operation": "histogram", "options": options}]
    return _query([*groups, form["column"]], None, filters, form["row_limit"]) | {"post_processing": steps}


def _table(form: dict[str, Any], filters: list[dict[str, Any]]) -> dict[str, Any]:
    if form.get("query_mode") == "raw":
        order = [json.loads(each) for each in form.get("order_by_cols", [])]
        return _query(form["all_columns"], None, filters, form["row_limit"]) | {"orderby": order}
    metrics = form.get("metrics") or []
    first = form.get("timeseries_limit_metric") or (metrics[0] if metrics else None)
    order = [[first, not form.get("order_desc", True)]] if first else []
    return _query(form.get("groupby") or [], metrics, filters, form["row_limit"]) | {"orderby": order}


QUERIES: dict[str, Callable[[dict[str, Any], list[dict[str, Any]]], dict[str, Any]]] = {
    "big_number": _figure_over_time,
    "big_number_total": _single_figure,
    "echarts_timeseries_bar": _series,
    "echarts_timeseries_line": _series,
    "echarts_timeseries_scatter": _series,
    "heatmap_v2": _heat_map,
    "histogram_v2": _histogram,
    "table": _table,
}


def _axis(form: dict[str, Any]) -> dict[str, Any]:
    return {
        "timeGrain": form.get("time_grain_sqla"),
        "columnType": "BASE_AXIS",
        "sqlExpression": form["x_axis"],
        "label": form["x_axis"],
        "expressionType": "SQL",
    }


def _pivot(axis: str, groups: list[str], labels: list[str]) -> dict[str, Any]:
    aggregates = {label: {"operator": "mean"} for label in labels}
    options = {"index": [axis], "columns": groups, "aggregates": aggregates, "drop_missing_columns": False}
    return {"operation": "pivot", "options": options}


def _label(metric: Any) -> str:
    return metric if isinstance(metric, str) else metric["label"]
