"""The datasets: dbt's own YAML of the marts, and marts joined with the names of their keys. Needs PyYAML only."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from problems import AssetError, Problem, each, problem, read_mapping, refuse, yaml_files

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "fleetmart.dashboards")
TIMES = {"date", "timestamp"}


def uuid_of(kind: str, slug: str) -> str:
    """The UUID that this slug always has."""
    return str(uuid.uuid5(NAMESPACE, f"{kind}/{slug}"))


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


def read_marts(folder: Path, problems: list[Problem]) -> dict[str, Dataset]:
    """Every mart and ledger table that dbt's YAML declares, by its name; what is wrong is added to `problems`."""
    files = each(yaml_files(folder), _models_of, problems)
    found = {name: dataset for models in files.values() for name, dataset in models.items()}
    if not found:
        problems.append(Problem(str(folder), "", "there are no marts here.", "The datasets are made from their YAML."))
    return found


def read_joined(folder: Path, marts: dict[str, Dataset], problems: list[Problem]) -> dict[str, Dataset]:
    """Marts whose keys are joined with their names, so that people can filter and read them."""
    made = each(yaml_files(folder), lambda path: _joined(path, marts), problems)
    return {path.stem: dataset for path, dataset in made.items()}


def _models_of(path: Path) -> dict[str, Dataset]:
    declared = read_mapping(path)
    tables = [table for source in declared.get("sources", []) for table in source["tables"]]
    return {model["name"]: _model(path, model) for model in declared.get("models", []) + tables}


def _model(path: Path, model: dict[str, Any]) -> Dataset:
    meta = _meta(model)
    refuse(_model_problems(path, model, meta))
    columns = {}
    for column in model["columns"]:
        about = _meta(column)
        columns[column["name"]] = Column(
            column["name"], column["data_type"], about["label"], column.get("description", ""), about.get("format")
        )
    metrics = {
        metric["name"]: Metric(
            metric["name"], metric["label"], metric["expression"], metric.get("description", ""), metric.get("format")
        )
        for metric in meta.get("metrics", [])
    }
    about = f"{meta['label']}. {model.get('description', '')}"
    return Dataset(model["name"], model["name"], about, columns, metrics, meta.get("time_column"))


def _model_problems(path: Path, model: dict[str, Any], meta: dict[str, Any]) -> Iterator[Problem]:
    if not meta.get("label"):
        yield problem(path, model["name"], "has no config.meta.label.", remedy="Give it the name that people see.")
    for column in model["columns"]:
        if not _meta(column).get("label"):
            place = f"{model['name']}.{column['name']}"
            yield problem(path, place, "has no config.meta.label.", remedy="Give it the name that people see.")
    names = [column["name"] for column in model["columns"]]
    if meta.get("time_column") and meta["time_column"] not in names:
        yield problem(path, model["name"], f"has no time column {meta['time_column']!r}.", names)


def _meta(declared: dict[str, Any]) -> dict[str, Any]:
    return declared.get("config", {}).get("meta") or declared.get("meta") or {}


def _joined(path: Path, marts: dict[str, Dataset]) -> Dataset:
    given = read_mapping(
        path, {"label": str, "description": str, "from": str, "names": dict}, optional={"metrics": list}
    )
    refuse(_unknown_marts(path, given, marts))
    base = marts[given["from"]]
    refuse(_unknown_keys(path, given["names"], base, marts))
    columns, selected, joins = {}, [], []
    for mart, named in given["names"].items():
        for name in named["columns"]:
            columns[name] = marts[mart].columns[name]
            selected.append(f"{mart}.{name}")
        conditions = " and ".join(f"facts.{key} = {mart}.{key}" for key in named["by"])
        wanted = ", ".join([*named["by"], *named["columns"]])
        joins.append(f"left join (select distinct {wanted} from {mart}) as {mart} on {conditions}")
    sql = "\n".join([f"select {', '.join(['facts.*', *selected])}", f"from {base.slug} as facts", *joins])
    everything, metrics = {**base.columns, **columns}, {**base.metrics, **_own_metrics(path, given)}
    return Dataset(path.stem, given["label"], given["description"], everything, metrics, base.time_column, sql)


def _own_metrics(path: Path, given: dict[str, Any]) -> dict[str, Metric]:
    try:
        return {metric["name"]: Metric(**metric) for metric in given.get("metrics", [])}
    except (KeyError, TypeError) as error:
        what = f"a metric has name, label, expression, description and, if need be, format ({error})."
        raise AssetError([problem(path, "metrics", what)]) from error


def _unknown_marts(path: Path, given: dict[str, Any], marts: dict[str, Dataset]) -> Iterator[Problem]:
    for place, name in [("from", given["from"]), *(("names", name) for name in given["names"])]:
        if name not in marts:
            yield problem(path, place, f"there is no mart {name!r}.", marts)
    for name, named in given["names"].items():
        if not isinstance(named, dict) or set(named) != {"by", "columns"}:
            yield problem(path, f"names.{name}", "a mart is joined `by` keys and gives `columns`.")


def _unknown_keys(path: Path, names: dict[str, Any], base: Dataset, marts: dict[str, Dataset]) -> Iterator[Problem]:
    for mart, named in names.items():
        for key in named["by"]:
            if key not in base.columns or key not in marts[mart].columns:
                what = f"key {key!r} is not in both {base.slug} and {mart}."
                yield problem(path, f"names.{mart}.by", what, base.columns.keys() & marts[mart].columns)
        for name in named["columns"]:
            if name not in marts[mart].columns:
                what = f"there is no column {name!r} in {mart}."
                yield problem(path, f"names.{mart}.columns", what, marts[mart].columns)
