"""Alerts: what is asked of a mart and when, who is told of it, and where that leads; each a file of assets/alerts.

A file holds no SQL: the question is made of columns and metrics that the marts declare, and of values. Needs PyYAML and
croniter only.
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle import AGGREGATES, Bundle, where_problems
from croniter import croniter
from declared_roles import declared_roles
from marts import Dataset
from problems import Problem, each, problem, read_mapping, refuse, yaml_files
from tenancy import OPERATOR

# What the names of the alerts begin with that files made, now or once.
OWN_ALERTS = "fleetmart:"
CONDITIONS = {"<", "<=", ">", ">=", "==", "!="}
REQUIRED = {
    "title": str,
    "description": str,
    "dataset": str,
    "asks": object,
    "condition": dict,
    "schedule": str,
    "tells": list,
    "opens": str,
}
QUIET_HOURS = 4
# Whoever runs an alert opens its tenant's snapshot; a steward looks after the tenant's data.
RUNS_AS = "steward"


@dataclass(frozen=True)
class Alert:
    """One question, and what of its answer is told to whom; `tells` are personas, `opens` a dashboard's slug."""

    slug: str
    title: str
    description: str
    sql: str
    operator: str
    threshold: float
    schedule: str
    quiet_hours: float
    tells: list[str]
    opens: str


@dataclass(frozen=True)
class TenantAlert:
    """An alert as one tenant has it; `username` is the log-in of the tenant's that it runs as."""

    alert: Alert
    tenant: str
    username: str

    @property
    def name(self) -> str:
        return f"{OWN_ALERTS}{self.alert.slug}:{self.tenant}"

    @property
    def state(self) -> dict[str, Any]:
        """What the file says, in the form in which push_alerts.py reads it in Superset."""
        alert = self.alert
        return {
            "title": alert.title,
            "description": alert.description,
            "sql": alert.sql,
            "condition": {"is": alert.operator, "value": alert.threshold},
            "schedule": alert.schedule,
            "quiet hours": alert.quiet_hours,
            "tells": alert.tells,
            "opens": alert.opens,
            "runs as": [self.username],
            "active": True,
        }


def tenant_alerts(alerts: Iterable[Alert], users: Iterable[dict[str, str]]) -> list[TenantAlert]:
    """Each alert for each tenant; none for the operator, whose snapshot holds everybody's rows in one."""
    runners = {user["tenant"]: user["username"] for user in users if user["role"] == RUNS_AS}
    alerts = list(alerts)
    return [
        TenantAlert(alert, tenant, runners[tenant])
        for tenant in sorted(runners.keys() - {OPERATOR})
        for alert in alerts
    ]


def read_alerts(bundle: Bundle) -> list[Alert]:
    """Every alert of the bundle's folder, in the order of their names.

    Raises AssetError with everything that is wrong in them.
    """
    problems: list[Problem] = []
    made = each(yaml_files(bundle.assets / "alerts"), lambda path: _alert(path, bundle), problems)
    refuse(problems)
    return list(made.values())


def _alert(path: Path, bundle: Bundle) -> Alert:
    given = read_mapping(path, REQUIRED, optional={"where": list, "quiet_hours": int})
    refuse(_problems(path, given, bundle))
    return Alert(
        slug=path.stem,
        title=given["title"],
        description=given["description"],
        sql=_question(bundle.datasets[given["dataset"]], given["asks"], given.get("where", [])),
        operator=given["condition"]["is"],
        threshold=float(given["condition"]["value"]),
        schedule=given["schedule"],
        quiet_hours=float(given.get("quiet_hours", QUIET_HOURS)),
        tells=sorted(given["tells"]),
        opens=given["opens"],
    )


def _problems(path: Path, given: dict[str, Any], bundle: Bundle) -> Iterator[Problem]:
    dataset = bundle.datasets.get(given["dataset"])
    if dataset is None:
        yield problem(path, "dataset", f"there is no dataset {given['dataset']!r}.", bundle.datasets)
    else:
        yield from _question_problems(path, dataset, given["asks"])
        yield from _where_problems(path, dataset, given.get("where", []))
    condition = given["condition"]
    if set(condition) != {"is", "value"} or not _is_number(condition["value"]):
        yield problem(path, "condition", f"must be {{is: <, value: a number}}, not {condition}.")
    elif str(condition["is"]) not in CONDITIONS:
        yield problem(path, "condition", f"{condition['is']!r} is no comparison.", CONDITIONS)
    if len(given["schedule"].split()) != 5 or not croniter.is_valid(given["schedule"]):
        what = f"{given['schedule']!r} is no schedule of minute, hour, day, month and weekday."
        yield problem(path, "schedule", what, remedy='Write it as "30 6 * * *"; times are UTC.')
    if given.get("quiet_hours", QUIET_HOURS) < 0:
        yield problem(path, "quiet_hours", "cannot be less than 0.")
    yield from _reader_problems(path, given, bundle)


def _question_problems(path: Path, dataset: Dataset, asks: Any) -> Iterator[Problem]:
    if isinstance(asks, str):
        if asks not in dataset.metrics:
            yield problem(path, "asks", f"there is no metric {asks!r} in {dataset.slug}.", dataset.metrics)
    elif not isinstance(asks, dict) or set(asks) != {"of", "is"}:
        yield problem(path, "asks", f"must be a metric's name or {{of: column, is: AVG}}, not {asks}.")
    else:
        if str(asks["of"]) not in dataset.columns:
            yield problem(path, "asks", f"there is no column {asks['of']!r} in {dataset.slug}.", dataset.columns)
        if str(asks["is"]) not in AGGREGATES:
            yield problem(path, "asks", f"{asks['is']!r} is no aggregate.", AGGREGATES)


def _where_problems(path: Path, dataset: Dataset, where: list[Any]) -> Iterator[Problem]:
    found = list(where_problems(path, dataset, where))
    yield from found
    for place, condition in enumerate([] if found else where):
        if not _is_comparable(condition["is"], condition.get("value")):
            what = f"{condition['is']} cannot compare with {condition.get('value')!r}."
            yield problem(path, f"where[{place}]", what, remedy="Give a text or a number; IN and NOT IN take a list.")


def _is_comparable(comparison: str, value: Any) -> bool:
    if "NULL" in comparison:
        return value is None
    values = value if isinstance(value, list) else [value]
    is_list = comparison in ("IN", "NOT IN")
    return (
        bool(values)
        and isinstance(value, list) == is_list
        and all(isinstance(one, str | int | float) for one in values)
    )


def _reader_problems(path: Path, given: dict[str, Any], bundle: Bundle) -> Iterator[Problem]:
    """Who is told has to be somebody who looks, and has to be able to open what the mail leads to."""
    roles = declared_roles()
    personas = {persona for persona, sets in roles["personas"].items() if "look" in sets}
    if not given["tells"]:
        yield problem(path, "tells", "names nobody.", personas)
    for persona in given["tells"]:
        if str(persona) not in personas:
            yield problem(path, "tells", f"there is no persona {persona!r} that looks at dashboards.", personas)
    everybodys = bundle.dashboards.keys() - roles["dashboards"].keys()
    if given["opens"] not in everybodys:
        yield problem(path, "opens", f"{given['opens']!r} is no dashboard that every tenant opens.", everybodys)


def _question(dataset: Dataset, asks: str | dict[str, str], where: list[dict[str, Any]]) -> str:
    """One figure of the dataset's rows, as SQL."""
    source = f"({dataset.sql})" if dataset.sql else _name(dataset.slug)
    asked = dataset.metrics[asks].expression if isinstance(asks, str) else _aggregate(**asks)
    conditions = " and ".join(_condition(**condition) for condition in where)
    return f"select {asked} as value from {source} as asked{' where ' if conditions else ''}{conditions}"


def _aggregate(**asks: str) -> str:
    column = _name(asks["of"])
    return f"count(distinct {column})" if asks["is"] == "COUNT_DISTINCT" else f"{asks['is'].lower()}({column})"


def _condition(**condition: Any) -> str:
    comparison = "=" if condition["is"] == "==" else condition["is"].lower()
    value = condition.get("value")
    if "null" in comparison:
        return f"{_name(condition['column'])} {comparison}"
    literal = f"({', '.join(map(_literal, value))})" if isinstance(value, list) else _literal(value)
    return f"{_name(condition['column'])} {comparison} {literal}"


def _name(name: str) -> str:
    return f'"{name}"'


def _literal(value: str | float) -> str:
    """A value as SQL: JSON's numbers and true and false are SQL's too."""
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else json.dumps(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
