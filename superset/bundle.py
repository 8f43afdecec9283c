"""Dashboards as source code: what readable files in assets/ and dbt's own YAML say, proved.

Slugs are file names and UUIDs follow from them, so the same files give the same dashboards anywhere.
Every reference is proved before anything is pushed (dashboard, chart, dataset, column, metric), since the
importer drops what it cannot resolve without a word. Needs PyYAML only.
"""

import json
import uuid
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "fleetmart.dashboards")
TIMES = {"date", "timestamp"}
NUMBERS = {"double", "bigint", "integer"}
COLUMN_PARAMS = ("groupby", "columns", "all_columns", "groupbyRows", "groupbyColumns")
ONE_COLUMN_PARAMS = ("x_axis", "column", "granularity_sqla", "series", "entity", "temporal_columns_lookup_column")
METRIC_PARAMS = ("metrics", "metrics_b", "percent_metrics")
ONE_METRIC_PARAMS = ("metric", "secondary_metric", "timeseries_limit_metric", "x", "y", "size")
FORMATS = {"smart_date", "smart_date_verbose"}


class AssetError(ValueError):
    """A file of the assets that cannot be compiled: which file, what is wrong, and what would be right."""

    def __init__(self, file: Path | str, problem: str, known: Any = ()) -> None:
        remedy = f" Known are: {', '.join(sorted(map(str, known)))}." if known else ""
        super().__init__(f"{file}: {problem}{remedy}")


@dataclass(frozen=True)
class Column:
    """A published column as people see it."""

    name: str
    type: str
    label: str
    description: str
    format: str | None = None


@dataclass(frozen=True)
class Metric:
    """A figure over rows, declared beside the mart it belongs to."""

    name: str
    label: str
    expression: str
    description: str
    format: str | None = None


@dataclass(frozen=True)
class Dataset:
    """A mart, or a mart joined with the names of its keys (`sql`)."""

    slug: str
    name: str
    description: str
    columns: dict[str, Column]
    metrics: dict[str, Metric]
    time_column: str | None
    sql: str | None = None

    @property
    def uuid(self) -> str:
        return uuid_of("dataset", self.slug)


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


def uuid_of(kind: str, slug: str) -> str:
    """The UUID that this slug always has."""
    return str(uuid.uuid5(NAMESPACE, f"{kind}/{slug}"))


class Bundle:
    """Everything in `assets` and `marts`, proved.

    Raises AssetError for the first thing that is wrong.
    """

    def __init__(self, assets: Path, marts: Path) -> None:
        self.assets = assets
        self.database = _read(assets / "database.yml")
        self.models = _models(marts)
        self.datasets = {**self.models, **_joined_datasets(assets / "datasets", self.models)}
        self.defaults = _read(assets / "chart_defaults.yml")
        self.charts = {path.stem: self._chart(path) for path in _files(assets / "charts")}
        self.dashboards = {path.stem: self._dashboard(path) for path in _files(assets / "dashboards")}
        self._require_every_chart_shown()

    @property
    def database_uuid(self) -> str:
        return uuid_of("database", self.database["name"])

    def _chart(self, path: Path) -> Chart:
        given = _read(path, required={"title", "dataset", "viz"}, allowed={"description", "params", "where", "empty"})
        dataset = self._dataset(path, given["dataset"])
        if given["viz"] not in self.defaults:
            raise AssetError(path, f"viz {given['viz']!r} has no entry in chart_defaults.yml.", self.defaults)
        params = {**self.defaults["all"], **self.defaults[given["viz"]], **given.get("params", {})}
        prove_params(path, dataset, params)
        if given["viz"] == "table":
            params["column_config"] = _declared_formats(dataset, params) | params.get("column_config", {})
        params = _expanded(path, dataset, params, given.get("where", []))
        params |= {"viz_type": given["viz"], "datasource": "0__table"}
        if dataset.time_column:
            params.setdefault("granularity_sqla", dataset.time_column)
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

    def _dashboard(self, path: Path) -> Dashboard:
        given = _read(path, required={"title", "rows"}, allowed={"description", "filters", "css", "phone"})
        charts = []
        for row in given["rows"]:
            _prove_row(path, row)
            for cell in row["cells"]:
                if "chart" in cell:
                    if cell["chart"] not in self.charts:
                        raise AssetError(path, f"there is no chart {cell['chart']!r}.", self.charts)
                    if cell["chart"] in charts:
                        raise AssetError(path, f"chart {cell['chart']!r} stands there twice; show it once.")
                    charts.append(cell["chart"])
        filters = given.get("filters", [])
        self._prove_filters(path, filters, charts)
        css = (self.assets / "dashboards" / "shared.css").read_text() + given.get("css", "")
        css += "".join(self.charts[slug].css for slug in charts)
        return Dashboard(
            path.stem, path.name, given["title"], given.get("description", ""), given["rows"], filters, css, charts
        )

    def _prove_filters(self, path: Path, filters: list[dict[str, Any]], charts: list[str]) -> None:
        names = [item.get("name") for item in filters]
        for item in filters:
            for other in [item.get("after"), *item.get("under", [])]:
                if other is not None and other not in names:
                    raise AssetError(
                        path, f"filter {item['name']!r} leans on {other!r}, which is no filter here.", names
                    )
            if unknown := set(item.get("not_for", [])) - set(charts):
                raise AssetError(path, f"filter {item['name']!r} leaves out {unknown}, not on this dashboard.", charts)
            if item.get("kind") == "time":
                continue
            dataset = self._dataset(path, item.get("dataset"))
            if item.get("column") not in dataset.columns:
                problem = f"filter {item['name']!r} reads column {item.get('column')!r}, not in {dataset.slug}."
                raise AssetError(path, problem, dataset.columns)
            if item.get("sorted_by") and item["sorted_by"] not in dataset.metrics:
                problem = f"filter {item['name']!r} is sorted by {item['sorted_by']!r}, not in {dataset.slug}."
                raise AssetError(path, problem, dataset.metrics)

    def _dataset(self, path: Path, slug: str | None) -> Dataset:
        if slug not in self.datasets:
            raise AssetError(path, f"there is no dataset {slug!r}.", self.datasets)
        return self.datasets[slug]

    def _require_every_chart_shown(self) -> None:
        shown = {slug for dashboard in self.dashboards.values() for slug in dashboard.charts}
        for slug, chart in self.charts.items():
            if slug not in shown:
                raise AssetError(f"charts/{chart.file}", "no dashboard shows this chart. Show it, or delete the file.")

    @cached_property
    def uuids(self) -> dict[str, set[str]]:
        """Every UUID of the bundle by kind: what stands in Superset beside them has left the files."""
        return {
            "dataset": {dataset.uuid for dataset in self.datasets.values()},
            "chart": {chart.uuid for chart in self.charts.values()},
            "dashboard": {dashboard.uuid for dashboard in self.dashboards.values()},
        }


def prove_params(path: Path, dataset: Dataset, params: dict[str, Any]) -> None:
    """Raise AssetError unless every column and metric that the parameters name is in the dataset."""
    for name in (*COLUMN_PARAMS, *ONE_COLUMN_PARAMS):
        for column in _listed(params.get(name)):
            if column not in dataset.columns:
                raise AssetError(path, f"{name} names column {column!r}, not in {dataset.slug}.", dataset.columns)
    for name in (*METRIC_PARAMS, *ONE_METRIC_PARAMS):
        for metric in _listed(params.get(name)):
            _prove_metric(path, name, dataset, metric)
    shown = set(dataset.columns) | {m.name for m in dataset.metrics.values()} | _own_labels(params)
    for column in params.get("column_config", {}):
        if column not in shown:
            raise AssetError(path, f"column_config names {column!r}, not in {dataset.slug}.", shown)
    for entry in params.get("order_by_cols", []):
        if json.loads(entry)[0] not in dataset.columns:
            raise AssetError(path, f"order_by_cols names {entry}, not in {dataset.slug}.", dataset.columns)


def _declared_formats(dataset: Dataset, params: dict[str, Any]) -> dict[str, Any]:
    """Number formats of a table's columns and metrics, as the marts declare them."""
    declared = {**dataset.columns, **dataset.metrics}
    shown = [name for key in ("all_columns", "groupby", "metrics") for name in _listed(params.get(key))]
    named = [declared[name] for name in shown if isinstance(name, str)]
    return {item.name: {"d3NumberFormat": item.format} for item in named if item.format and item.format not in FORMATS}


def _prove_metric(path: Path, param: str, dataset: Dataset, metric: Any) -> None:
    if isinstance(metric, dict):
        if set(metric) != {"of", "is", "label"}:
            raise AssetError(
                path, f"{param} must be a metric's name or {{of: column, is: AVG, label: …}}, not {metric}."
            )
        if metric["of"] not in dataset.columns:
            raise AssetError(path, f"{param} reads column {metric['of']!r}, not in {dataset.slug}.", dataset.columns)
    elif metric not in dataset.metrics:
        raise AssetError(path, f"{param} names metric {metric!r}, not in {dataset.slug}.", dataset.metrics)


def _own_labels(params: dict[str, Any]) -> set[str]:
    given = [metric for name in (*METRIC_PARAMS, *ONE_METRIC_PARAMS) for metric in _listed(params.get(name))]
    return {metric["label"] for metric in given if isinstance(metric, dict) and "label" in metric}


def _prove_row(path: Path, row: dict[str, Any]) -> None:
    if set(row) != {"height", "cells"}:
        raise AssetError(path, f"a row has height and cells, not {sorted(row)}.")
    if (width := sum(cell.get("width", 0) for cell in row["cells"])) > 12:
        raise AssetError(path, f"a row is {width} columns wide; at most 12 fit.")
    for cell in row["cells"]:
        if "width" not in cell or ("chart" in cell) == ("text" in cell):
            raise AssetError(path, f"a cell has a width and either a chart or a text, not {sorted(cell)}.")


def _expanded(path: Path, dataset: Dataset, params: dict[str, Any], where: list[dict[str, Any]]) -> dict[str, Any]:
    """The short forms of metrics and conditions written out as Superset keeps them."""
    full = dict(params)
    for name in METRIC_PARAMS:
        if name in full:
            full[name] = [_metric_in_full(dataset, metric) for metric in full[name]]
    for name in ONE_METRIC_PARAMS:
        if isinstance(full.get(name), dict):
            full[name] = _metric_in_full(dataset, full[name])
    full["adhoc_filters"] = [_condition(path, dataset, condition) for condition in where]
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


def _condition(path: Path, dataset: Dataset, condition: dict[str, Any]) -> dict[str, Any]:
    if condition.get("column") not in dataset.columns:
        raise AssetError(
            path, f"where names column {condition.get('column')!r}, not in {dataset.slug}.", dataset.columns
        )
    return {
        "expressionType": "SIMPLE",
        "clause": "WHERE",
        "subject": condition["column"],
        "operator": condition["is"],
        "comparator": condition.get("value"),
    }


def _models(marts: Path) -> dict[str, Dataset]:
    """Every mart and ledger table that dbt's YAML declares, by its name."""
    found = {}
    for path in _files(marts):
        declared = _read(path)
        tables = [table for source in declared.get("sources", []) for table in source["tables"]]
        for model in declared.get("models", []) + tables:
            found[model["name"]] = _model(path, model)
    if not found:
        raise AssetError(marts, "there are no marts here; the datasets are made from their YAML files.")
    return found


def _model(path: Path, model: dict[str, Any]) -> Dataset:
    meta = _meta(model)
    if not meta.get("label"):
        raise AssetError(path, f"{model['name']} has no config.meta.label; give it the name that people see.")
    columns = {}
    for column in model["columns"]:
        about = _meta(column)
        if not about.get("label"):
            raise AssetError(path, f"{model['name']}.{column['name']} has no config.meta.label; give it one.")
        columns[column["name"]] = Column(
            column["name"], column["data_type"], about["label"], column.get("description", ""), about.get("format")
        )
    metrics = {
        metric["name"]: Metric(
            metric["name"], metric["label"], metric["expression"], metric.get("description", ""), metric.get("format")
        )
        for metric in meta.get("metrics", [])
    }
    time_column = meta.get("time_column")
    if time_column and time_column not in columns:
        raise AssetError(path, f"{model['name']} has no time column {time_column!r}.", columns)
    return Dataset(
        model["name"], model["name"], f"{meta['label']}. {model.get('description', '')}", columns, metrics, time_column
    )


def _meta(declared: dict[str, Any]) -> dict[str, Any]:
    return declared.get("config", {}).get("meta") or declared.get("meta") or {}


def _joined_datasets(folder: Path, models: dict[str, Dataset]) -> dict[str, Dataset]:
    """Marts whose keys are joined with their names, so that people can filter and read them."""
    return {path.stem: _joined(path, models) for path in _files(folder)}


def _joined(path: Path, models: dict[str, Dataset]) -> Dataset:
    given = _read(path, required={"label", "description", "from", "names"}, allowed={"metrics"})
    for name in [given["from"], *given["names"]]:
        if name not in models:
            raise AssetError(path, f"there is no mart {name!r}.", models)
    base = models[given["from"]]
    columns, selected, joins = {}, [], []
    for mart, named in given["names"].items():
        for key in named["by"]:
            if key not in base.columns or key not in models[mart].columns:
                raise AssetError(path, f"key {key!r} is not in both {base.slug} and {mart}.", base.columns)
        for name in named["columns"]:
            if name not in models[mart].columns:
                raise AssetError(path, f"there is no column {name!r} in {mart}.", models[mart].columns)
            columns[name] = models[mart].columns[name]
            selected.append(f"{mart}.{name}")
        conditions = " and ".join(f"facts.{key} = {mart}.{key}" for key in named["by"])
        wanted = ", ".join([*named["by"], *named["columns"]])
        joins.append(f"left join (select distinct {wanted} from {mart}) as {mart} on {conditions}")
    sql = "\n".join([f"select {', '.join(['facts.*', *selected])}", f"from {base.slug} as facts", *joins])
    own = {metric["name"]: Metric(**metric) for metric in given.get("metrics", [])}
    everything, metrics = {**base.columns, **columns}, {**base.metrics, **own}
    return Dataset(path.stem, given["label"], given["description"], everything, metrics, base.time_column, sql)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.yml"))


def _read(path: Path, required: set[str] | None = None, allowed: set[str] | None = None) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise AssetError(path, f"cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise AssetError(path, "is not a mapping of names to values.")
    if required is not None:
        if missing := required - set(content):
            raise AssetError(path, f"lacks {', '.join(sorted(missing))}.")
        if unknown := set(content) - required - (allowed or set()):
            raise AssetError(
                path, f"says {', '.join(sorted(unknown))}, which means nothing here.", required | (allowed or set())
            )
    return content


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
