"""The import bundle that Superset takes: what the files say, written out as Superset keeps it."""

from typing import Any

import yaml
from bundle import Bundle, Chart, Dashboard
from marts import TIMES, Column, Dataset, Metric

OWNED = "fleetmart:"


def import_files(bundle: Bundle) -> dict[str, str]:
    """Contents by file name, for Superset's assets import."""
    documents = import_documents(bundle)
    return {name: yaml.safe_dump(document, sort_keys=False, allow_unicode=True) for name, document in documents.items()}


def import_documents(bundle: Bundle) -> dict[str, Any]:
    """What the import's files say, by file name."""
    documents: dict[str, Any] = {"metadata.yaml": {"version": "1.0.0", "type": "assets"}}
    documents["databases/database.yaml"] = _database_document(bundle)
    for dataset in bundle.datasets.values():
        documents[f"datasets/{dataset.slug}.yaml"] = _dataset_document(bundle, dataset)
    for chart in bundle.charts.values():
        documents[f"charts/{chart.slug}.yaml"] = _chart_document(chart)
    for dashboard in bundle.dashboards.values():
        documents[f"dashboards/{dashboard.slug}.yaml"] = _dashboard_document(bundle, dashboard)
    return documents


def _database_document(bundle: Bundle) -> dict[str, Any]:
    return {
        "database_name": bundle.database["name"],
        # Never opened: DB_CONNECTION_MUTATOR puts the caller's own snapshot in its place.
        "sqlalchemy_uri": "duckdb:///:memory:",
        "cache_timeout": bundle.database["cache_seconds"],
        "expose_in_sqllab": True,
        "allow_run_async": False,
        "allow_ctas": False,
        "allow_cvas": False,
        "allow_dml": False,
        "allow_csv_upload": False,
        "extra": {
            "allows_virtual_table_explore": True,
            "cancel_query_on_windows_unload": True,
            "metadata_params": {},
            "engine_params": {},
            "metadata_cache_timeout": {},
            "schemas_allowed_for_csv_upload": [],
        },
        "uuid": bundle.database_uuid,
        "version": "1.0.0",
    }


def owned(kind: str, slug: str) -> str:
    """What marks an asset in Superset as one of the files', so that it leaves Superset when it leaves them."""
    return f"{OWNED}{kind}/{slug}"


def _dataset_document(bundle: Bundle, dataset: Dataset) -> dict[str, Any]:
    return {
        "external_url": owned("dataset", dataset.slug),
        "table_name": dataset.name,
        "main_dttm_col": dataset.time_column,
        "description": dataset.description,
        "schema": bundle.database["schema"],
        "catalog": None,
        "sql": dataset.sql,
        "filter_select_enabled": True,
        "normalize_columns": False,
        "always_filter_main_dttm": False,
        "columns": [_column_document(column) for column in dataset.columns.values()],
        "metrics": [_metric_document(metric) for metric in dataset.metrics.values()],
        "uuid": dataset.uuid,
        "database_uuid": bundle.database_uuid,
        "version": "1.0.0",
    }


def _dashboard_document(bundle: Bundle, dashboard: Dashboard) -> dict[str, Any]:
    numbers = {slug: number for number, slug in enumerate(dashboard.charts, start=1)}
    return {
        "external_url": owned("dashboard", dashboard.slug),
        "dashboard_title": dashboard.title,
        "description": dashboard.description,
        "css": dashboard.css,
        "slug": dashboard.slug,
        "uuid": dashboard.uuid,
        "position": _position(bundle, dashboard, numbers),
        "metadata": _metadata(bundle, dashboard, numbers),
        "published": True,
        "version": "1.0.0",
    }


def _position(bundle: Bundle, dashboard: Dashboard, numbers: dict[str, int]) -> dict[str, Any]:
    row_ids = [f"ROW-{number}" for number in range(1, len(dashboard.rows) + 1)]
    position: dict[str, Any] = {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"]},
        "GRID_ID": {"type": "GRID", "id": "GRID_ID", "children": row_ids, "parents": ["ROOT_ID"]},
        "HEADER_ID": {"type": "HEADER", "id": "HEADER_ID", "meta": {"text": dashboard.title}},
    }
    for row_id, row in zip(row_ids, dashboard.rows, strict=True):
        cells = [_cell(bundle, row_id, place, row, cell, numbers) for place, cell in enumerate(row["cells"], start=1)]
        position[row_id] = {
            "type": "ROW",
            "id": row_id,
            "children": [cell["id"] for cell in cells],
            "parents": ["ROOT_ID", "GRID_ID"],
            "meta": {"background": "BACKGROUND_TRANSPARENT"},
        }
        position |= {cell["id"]: cell for cell in cells}
    return position


def _cell(
    bundle: Bundle, row_id: str, place: int, row: dict[str, Any], cell: dict[str, Any], numbers: dict[str, int]
) -> dict[str, Any]:
    meta = {"width": cell["width"], "height": cell.get("height", row["height"])}
    # branding/app.js lays phones out by this.
    meta["phoneWidth"] = cell.get("phone", phone_width(cell["width"]))
    common = {"children": [], "parents": ["ROOT_ID", "GRID_ID", row_id]}
    if "text" in cell:
        return {
            "type": "MARKDOWN",
            "id": f"MARKDOWN-{row_id}-{place}",
            "meta": {**meta, "code": cell["text"]},
            **common,
        }
    chart = bundle.charts[cell["chart"]]
    meta |= {"chartId": numbers[chart.slug], "uuid": chart.uuid, "sliceName": chart.title}
    return {"type": "CHART", "id": f"CHART-{chart.slug}", "meta": meta, **common}


def _metadata(bundle: Bundle, dashboard: Dashboard, numbers: dict[str, int]) -> dict[str, Any]:
    everywhere = {"rootPath": ["ROOT_ID"], "excluded": []}
    return {
        "color_scheme": bundle.defaults["all"]["color_scheme"],
        "cross_filters_enabled": True,
        "filter_bar_orientation": "HORIZONTAL",
        "refresh_frequency": 0,
        "timed_refresh_immune_slices": [],
        "expanded_slices": {},
        "label_colors": {},
        "shared_label_colors": [],
        "default_filters": "{}",
        "global_chart_configuration": {"scope": everywhere, "chartsInScope": list(numbers.values())},
        "chart_configuration": {},
        "native_filter_configuration": [_filter(bundle, item, numbers) for item in dashboard.filters],
    }


def _filter(bundle: Bundle, item: dict[str, Any], numbers: dict[str, int]) -> dict[str, Any]:
    is_time = item.get("kind") == "time"
    target = {} if is_time else {
        "datasetUuid": bundle.datasets[item["dataset"]].uuid,
        "column": {"name": item["column"]},
    }  # fmt: skip
    single = bool(item.get("single"))
    first = single or bool(item.get("first"))
    return {
        "id": _filter_id(item["name"]),
        "name": item["name"],
        "description": item.get("description", ""),
        "type": "NATIVE_FILTER",
        "filterType": "filter_time" if is_time else "filter_select",
        "targets": [target],
        # Without it the first item is shown as chosen, but filters nothing until it is applied by hand.
        "requiredFirst": first,
        "sortMetric": item.get("sorted_by"),
        "controlValues": filter_controls(is_time, single, first),
        "defaultDataMask": {"extraFormData": {}, "filterState": {}, "ownState": {}},
        "cascadeParentIds": [_filter_id(name) for name in item.get("under", [])],
        "scope": {"rootPath": ["ROOT_ID"], "excluded": [numbers[slug] for slug in item.get("not_for", [])]},
    }


def filter_controls(is_time: bool, single: bool, first: bool) -> dict[str, bool]:
    """How a filter behaves: one that begins with the first item chooses it by itself, and is never empty."""
    if is_time:
        return {"enableEmptyFilter": False}
    return {
        "enableEmptyFilter": first,
        "defaultToFirstItem": first,
        "multiSelect": not single,
        "searchAllOptions": False,
        "inverseSelection": False,
        "sortAscending": True,
    }


def phone_width(width: int) -> int:
    """Columns on a phone of a cell that does not say: small ones stand two in a row."""
    return 6 if width <= 3 else 12


def _chart_document(chart: Chart) -> dict[str, Any]:
    return {
        "external_url": owned("chart", chart.slug),
        "slice_name": chart.title,
        "description": chart.description,
        "viz_type": chart.viz,
        "params": chart.params,
        "uuid": chart.uuid,
        "dataset_uuid": chart.dataset.uuid,
        "version": "1.0.0",
    }


def _column_document(column: Column) -> dict[str, Any]:
    return {
        "column_name": column.name,
        "verbose_name": column.label,
        "description": column.description,
        "type": column.type.upper(),
        "is_dttm": column.type in TIMES,
        "is_active": True,
        "groupby": True,
        "filterable": True,
        "expression": None,
        "extra": None,
    }


def _metric_document(metric: Metric) -> dict[str, Any]:
    return {
        "metric_name": metric.name,
        "verbose_name": metric.label,
        "description": metric.description,
        "expression": metric.expression,
        "d3format": metric.format,
        "metric_type": None,
        "extra": None,
    }


def _filter_id(name: str) -> str:
    return f"NATIVE_FILTER-{name.lower().replace(' ', '-')}"
