"""The suites of the gate, one function each; every expectation carries its reason and its severity.

critical withholds the tenant's snapshot, warning publishes with a mark, info is only kept. The rules
about metrics are made from the registry, so a new metric is guarded without code. Great Expectations
takes seconds to import: this module is imported only where the gate runs. A suite is about the view or
table of its name.
"""

from dataclasses import dataclass

import great_expectations as gx
import great_expectations.expectations as gxe
from great_expectations.core import ExpectationSuite


@dataclass(frozen=True)
class MetricRule:
    """The registry's range of one metric for one tenant, in the canonical unit."""

    metric: str
    label: str
    unit: str | None
    valid_min: float | None
    valid_max: float | None


def arrival() -> ExpectationSuite:
    """What came in: files, rejected rows, devices."""
    return _suite(
        "arrival",
        _none(
            "mostly_rejected_loads",
            "critical",
            "At most a fifth of a load's values is rejected",
            "A file that is mostly rejected is another file than its source declares.",
        ),
        _none(
            "partly_rejected_loads",
            "warning",
            "At most 1 % of a load's values is rejected",
            "Rejected values are missing from every figure.",
        ),
        _none(
            "unregistered_devices",
            "warning",
            "Every device that sends is registered",
            "Readings of unregistered devices have no unit, no range and no site.",
        ),
        _none(
            "silent_devices",
            "warning",
            "Every device in service sent something on the latest day",
            "A silent device is missing from every figure, and may be broken.",
        ),
    )


def readings(rules: list[MetricRule]) -> ExpectationSuite:
    """Single readings: their keys, and the registry's ranges."""
    keys = ["tenant_id", "site_id", "device_id", "metric", "measured_at", "load_id"]
    present = [
        gxe.ExpectColumnValuesToNotBeNull(
            column=column,
            severity="critical",
            meta=_meta(f"Every reading has its {column}", "A reading that cannot be placed is counted wrongly."),
        )
        for column in keys
    ]
    unique = gxe.ExpectCompoundColumnsToBeUnique(
        column_list=["tenant_id", "device_id", "metric", "measured_at"],
        severity="critical",
        meta=_meta("An instant of a sensor is counted once", "A replay must not double the counts."),
    )
    ranges = [
        gxe.ExpectColumnValuesToBeBetween(
            column="value",
            min_value=rule.valid_min,
            max_value=rule.valid_max,
            mostly=0.99,
            row_condition=gx.expectations.row_conditions.Column("metric") == rule.metric,
            severity="warning",
            meta=_meta(
                f"99 % of {rule.label} within {_range(rule)}",
                "Values outside the registry's range are left out of every figure.",
                rule.metric,
            ),
        )
        for rule in rules
        if (rule.valid_min, rule.valid_max) != (None, None)
    ]
    return _suite("readings", *present, unique, *ranges)


def cubes() -> ExpectationSuite:
    """The cubes: every reading counted once at every grain, and figures that can be."""
    misleads = "A cube that loses or doubles readings misleads."
    return _suite(
        "cubes",
        _none("hourly_mismatches", "critical", "Hours count every reading once", misleads),
        _none("daily_mismatches", "critical", "Days count every reading once", misleads),
        _none(
            "fleet_mismatches",
            "critical",
            "The fleet's line counts every reading once",
            "The executive's figures must add up.",
        ),
        _none(
            "impossible_figures",
            "critical",
            "Averages lie between minimum and maximum, shares between 0 and 1",
            "A figure that cannot be is a defect of the build.",
        ),
    )


def _suite(name: str, *expectations: gxe.Expectation) -> ExpectationSuite:
    return ExpectationSuite(name=name, expectations=list(expectations))


def _none(column: str, severity: str, rule: str, why: str) -> gxe.Expectation:
    """The view's one row counts what must not be in this column."""
    return gxe.ExpectColumnMaxToBeBetween(column=column, max_value=0, severity=severity, meta=_meta(rule, why))


def _meta(rule: str, why: str, metric: str | None = None) -> dict[str, str | None]:
    return {"rule": rule, "why": why, "metric": metric}


def _range(rule: MetricRule) -> str:
    low = "…" if rule.valid_min is None else f"{rule.valid_min:g}"
    high = "…" if rule.valid_max is None else f"{rule.valid_max:g}"
    return f"{low} to {high} {rule.unit or ''}".strip()
