"""What must hold before anybody sees a build: every expectation by its key, with its severity and its limit.

critical withholds the tenant's snapshot, warning publishes with a mark, info is only kept. What makes figures wrong
is critical; what a fleet does by nature has a share that may be so. A key of PER_METRIC stands for one expectation of
each metric, such as `change.level.temperature`: the registry's metrics are guarded without code. The rows of
`quality_rules` in the registry put other severities and limits in place of these.

The view or table of the key's name in the schema `gate` counts where it holds and where not (arrival.sql, sensors.sql,
cubes.sql, change.sql, readings.sql).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

Severity = Literal["critical", "warning", "info"]
# A row of the registry: key or key's prefix, severity and share if it sets them, and whether it is the tenant's own.
Setting = tuple[str, Severity | None, float | None, bool]


@dataclass(frozen=True)
class Rule:
    """One expectation: what holds, why it matters, how bad a failure is, and which share may fail.

    Of a rule that is `per_row` the worst row's share is compared, of others the share of all rows together. Findings
    are those of the relation `found_in`, where it is not the key's own. Of an expectation made for one metric or column
    `part` says which.
    """

    key: str
    severity: Severity
    max_share: float
    rule: str
    why: str
    per_row: bool = False
    found_in: str | None = None
    part: str | None = None
    metric: str | None = None

    @property
    def suite(self) -> str:
        return self.key.split(".")[0]

    @property
    def name(self) -> str:
        """The key without its part: the relation that counts it is called so."""
        return self.key.removesuffix(f".{self.part}") if self.part else self.key

    @property
    def sentence(self) -> str:
        """The rule as people read it, with what may fail."""
        return f"{self.rule} (at most {100 * self.max_share:.4g} % exceptions)" if self.max_share else self.rule

    def of(self, metric: str, label: str) -> "Rule":
        """The expectation of one metric."""
        return replace(self.about(metric, label), metric=metric)

    def about(self, part: str, label: str) -> "Rule":
        """The expectation of one column."""
        return replace(self, key=f"{self.key}.{part}", rule=self.rule.format(part=label), part=part)


MISLEADS = "A cube that loses or doubles readings misleads."
ADDS_UP = "Figures that do not add up from one grain to the next contradict each other."

ARRIVAL = (
    Rule(
        "arrival.mostly_rejected",
        "critical",
        0.2,
        "Each load's values are taken in",
        "A file that is mostly rejected is another file than its source declares.",
        per_row=True,
        found_in="rejections",
    ),
    Rule(
        "arrival.rejected_share",
        "warning",
        0.01,
        "A load's values are not rejected",
        "Rejected values are missing from every figure.",
        per_row=True,
        found_in="rejections",
    ),
    Rule(
        "arrival.rejected_values",
        "info",
        0,
        "No value is rejected",
        "Rejected values are missing from every figure.",
        found_in="rejections",
    ),
    Rule(
        "arrival.files_set_aside",
        "warning",
        0,
        "Every file can be read",
        "What a file that was set aside holds is in no figure.",
    ),
    Rule(
        "arrival.repeated_files",
        "info",
        0,
        "No file comes twice",
        "A repeat changes nothing, but somebody sends what was sent before, perhaps in place of something new.",
    ),
    Rule(
        "arrival.new_columns",
        "info",
        0,
        "Files have the columns that their source had before",
        "What a new column holds is read only when its source declares it.",
    ),
    Rule(
        "arrival.missing_columns",
        "info",
        0,
        "Files have all columns that their source ever had",
        "What stood in a column that is gone comes no more.",
    ),
    Rule(
        "arrival.freshness",
        "info",
        0,
        "The newest load of a source has readings of the day before it came",
        "Old readings say nothing about how the fleet is now.",
    ),
    Rule(
        "arrival.volume",
        "warning",
        0.05,
        "A day has as many readings as the 28 days before it, within half and twice",
        "Far fewer readings than usual are missing from every figure, far more may be there twice.",
    ),
    Rule(
        "arrival.late_share",
        "info",
        0.001,
        "A sensor's readings come before those of the next day",
        "What comes late changes figures that people have seen.",
    ),
    Rule(
        "arrival.unregistered_devices",
        "warning",
        0,
        "Every device that sends is registered",
        "Readings of unregistered devices have no unit, no range and no site.",
    ),
    Rule(
        "arrival.unknown_metrics",
        "warning",
        0,
        "Every metric that comes is registered for its device's model",
        "Readings of metrics that are not registered have no unit and no range, and are not valid.",
    ),
    Rule(
        "arrival.silent_devices",
        "warning",
        0.01,
        "No device in service is silent for half a day",
        "A silent device is missing from every figure, and may be broken.",
    ),
)
# of single readings, checked one by one; the range's own sentence names it
PRESENT = Rule(
    "readings.present",
    "critical",
    0,
    "Every reading has its {part}",
    "A reading that cannot be placed is counted wrongly.",
)
RANGE = Rule(
    "readings.range",
    "warning",
    0.01,
    "{part}",
    "Values outside the registry's range are left out of every figure.",
)
KEY_COLUMNS = ("tenant_id", "site_id", "device_id", "metric", "measured_at", "load_id")
READINGS = tuple(PRESENT.about(column, column) for column in KEY_COLUMNS)
SENSORS = (
    Rule(
        "readings.unique",
        "critical",
        0,
        "An instant of a sensor is counted once",
        "A replay must not double the counts.",
    ),
    Rule(
        "readings.sensor_range",
        "info",
        0.001,
        "At most 1 % of a sensor's readings of a day are outside its range",
        "One broken sensor among many is seen in no share of all readings.",
    ),
    Rule(
        "readings.rates",
        "warning",
        0.01,
        "No value changes faster than the registry says it can",
        "A jump that nature does not make is a fault of the sensor, and left out of every figure.",
    ),
    Rule(
        "readings.unit_conflicts",
        "warning",
        0,
        "Every unit that comes with a value becomes the metric's own",
        "A value in a unit that cannot be converted is in no figure.",
    ),
    Rule(
        "readings.future",
        "warning",
        0.001,
        "No reading is measured after it was received",
        "The clock of the device is wrong, so all its readings may be.",
    ),
    Rule(
        "readings.duplicates",
        "info",
        0.001,
        "No instant of a sensor comes twice",
        "Of two values the one that came last stands; which of them is right, nobody says.",
    ),
    Rule(
        "readings.cadence",
        "info",
        0.001,
        "A sensor sends no more often in a day than its cadence in the registry",
        "Where more comes than is expected, the registry is wrong or something sends twice.",
    ),
    Rule(
        "readings.gaps",
        "info",
        0.001,
        "No sensor is silent for longer than one and a half times its cadence",
        "Averages and sums of a day with a gap are those of the rest of it.",
    ),
    Rule(
        "readings.stuck",
        "info",
        0.001,
        "No value stays the same for longer than the registry says it can",
        "A stuck sensor measures nothing, and its values look right.",
    ),
    Rule(
        "readings.resets",
        "info",
        0.001,
        "No counter begins again",
        "What was counted between the last reading before and the reset is lost.",
    ),
)
COMPLETENESS = Rule(
    "readings.completeness",
    "warning",
    0.2,
    "Every reading of {part} that the cadence promises has come",
    "Figures of a metric with many readings missing are those of the rest.",
)
CUBES = (
    Rule("cubes.missing_partitions", "critical", 0, "No day of the lake is missing from the build", MISLEADS),
    Rule("cubes.hourly_mismatches", "critical", 0, "Hours count every reading once", MISLEADS),
    Rule("cubes.daily_mismatches", "critical", 0, "Days count every reading once", MISLEADS),
    Rule("cubes.utc_daily_mismatches", "critical", 0, "Hours add up to UTC days", ADDS_UP),
    Rule("cubes.utc_monthly_mismatches", "critical", 0, "UTC days add up to UTC months", ADDS_UP),
    Rule("cubes.site_mismatches", "critical", 0, "Devices add up to their sites", ADDS_UP),
    Rule("cubes.tenant_mismatches", "critical", 0, "Sites add up to their tenant", ADDS_UP),
    Rule(
        "cubes.fleet_mismatches",
        "critical",
        0,
        "The fleet's line counts every reading once",
        "The executive's figures must add up.",
    ),
    Rule(
        "cubes.impossible_figures",
        "critical",
        0,
        "Averages lie between minimum and maximum, shares between 0 and 1",
        "A figure that cannot be is a defect of the build.",
    ),
)
# A day is compared with the 28 days before it, of the same sensor; see change.sql for what a jump is.
LEVEL = Rule(
    "change.level",
    "critical",
    0.5,
    "{part} of a day lies where each device's was in the days before",
    "A whole fleet that jumps by far more than it ever moved is sent in another unit, or as another metric.",
)
VALID_SHARE = Rule(
    "change.valid_share",
    "critical",
    0.5,
    "{part} is as valid on a day as each device's was in the days before",
    "When most values of a metric are suddenly impossible, those that are left are no better.",
)
CHANGE = (
    Rule(
        "change.devices",
        "warning",
        0,
        "No single sensor jumps by far more than it ever moved",
        "A sensor that jumps was exchanged, set up anew, or sends another unit.",
    ),
)
PER_METRIC = (RANGE, COMPLETENESS, LEVEL, VALID_SHARE)


def problem_of(key: str, metrics: Iterable[str]) -> str | None:
    """Why this is neither an expectation's key nor the beginning of one; None when it is."""
    single = [rule.key for rule in (*ARRIVAL, *READINGS, *SENSORS, *CUBES, *CHANGE)]
    beginnings = {key[:end] for key in [*single, *(rule.key for rule in PER_METRIC)] for end in _ends(key)}
    if key in beginnings:
        return None
    for rule in PER_METRIC:
        metric = key.removeprefix(f"{rule.key}.")
        if metric != key:
            return None if metric in metrics else f"{metric} is not in metrics.csv"
    return f"there is no expectation {key!r}"


def as_set(rule: Rule, settings: Iterable[Setting]) -> Rule:
    """The rule with what the most specific settings say: the tenant's own before others, longer keys before shorter."""
    matching = [one for one in settings if rule.key == one[0] or rule.key.startswith(f"{one[0]}.")]
    for _, severity, max_share, _ in sorted(matching, key=lambda one: (one[3], len(one[0]))):
        rule = replace(
            rule,
            severity=rule.severity if severity is None else severity,
            max_share=rule.max_share if max_share is None else max_share,
        )
    return rule


def _ends(key: str) -> list[int]:
    """Where the key may be cut: after each of its words."""
    return [place for place, sign in enumerate(key) if sign == "."] + [len(key)]
