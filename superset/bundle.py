"""Dashboards as source code: what readable files in assets/ and dbt's own YAML say, proved.

Slugs are file names and UUIDs follow from them, so the same files give the same dashboards anywhere.
Every reference is proved before anything is pushed (dashboard, chart, dataset, column, metric), since the
importer drops what it cannot resolve without a word. Needs PyYAML only.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from marts import Dataset, read_joined, read_marts, uuid_of
from problems import AssetError, Problem, each, problem, read_mapping, refuse, yaml_files

COLUMN_PARAMS = ("groupby", "columns", "all_columns", "groupbyRows", "groupbyColumns")
ONE_COLUMN_PARAMS = ("x_axis", "column", "granularity_sqla", "series", "entity", "temporal_columns_lookup_column")
METRIC_PARAMS = ("metrics", "metrics_b", "percent_metrics")
ONE_METRIC_PARAMS = ("metric", "secondary_metric", "timeseries_limit_metric", "x", "y", "size")
FORMATS = {"smart_date", "smart_date_verbose"}
AGGREGATES = {"AVG", "COUNT", "COUNT_DISTINCT", "MAX", "MIN", "SUM"}
COMPARISONS = {"==", "!=", ">", "<", ">=", "<=", "IN", "NOT IN", "LIKE", "ILIKE", "IS NULL", "IS NOT NULL"}
FILTER_KEYS = {
    "name",
    "description",
    "kind",
    "dataset",
    "column",
    "single",
    "first",
    "sorted_by",
    "under",
    "after",
    "not_for",
}
LINK = re.compile(r"\]\(/superset/dashboard/([^/)?#]+)")


@dataclass(frozen=True)
class Chart:
    """One chart: a question and the parameters that answer it."""

    slug: str
    file: str
    title: str
    description: str
    dataset: Dataset
    viz: str
    params: dict[str, Any]
    empty: str = ""

    @property
    def uuid(self) -> str:
        return uuid_of("chart", self.slug)

    @property
    def css(self) -> str:
        """What the chart says when nothing is there, where that is good news."""
        if not self.empty:
            return ""
        place = f'[data-test-chart-name="{self.title}"] .slice_container [aria-label="empty"] + div'
        return (
            f"{place} > p {{ display: none; }}\n"
            f'{place}::after {{ content: "{self.empty}"; color: #5b6781; font-weight: 600; }}\n'
        )


@dataclass(frozen=True)
class Dashboard:
    """Rows of cells and the filters over them."""

    slug: str
    file: str
    title: str
    description: str
    rows: list[dict[str, Any]]
    filters: list[dict[str, Any]]
    css: str
    charts: list[str] = field(default_factory=list)

    @property
    def uuid(self) -> str:
        return uuid_of("dashboard", self.slug)


class Bundle:
    """Everything in `assets` and `marts`, proved.

    Raises AssetError with everything that is wrong.
    """

    def __init__(self, assets: Path, marts: Path) -> None:
        self.assets = assets
        problems: list[Problem] = []
        documents = each([assets / "database.yml", assets / "chart_defaults.yml"], read_mapping, problems)
        refuse(problems)
        self.database, self.defaults = documents.values()
        self.models = read_marts(marts, problems)
        self.datasets = {**self.models, **read_joined(assets / "datasets", self.models, problems)}
        # What a broken file would have made is not missed elsewhere as well.
        self._broken = {path.stem for path in yaml_files(assets / "datasets")} - self.datasets.keys()
        charts, dashboards = yaml_files(assets / "charts"), yaml_files(assets / "dashboards")
        self._slugs = {"chart": {path.stem for path in charts}, "dashboard": {path.stem for path in dashboards}}
        made = each(charts, self._chart, problems)
        self.charts = {path.stem: chart for path, chart in made.items()}
        made_of_them = each(dashboards, self._dashboard, problems)
        self.dashboards = {path.stem: dashboard for path, dashboard in made_of_them.items()}
        problems += self._charts_not_shown(charts, dashboards)
        refuse(problems)

    @property
    def database_uuid(self) -> str:
        return uuid_of("database", self.database["name"])

    @cached_property
    def shared_css(self) -> str:
        """The style that every dashboard has."""
        return (self.assets / "dashboards" / "shared.css").read_text()

    @cached_property
    def uuids(self) -> dict[str, dict[str, str]]:
        """Slugs by UUID, for each kind: what stands in Superset beside them has left the files."""
        return {
            "dataset": {dataset.uuid: slug for slug, dataset in self.datasets.items()},
            "chart": {chart.uuid: slug for slug, chart in self.charts.items()},
            "dashboard": {dashboard.uuid: slug for slug, dashboard in self.dashboards.items()},
        }

    def _chart(self, path: Path) -> Chart:
        given = read_mapping(
            path,
            {"title": str, "dataset": str, "viz": str},
            optional={"description": str, "params": dict, "where": list, "empty": str},
        )
        refuse(self._chart_problems(path, given))
        if given["dataset"] in self._broken:
            raise AssetError([])
        dataset = self.datasets[given["dataset"]]
        params = self.params_in_full(dataset, given["viz"], given.get("params", {}), given.get("where", []))
        return Chart(
            slug=path.stem,
            file=path.name,
            title=given["title"],
            description=given.get("description", ""),
            dataset=dataset,
            viz=given["viz"],
            params=params,
            empty=given.get("empty", ""),
        )

    def _chart_problems(self, path: Path, given: dict[str, Any]) -> Iterator[Problem]:
        if given["viz"] not in self.defaults:
            yield problem(path, "viz", f"{given['viz']!r} has no entry in chart_defaults.yml.", self.defaults)
        yield from self._dataset_problems(path, "dataset", given["dataset"])
        if dataset := self.datasets.get(given["dataset"]):
            params = {**self.defaults["all"], **self.defaults.get(given["viz"], {}), **given.get("params", {})}
            yield from params_problems(path, dataset, params)
            yield from where_problems(path, dataset, given.get("where", []))

    def params_in_full(
        self, dataset: Dataset, viz: str, own: dict[str, Any], where: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """A chart's parameters as Superset keeps them: defaults, its own, and what the marts declare."""
        params = {**self.defaults["all"], **self.defaults[viz], **own}
        if viz == "table":
            params["column_config"] = _declared_formats(dataset, params) | params.get("column_config", {})
        params = _expanded(dataset, params, where)
        params |= {"viz_type": viz, "datasource": "0__table"}
        if dataset.time_column:
            params.setdefault("granularity_sqla", dataset.time_column)
        return params

    def _dashboard(self, path: Path) -> Dashboard:
        given = read_mapping(
            path,
            {"title": str, "rows": list},
            optional={"description": str, "filters": list, "css": str, "phone": dict},
        )
        rows, filters = given["rows"], given.get("filters", [])
        refuse(row_problem for place, row in enumerate(rows) for row_problem in _row_problems(path, place, row))
        charts = [cell["chart"] for row in rows for cell in row["cells"] if "chart" in cell]
        refuse([*self._cell_problems(path, rows, charts), *self._filter_problems(path, filters, charts)])
        # A chart with a problem of its own is no problem of the dashboard's.
        css = self.shared_css + given.get("css", "")
        css += "".join(self.charts[slug].css for slug in charts if slug in self.charts)
        return Dashboard(path.stem, path.name, given["title"], given.get("description", ""), rows, filters, css, charts)

    def _cell_problems(self, path: Path, rows: list[dict[str, Any]], charts: list[str]) -> Iterator[Problem]:
        for row_place, row in enumerate(rows):
            for place, cell in enumerate(row["cells"]):
                where = f"rows[{row_place}].cells[{place}]"
                if "chart" in cell and cell["chart"] not in self._slugs["chart"]:
                    yield problem(path, where, f"there is no chart {cell['chart']!r}.", self._slugs["chart"])
                for slug in LINK.findall(cell.get("text", "")):
                    if slug not in self._slugs["dashboard"]:
                        what = f"leads on to {slug!r}, which is no dashboard."
                        yield problem(path, where, what, self._slugs["dashboard"])
        for slug in sorted({slug for slug in charts if charts.count(slug) > 1}):
            yield problem(path, "rows", f"chart {slug!r} stands there twice; show it once.")

    def _filter_problems(self, path: Path, filters: list[Any], charts: list[str]) -> Iterator[Problem]:
        names = [item.get("name") for item in filters if isinstance(item, dict)]
        for place, item in enumerate(filters):
            where = f"filters[{place}]"
            if not isinstance(item, dict) or not isinstance(item.get("name"), str) or item.keys() - FILTER_KEYS:
                yield problem(path, where, "a filter is a mapping with a name.", FILTER_KEYS)
                continue
            if names.count(item["name"]) > 1:
                yield problem(path, where, f"filter {item['name']!r} stands there twice.")
            for other in [item.get("after"), *item.get("under", [])]:
                if other is not None and other not in names:
                    what = f"filter {item['name']!r} leans on {other!r}, which is no filter here."
                    yield problem(path, where, what, names)
            if unknown := set(item.get("not_for", [])) - set(charts):
                what = f"filter {item['name']!r} leaves out {', '.join(sorted(unknown))}, not on this dashboard."
                yield problem(path, where, what, charts)
            if item.get("kind") != "time":
                yield from self._filter_target_problems(path, where, item)

    def _filter_target_problems(self, path: Path, where: str, item: dict[str, Any]) -> Iterator[Problem]:
        yield from self._dataset_problems(path, where, item.get("dataset"))
        dataset = self.datasets.get(item.get("dataset"))
        if dataset is None:
            return
        if item.get("column") not in dataset.columns:
            what = f"filter {item['name']!r} reads column {item.get('column')!r}, not in {dataset.slug}."
            yield problem(path, where, what, dataset.columns)
        if item.get("sorted_by") and item["sorted_by"] not in dataset.metrics:
            what = f"filter {item['name']!r} is sorted by {item['sorted_by']!r}, not in {dataset.slug}."
            yield problem(path, where, what, dataset.metrics)

    def _dataset_problems(self, path: Path, where: str, slug: str | None) -> Iterator[Problem]:
        if slug not in self.datasets and slug not in self._broken:
            yield problem(path, where, f"there is no dataset {slug!r}.", self.datasets)

    def _charts_not_shown(self, charts: list[Path], dashboards: list[Path]) -> Iterator[Problem]:
        """Charts that no file of a dashboard names, however broken the file is otherwise."""
        text = "\n".join(path.read_text() for path in dashboards)
        for path in charts:
            if not re.search(rf"\bchart: *{re.escape(path.stem)}\b(?!-)", text):
                yield problem(path, "", "no dashboard shows this chart.", remedy="Show it, or delete the file.")


def params_problems(path: Path, dataset: Dataset, params: dict[str, Any]) -> Iterator[Problem]:
    """Columns and metrics that the parameters name and the dataset has not."""
    for name in (*COLUMN_PARAMS, *ONE_COLUMN_PARAMS):
        for column in _listed(params.get(name)):
            if column not in dataset.columns:
                what = f"{name} names column {column!r}, not in {dataset.slug}."
                yield problem(path, f"params.{name}", what, dataset.columns)
    for name in (*METRIC_PARAMS, *ONE_METRIC_PARAMS):
        for metric in _listed(params.get(name)):
            yield from _metric_problems(path, name, dataset, metric)
    shown = set(dataset.columns) | {m.name for m in dataset.metrics.values()} | _own_labels(params)
    for column in params.get("column_config", {}):
        if column not in shown:
            what = f"column_config names {column!r}, not in {dataset.slug}."
            yield problem(path, "params.column_config", what, shown)
    for entry in params.get("order_by_cols", []):
        if _ordered_column(entry) not in dataset.columns:
            what = f"order_by_cols names {entry}, not in {dataset.slug}."
            yield problem(path, "params.order_by_cols", what, dataset.columns)


def _ordered_column(entry: Any) -> Any:
    try:
        return json.loads(entry)[0]
    except (TypeError, ValueError, LookupError):
        return None


def _metric_problems(path: Path, param: str, dataset: Dataset, metric: Any) -> Iterator[Problem]:
    where = f"params.{param}"
    if not isinstance(metric, dict):
        if metric not in dataset.metrics:
            what = f"{param} names metric {metric!r}, not in {dataset.slug}."
            yield problem(path, where, what, dataset.metrics)
    elif set(metric) != {"of", "is", "label"}:
        yield problem(path, where, f"must be a metric's name or {{of: column, is: AVG, label: …}}, not {metric}.")
    else:
        if metric["of"] not in dataset.columns:
            what = f"{param} reads column {metric['of']!r}, not in {dataset.slug}."
            yield problem(path, where, what, dataset.columns)
        if metric["is"] not in AGGREGATES:
            yield problem(path, where, f"{metric['is']!r} is no aggregate.", AGGREGATES)


def where_problems(path: Path, dataset: Dataset, where: list[Any]) -> Iterator[Problem]:
    """Conditions that are not of their form, or name what the dataset has not."""
    for place, condition in enumerate(where):
        if not isinstance(condition, dict) or not {"column", "is"} <= condition.keys() <= {"column", "is", "value"}:
            yield problem(path, f"where[{place}]", f"must be {{column: …, is: ==, value: …}}, not {condition}.")
            continue
        if condition["column"] not in dataset.columns:
            what = f"where names column {condition['column']!r}, not in {dataset.slug}."
            yield problem(path, f"where[{place}]", what, dataset.columns)
        if condition["is"] not in COMPARISONS:
            yield problem(path, f"where[{place}]", f"{condition['is']!r} is no comparison.", COMPARISONS)


def _declared_formats(dataset: Dataset, params: dict[str, Any]) -> dict[str, Any]:
    """Number formats of a table's columns and metrics, as the marts declare them."""
    declared = {**dataset.columns, **dataset.metrics}
    shown = [name for key in ("all_columns", "groupby", "metrics") for name in _listed(params.get(key))]
    named = [declared[name] for name in shown if isinstance(name, str)]
    return {item.name: {"d3NumberFormat": item.format} for item in named if item.format and item.format not in FORMATS}


def _own_labels(params: dict[str, Any]) -> set[str]:
    given = [metric for name in (*METRIC_PARAMS, *ONE_METRIC_PARAMS) for metric in _listed(params.get(name))]
    return {metric["label"] for metric in given if isinstance(metric, dict) and "label" in metric}


def _row_problems(path: Path, place: int, row: Any) -> Iterator[Problem]:
    where = f"rows[{place}]"
    if not isinstance(row, dict) or set(row) != {"height", "cells"} or not isinstance(row["cells"], list):
        yield problem(path, where, f"a row has height and cells, not {row}.")
        return
    for cell_place, cell in enumerate(row["cells"]):
        has_width = isinstance(cell, dict) and isinstance(cell.get("width"), int)
        if not has_width or ("chart" in cell) == ("text" in cell):
            what = f"a cell has a width and either a chart or a text, not {cell}."
            yield problem(path, f"{where}.cells[{cell_place}]", what)
            return
    if (width := sum(cell["width"] for cell in row["cells"])) > 12:
        yield problem(path, where, f"a row is {width} columns wide; at most 12 fit.")


def _expanded(dataset: Dataset, params: dict[str, Any], where: list[dict[str, Any]]) -> dict[str, Any]:
    """The short forms of metrics and conditions written out as Superset keeps them."""
    full = dict(params)
    for name in METRIC_PARAMS:
        if name in full:
            full[name] = [_metric_in_full(dataset, metric) for metric in full[name]]
    for name in ONE_METRIC_PARAMS:
        if isinstance(full.get(name), dict):
            full[name] = _metric_in_full(dataset, full[name])
    full["adhoc_filters"] = [_condition(condition) for condition in where]
    return full


def _metric_in_full(dataset: Dataset, metric: Any) -> Any:
    if isinstance(metric, str):
        return metric
    column = dataset.columns[metric["of"]]
    return {
        "expressionType": "SIMPLE",
        "column": {"column_name": column.name, "type": column.type.upper(), "verbose_name": column.label},
        "aggregate": metric["is"],
        "label": metric["label"],
        "hasCustomLabel": True,
        "optionName": f"metric_{uuid_of('metric', metric['label'])}",
    }


def _condition(condition: dict[str, Any]) -> dict[str, Any]:
    return {
        "expressionType": "SIMPLE",
        "clause": "WHERE",
        "subject": condition["column"],
        "operator": condition["is"],
        "comparator": condition.get("value"),
    }


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
