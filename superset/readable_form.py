"""Charts and dashboards in the words of their files, read from what Superset keeps of them.

What stands in Superset and what the files would make of it come through here alike, so that they can be compared, and
written back. What the files have no word for stands there raw, under a name of Superset's own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bundle import METRIC_PARAMS, ONE_METRIC_PARAMS
from import_files import filter_controls, phone_width

# What Superset's pages add to a chart when they save it, and what stands in fields of its own.
NOT_OF_THE_CHART = {
    "adhoc_filters", "dashboardId", "dashboards", "datasource", "extra_form_data", "force", "result_format",
    "result_type", "slice_id", "url_params", "viz_type",
}  # fmt: skip
# What its pages work out anew whenever they save a dashboard.
WORKED_OUT = {
    "chart_configuration", "color_scheme_domain", "default_filters", "global_chart_configuration", "map_label_colors",
    "native_filter_configuration", "positions", "shared_label_colors", "show_chart_timestamps",
}  # fmt: skip
WORKED_OUT_OF_FILTERS = {
    "cascadeParentIds", "chartsInScope", "controlValues", "description", "filterType", "id", "name", "requiredFirst",
    "scope", "sortMetric", "tabsInScope", "targets", "type",
}  # fmt: skip
KINDS = {"filter_time": "time", "filter_select": "select"}


@dataclass(frozen=True)
class Names:
    """Slugs of charts and datasets by whatever stands for them: the bundle's numbers and UUIDs, or Superset's ids."""

    chart: Callable[[Any], str]
    dataset: Callable[[Any], str]


def without_empty(value: Any) -> Any:
    """The same without what is None or empty, at any depth."""
    if isinstance(value, dict):
        kept = {key: without_empty(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if not _is_empty(item)}
    return value


def chart_form(chart: dict[str, Any], dataset: str) -> dict[str, Any]:
    """A chart as its file would have it: `chart` has slice_name, description, viz_type and params."""
    params = chart["params"]
    shown = {name: _short_param(name, value) for name, value in params.items() if name not in NOT_OF_THE_CHART}
    conditions = [_short_condition(condition) for condition in params.get("adhoc_filters") or []]
    return without_empty(
        {
            "title": chart["slice_name"],
            "description": chart["description"],
            "dataset": dataset,
            "viz": chart["viz_type"],
            "params": shown,
            "where": [condition for condition in conditions if condition],
        }
    )


def _short_param(name: str, value: Any) -> Any:
    if name in METRIC_PARAMS and isinstance(value, list):
        return [_short_metric(metric) for metric in value]
    return _short_metric(value) if name in ONE_METRIC_PARAMS else value


def _short_metric(metric: Any) -> Any:
    if not isinstance(metric, dict) or metric.get("expressionType") != "SIMPLE":
        return metric
    return {"of": metric["column"]["column_name"], "is": metric["aggregate"], "label": metric["label"]}


def _short_condition(condition: dict[str, Any]) -> dict[str, Any] | None:
    """None for a condition that lets everything through, which Superset's pages put into every chart."""
    if condition.get("operator") == "TEMPORAL_RANGE" and condition.get("comparator") in (None, "No filter"):
        return None
    if condition.get("expressionType") != "SIMPLE" or condition.get("clause") != "WHERE":
        return {key: condition.get(key) for key in ("clause", "sqlExpression")}
    short = {"column": condition["subject"], "is": condition["operator"], "value": condition.get("comparator")}
    return {key: value for key, value in short.items() if value is not None}


def dashboard_form(dashboard: dict[str, Any], names: Names) -> dict[str, Any]:
    """A dashboard as its file would have it: `dashboard` has the fields of Superset's own export."""
    metadata = dashboard["metadata"]
    filters = metadata.get("native_filter_configuration") or []
    by_id = {item["id"]: item["name"] for item in filters if "name" in item}
    return without_empty(
        {
            "title": dashboard["dashboard_title"],
            "description": dashboard["description"],
            "css": dashboard["css"],
            "address": dashboard["slug"],
            "published": dashboard["published"],
            "rows": _rows(dashboard["position"], names),
            "filters": {item["name"]: _filter_form(item, by_id, names) for item in filters if "name" in item},
            "order of filters": [item["name"] for item in filters if "name" in item],
            "settings": {key: value for key, value in metadata.items() if key not in WORKED_OUT},
        }
    )


def _rows(position: dict[str, Any], names: Names) -> list[Any]:
    top = position.get(child_ids(position, "ROOT_ID")[0] if child_ids(position, "ROOT_ID") else "GRID_ID", {})
    if top.get("type") != "GRID":
        return [{"type": top.get("type", "nothing")}]
    return [_row(position, position[row_id], names) for row_id in top["children"] if row_id in position]


def child_ids(position: dict[str, Any], parent_id: str) -> list[str]:
    """Ids of a component's parts."""
    return position.get(parent_id, {}).get("children", [])


def _row(position: dict[str, Any], row: dict[str, Any], names: Names) -> dict[str, Any]:
    if row["type"] != "ROW":
        return {"type": row["type"]}
    cells = [_cell(position[cell_id], names) for cell_id in row["children"] if cell_id in position]
    background = row.get("meta", {}).get("background", "BACKGROUND_TRANSPARENT")
    return {"cells": cells} | ({} if background == "BACKGROUND_TRANSPARENT" else {"background": background})


def _cell(cell: dict[str, Any], names: Names) -> dict[str, Any]:
    meta = cell.get("meta", {})
    size = {key: meta[key] for key in ("width", "height") if key in meta}
    size["phone"] = meta.get("phoneWidth") or phone_width(meta.get("width", 0))
    if cell["type"] == "MARKDOWN":
        return {"text": meta.get("code", ""), **size}
    if cell["type"] == "CHART":
        named = {"name": meta["sliceNameOverride"]} if meta.get("sliceNameOverride") else {}
        return {"chart": names.chart(meta.get("chartId")), **named, **size}
    return {"type": cell["type"], **size}


def _filter_form(item: dict[str, Any], by_id: dict[str, str], names: Names) -> dict[str, Any]:
    is_time = item.get("filterType") == "filter_time"
    controls, scope = item.get("controlValues") or {}, item.get("scope") or {}
    single = not is_time and controls.get("multiSelect") is False
    target = next(iter(item.get("targets") or []), {})
    first = bool(single or (not is_time and controls.get("defaultToFirstItem")))
    expected = filter_controls(is_time, single, first)
    return {
        "kind": KINDS.get(item.get("filterType", ""), item.get("filterType")),
        "description": item.get("description"),
        "dataset": names.dataset(dataset)
        if (dataset := target.get("datasetId") or target.get("datasetUuid"))
        else None,
        "column": (target.get("column") or {}).get("name"),
        "single": single,
        "first": True if first and not single else None,
        "sorted_by": item.get("sortMetric"),
        "under": [by_id.get(parent, parent) for parent in item.get("cascadeParentIds") or []],
        "not_for": sorted(names.chart(number) for number in scope.get("excluded") or []),
        "required": None if bool(item.get("requiredFirst")) == first else bool(item.get("requiredFirst")),
        "controls": {key: value for key, value in controls.items() if expected.get(key, _UNSAID.get(key)) != value},
        "scope": None if scope.get("rootPath", ["ROOT_ID"]) == ["ROOT_ID"] else scope["rootPath"],
        **{key: without_empty(value) for key, value in item.items() if key not in WORKED_OUT_OF_FILTERS},
    }


# What a control that a filter does not name is.
_UNSAID = {"searchAllOptions": False, "inverseSelection": False, "sortAscending": True, "defaultToFirstItem": False}


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, dict | list | str) and not value)
