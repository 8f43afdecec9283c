"""Everything that can be wrong in the files of the dashboards, found without Superset and without a server."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
from alert_files import read_alerts
from brand_checks import check_brands
from brand_file import brands_folder
from bundle import Bundle
from declared_roles import role_problems, row_rule_problems
from embedding import EmbeddingError, embedding_rules
from example_queries import example_queries
from marts import Dataset
from problems import AssetError, Problem, problem

NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?$|FLOAT|DOUBLE|DECIMAL")
EMBEDDING = Path(__file__).resolve().parent / "embedding" / "embedding.yml"


def check_files(assets: Path, marts: Path, tenants: Collection[str] | None = None) -> list[Problem]:
    """What is wrong, all of it; empty when nothing is. `tenants` are the registry's, None where they are not known."""
    try:
        bundle = Bundle(assets, marts)
    except AssetError as error:
        slugs = [path.stem for path in (assets / "dashboards").glob("*.yml")]
        rest = (lambda: role_problems(slugs, tenants), row_rule_problems, brand_problems)
        return [*error.problems, *(found for check in rest for found in _problems_of(check))]
    columns = {column for dataset in bundle.datasets.values() for column in dataset.columns}
    checks: list[Callable[[], Iterable[Problem]]] = [
        lambda: metric_problems(bundle.datasets),
        lambda: role_problems(bundle.dashboards, tenants),
        lambda: row_rule_problems(columns),
        lambda: embedding_problems(bundle.dashboards, tenants),
        lambda: query_problems(assets / "queries", bundle.datasets),
        lambda: alert_problems(bundle),
        brand_problems,
    ]
    return [found for check in checks for found in _problems_of(check)]


def brand_problems() -> list[Problem]:
    """What is wrong in the product's brand and the tenants'."""
    told = [text.partition(": ") for text in check_brands(brands_folder())]
    return [Problem(file, "", text) for file, _, text in told]


def embedding_problems(dashboards: Collection[str], tenants: Collection[str] | None) -> Iterator[Problem]:
    """What is wrong in embedding.yml."""
    try:
        rules = embedding_rules()
    except EmbeddingError as error:
        yield Problem("embedding/embedding.yml", "hosts", str(error))
        return
    for slug in rules["dashboards"]:
        if slug not in dashboards:
            yield problem(EMBEDDING, "dashboards", f"names {slug}, which is no dashboard.", dashboards)
    for tenant in rules["hosts"]:
        if tenants is not None and tenant not in tenants:
            yield problem(EMBEDDING, "hosts", f"names {tenant}, which is no tenant of the registry.", tenants)


def query_problems(folder: Path, datasets: dict[str, Dataset]) -> Iterator[Problem]:
    """Saved queries that are not written as they must be, or that DuckDB cannot read from the marts."""
    queries = example_queries(folder)
    with _empty_marts(datasets) as connection:
        for query in queries:
            try:
                connection.execute(f"explain {query.sql}")
            except duckdb.Error as error:
                told = str(error).splitlines()[0]
                yield Problem(f"queries/{query.slug}.sql", "", f"cannot be read: {told}", "Correct it.")


def alert_problems(bundle: Bundle) -> Iterator[Problem]:
    """Alerts that name what is not there, that DuckDB cannot read from the marts, or whose answer is no number."""
    alerts = read_alerts(bundle)
    with _empty_marts(bundle.datasets) as connection:
        for alert in alerts:
            file = f"alerts/{alert.slug}.yml"
            try:
                answer = str(connection.execute(alert.sql).description[0][1])
            except duckdb.Error as error:
                yield Problem(file, "", f"cannot be read: {str(error).splitlines()[0]}", "Correct what it asks.")
                continue
            if not NUMBER.match(answer):
                yield Problem(file, "asks", "asks for no number, so no threshold can be met.", "Ask for a figure.")


def _problems_of(check: Callable[[], Iterable[Problem]]) -> list[Problem]:
    """What a check finds, also when the file is too broken to be checked further."""
    try:
        return list(check())
    except AssetError as error:
        return error.problems


def metric_problems(datasets: dict[str, Dataset]) -> Iterator[Problem]:
    """Metrics and joins that DuckDB cannot read from marts with these columns, tried on empty tables of that form."""
    with _empty_marts(datasets) as connection:
        for dataset in datasets.values():
            source = f"({dataset.sql})" if dataset.sql else f'"{dataset.slug}"'
            for metric in dataset.metrics.values():
                try:
                    connection.execute(f"explain select {metric.expression} from {source}")
                except duckdb.Error as error:
                    told = str(error).splitlines()[0]
                    what = f"{metric.expression!r} cannot be read from it: {told}"
                    yield Problem(dataset.slug, f"metric {metric.name}", what, "Correct its expression.")


@contextmanager
def _empty_marts(datasets: dict[str, Dataset]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database with the marts' tables, empty."""
    with duckdb.connect() as connection:
        for dataset in datasets.values():
            if dataset.sql is None:
                columns = ", ".join(f'"{column.name}" {column.type}' for column in dataset.columns.values())
                connection.execute(f'create table "{dataset.slug}" ({columns})')
        yield connection
