"""What roles.yml and row_rules.yml say, proved: personas, who opens which dashboard, and the tenants' row rules."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from problems import Problem, problem, read_mapping, refuse
from tenancy import OPERATOR, ROLE_PREFIX, TENANT_ID

FOLDER = Path(__file__).resolve().parent
ROLES, ROW_RULES = FOLDER / "roles.yml", FOLDER / "row_rules.yml"
# What the names of the rules begin with that row_rules.yml made, now or once.
OWN_RULES = "fleetmart:"
SECTIONS = {"sets": dict, "personas": dict, "dashboards": dict, "administrator": str}
RULE_KEYS = {"description", "column"}


@dataclass(frozen=True)
class RowRule:
    """A tenant's people see, of every dataset with the column, only rows that the clause lets through."""

    name: str
    tenant: str
    column: str
    description: str

    @property
    def clause(self) -> str:
        """The condition; a tenant's key has nothing in it that a text in SQL would have to escape."""
        assert TENANT_ID.fullmatch(self.tenant), self.tenant
        return f"{self.column} = '{self.tenant}'"

    @property
    def role(self) -> str:
        return ROLE_PREFIX + self.tenant


def declared_roles() -> dict[str, Any]:
    """roles.yml as it stands."""
    return read_mapping(ROLES)


def permissions_of(declared: dict[str, Any], persona: str) -> list[tuple[str, str]]:
    """A persona's permissions, each with what it is on."""
    return [tuple(pair) for name in declared["personas"][persona] for pair in declared["sets"][name]]


def row_rules(tenants: Collection[str]) -> list[RowRule]:
    """The rules of these tenants; raises AssetError for a row_rules.yml that cannot be read."""
    declared = read_mapping(ROW_RULES)
    refuse(row_rule_problems())
    return [
        RowRule(f"{OWN_RULES}{name}:{tenant}", tenant, rule["column"], rule["description"])
        for name, rule in declared.items()
        for tenant in sorted(set(tenants) - set(rule.get("except", [])))
    ]


def row_rule_problems(columns: Collection[str] | None = None) -> Iterator[Problem]:
    """What is wrong in row_rules.yml; `columns` are those of all datasets."""
    for name, rule in read_mapping(ROW_RULES).items():
        if not isinstance(rule, dict) or not RULE_KEYS <= rule.keys() <= RULE_KEYS | {"except"}:
            yield problem(ROW_RULES, name, "a rule has description, column and, if need be, except.")
        elif columns is not None and rule["column"] not in columns:
            yield problem(ROW_RULES, name, f"no dataset has a column {rule['column']!r}.", columns)


def role_problems(dashboards: Collection[str], tenants: Collection[str] | None = None) -> Iterator[Problem]:
    """What is wrong in roles.yml; `tenants` are those of the registry, None where they are not known."""
    declared = read_mapping(ROLES, SECTIONS)
    for name, pairs in declared["sets"].items():
        for place, pair in enumerate(pairs):
            if not isinstance(pair, list) or [type(part) for part in pair] != [str, str]:
                yield problem(ROLES, f"sets.{name}[{place}]", f"must be [permission, what it is on], not {pair}.")
            elif pairs.index(pair) != place:
                yield problem(ROLES, f"sets.{name}[{place}]", f"{pair} stands there twice.")
    for persona, sets in declared["personas"].items():
        for name in sets:
            if name not in declared["sets"]:
                yield problem(ROLES, f"personas.{persona}", f"there is no set {name!r}.", declared["sets"])
    for slug, opened_by in declared["dashboards"].items():
        if slug not in dashboards:
            yield problem(ROLES, f"dashboards.{slug}", f"limits {slug}, which is no dashboard.", dashboards)
        for tenant in opened_by:
            if tenants is not None and tenant not in {OPERATOR, *tenants}:
                what = f"names {tenant}, which is no tenant of the registry."
                yield problem(ROLES, f"dashboards.{slug}", what, {OPERATOR, *tenants})
    unused = declared["sets"].keys() - {name for sets in declared["personas"].values() for name in sets}
    for name in sorted(unused):
        yield problem(ROLES, f"sets.{name}", "no persona has this set.", remedy="Give it to one, or delete it.")
