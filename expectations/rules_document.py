"""docs/rules.md, made of the rules themselves, so that the page cannot say anything else."""

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from expectations import rules
from expectations.rules import Rule

HEAD = """# What must hold before anybody sees a build

Every expectation of the gate, by its key. A *critical* one that is not met withholds the tenant's snapshot, a *warning*
marks what is published, *info* is only kept. Of what a rule counts, the share given may be otherwise. Severity and
share are changed for a tenant, or for all, in the registry's [quality_rules](registry.md#quality_rules). Of a key that
ends in `<metric>` there is one for each metric of the registry. Made by `make docs` from
[expectations/rules.py](../expectations/rules.py).
"""
PER_METRIC = {rule.key for rule in (rules.RANGE, rules.COMPLETENESS, rules.LEVEL, rules.VALID_SHARE)}
WITHIN = replace(rules.RANGE, rule="A metric's values lie within the registry's range")


def rules_document() -> str:
    """The page: a table for each suite."""
    suites = {
        "Arrival": rules.ARRIVAL,
        "Readings": (rules.PRESENT, WITHIN, rules.COMPLETENESS, *rules.SENSORS),
        "Cubes": rules.CUBES,
        "Change": (rules.LEVEL, rules.VALID_SHARE, *rules.CHANGE),
    }
    return "\n".join([HEAD, *(_suite(name, of_suite) for name, of_suite in suites.items())])


def _suite(name: str, of_suite: Iterable[Rule]) -> str:
    rows = "\n".join(
        f"| `{_key(rule)}` | {rule.severity} | {f'{100 * rule.max_share:.4g} %' if rule.max_share else 'none'} "
        f"| {_sentence(rule)} | {rule.why} |"
        for rule in of_suite
    )
    head = "| key | severity | may be otherwise | what holds | why |\n| --- | --- | --- | --- | --- |"
    return f"## {name}\n\n{head}\n{rows}\n"


def _key(rule: Rule) -> str:
    if rule.key in PER_METRIC:
        return f"{rule.key}.<metric>"
    return f"{rule.key}.<column>" if rule.key == rules.PRESENT.key else rule.key


def _sentence(rule: Rule) -> str:
    sentence = rule.rule.format(part="key column" if rule.key == rules.PRESENT.key else "a metric")
    return sentence[0].upper() + sentence[1:]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(rules_document())
