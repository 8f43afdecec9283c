"""The suites of the gate, as Great Expectations runs them; what they expect stands in rules.py.

Great Expectations takes seconds to import: this module is imported only where the gate runs. A suite is about one table
of the schema `gate`: single readings about `readings`, all others about `counts`, which has a row for each of their
expectations.
"""

import great_expectations as gx
import great_expectations.expectations as gxe
from great_expectations.core import ExpectationSuite

from expectations.rules import Rule
from expectations.scope import Range, Scope

SUITES = ("arrival", "readings", "cubes", "change")


def suites_of(scope: Scope) -> list[tuple[ExpectationSuite, str]]:
    """The suites, each with the table that it is about."""
    by_suite = {name: [rule for rule in scope.counted if rule.suite == name] for name in SUITES}
    return [
        (counted("arrival", by_suite["arrival"]), "counts"),
        (readings(scope.single, scope.ranges), "readings"),
        (counted("sensors", by_suite["readings"]), "counts"),
        (counted("cubes", by_suite["cubes"]), "counts"),
        (counted("change", by_suite["change"]), "counts"),
    ]


def counted(name: str, rules: list[Rule]) -> ExpectationSuite:
    """Expectations about what was counted: the share of what is not as it should be."""
    return ExpectationSuite(name=name, expectations=[_share_is_small(rule) for rule in rules])


def readings(rules: list[Rule], ranges: list[Range]) -> ExpectationSuite:
    """Single readings: their keys, and the registry's ranges."""
    present = [
        gxe.ExpectColumnValuesToNotBeNull(column=rule.part, severity=rule.severity, meta=_meta(rule), **_mostly(rule))
        for rule in rules
    ]
    within = [
        gxe.ExpectColumnValuesToBeBetween(
            column="value",
            min_value=one.valid_min,
            max_value=one.valid_max,
            row_condition=gx.expectations.row_conditions.Column("metric") == one.rule.metric,
            severity=one.rule.severity,
            meta=_meta(one.rule, f"{100 * (1 - one.rule.max_share):.4g} % of {one.label} within {_range(one)}"),
            **_mostly(one.rule),
        )
        for one in ranges
        if (one.valid_min, one.valid_max) != (None, None)
    ]
    return ExpectationSuite(name="readings", expectations=[*present, *within])


def _share_is_small(rule: Rule) -> gxe.Expectation:
    return gxe.ExpectColumnMaxToBeBetween(
        column="share",
        max_value=rule.max_share,
        row_condition=gx.expectations.row_conditions.Column("expectation") == rule.key,
        severity=rule.severity,
        meta=_meta(rule),
    )


def _mostly(rule: Rule) -> dict[str, float]:
    return {"mostly": 1 - rule.max_share} if rule.max_share else {}


def _meta(rule: Rule, sentence: str | None = None) -> dict[str, str | None]:
    return {"key": rule.key, "rule": sentence or rule.sentence, "why": rule.why, "metric": rule.metric}


def _range(one: Range) -> str:
    low = "…" if one.valid_min is None else f"{one.valid_min:g}"
    high = "…" if one.valid_max is None else f"{one.valid_max:g}"
    return f"{low} to {high} {one.unit or ''}".strip()
