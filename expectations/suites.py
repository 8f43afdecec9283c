"""The suites of the gate, as Great Expectations runs them; what they expect stands in rules.py.

Great Expectations takes seconds to import: this module is imported only where the gate runs. A suite is about one table
of the schema `gate`: single readings about `readings`, all others about `shares`, which has a column for each of their
expectations.
"""

import operator
from collections.abc import Iterator
from contextlib import contextmanager

import great_expectations as gx
import great_expectations.expectations as gxe
from great_expectations.core import ExpectationSuite
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

from expectations.rules import Rule
from expectations.scope import Range, Scope


@contextmanager
def configurations_kept() -> Iterator[None]:
    """Great Expectations works out an expectation's configuration seventy times as it validates: in a profile a
    quarter of the gate's time.

    Within this block one is worked out anew only when a field of the expectation was set.
    """
    worked_out = Expectation.configuration
    kept: dict[int, tuple[Expectation, list[object], ExpectationConfiguration]] = {}

    def configuration(self: Expectation) -> ExpectationConfiguration:
        fields = list(vars(self).values())
        if id(self) in kept:
            _, fields_then, found = kept[id(self)]
            if len(fields) == len(fields_then) and all(map(operator.is_, fields, fields_then)):
                return found
        found = worked_out.fget(self)
        # it is kept itself, so that its number is nobody else's
        kept[id(self)] = self, fields, found
        return found

    Expectation.configuration = property(configuration)
    try:
        yield
    finally:
        Expectation.configuration = worked_out


def suites_of(scope: Scope) -> list[tuple[ExpectationSuite, str]]:
    """The suites, each with the table that it is about."""

    def counted(name: str, first_part: str) -> tuple[ExpectationSuite, str]:
        small = [_share_is_small(rule, scope.columns[rule.key]) for rule in scope.counted if rule.suite == first_part]
        return ExpectationSuite(name=name, expectations=small), "shares"

    return [
        counted("arrival", "arrival"),
        (readings(scope.single, scope.ranges), "readings"),
        counted("sensors", "readings"),
        counted("cubes", "cubes"),
        counted("change", "change"),
    ]


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


def _share_is_small(rule: Rule, column: str) -> gxe.Expectation:
    """What was counted: the share of what is not as it should be."""
    return gxe.ExpectColumnMaxToBeBetween(
        column=column,
        max_value=rule.max_share,
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
