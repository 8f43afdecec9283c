"""The registry's tables: what a row of each holds, what names it, and what it refers to."""

from datetime import date
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Optional_ = BeforeValidator(lambda value: None if value == "" else value)
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
# One plain address: whatever separates several, or begins another header, is none.
ADDRESS = r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$"
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
OPERATOR = "operator"


def _zone(name: str) -> str:
    try:
        return ZoneInfo(name).key
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(f"{name!r} is no time zone such as Europe/Paris") from error


class Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Plan(Row):
    plan_id: Key
    plan_name: Annotated[str, Field(min_length=1)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    price_per_month: NotNegative
    included_gb: NotNegative
    price_per_gb_month: NotNegative
    price_per_million_readings: NotNegative


class Tenant(Row):
    tenant_id: Key
    tenant_name: Annotated[str, Field(min_length=1)]
    industry: str
    plan_id: Annotated[Key | None, Optional_] = None
    steward_email: Annotated[Annotated[str, Field(pattern=ADDRESS)] | None, Optional_] = None

    @model_validator(mode="after")
    def _not_operator(self) -> "Tenant":
        if self.tenant_id == OPERATOR:
            raise ValueError("`operator` is reserved for the operator's own staff")
        return self


class Site(Row):
    tenant_id: Key
    site_id: Key
    site_name: str
    timezone: Annotated[str, AfterValidator(_zone)]
    latitude: Annotated[float | None, Optional_]
    longitude: Annotated[float | None, Optional_]


class DeviceModel(Row):
    model_id: Key
    model_name: str
    manufacturer: Annotated[str | None, Optional_]


class Device(Row):
    tenant_id: Key
    site_id: Key
    device_id: Key
    device_name: str
    model_id: Key
    commissioned_on: date
    decommissioned_on: Annotated[date | None, Optional_]


class Metric(Row):
    metric: Key
    metric_label: str
    description: str
    kind: Literal["gauge", "counter", "state", "event"]
    unit: Annotated[str | None, Optional_]
    value_type: Literal["number", "text", "boolean"]


class DeviceModelMetric(Row):
    model_id: Key
    metric: Key
    unit: Annotated[str | None, Optional_]
    interval_seconds: Annotated[Positive | None, Optional_]
    valid_min: Annotated[float | None, Optional_]
    valid_max: Annotated[float | None, Optional_]
    stuck_after_minutes: Annotated[Positive | None, Optional_]
    max_change_per_minute: Annotated[Positive | None, Optional_] = None
    rolls_over_at: Annotated[Positive | None, Optional_] = None

    @model_validator(mode="after")
    def _ordered(self) -> "DeviceModelMetric":
        if None not in (self.valid_min, self.valid_max) and self.valid_min > self.valid_max:
            raise ValueError(f"valid_min {self.valid_min} is above valid_max {self.valid_max}")
        return self


class HeadlineMetric(Row):
    tenant_id: Key
    metric: Key
    rank: Annotated[int, Field(gt=0)]
    aggregation: Literal["sum", "avg", "min", "max"]
    label: str


class DeviceAttribute(Row):
    tenant_id: Key
    device_id: Key
    attribute: Key
    value: str


class StateRule(Row):
    model_id: Key
    state: Key
    metric: Key
    figure: Literal["value", "average", "positive_share"]
    comparison: Literal[">", ">=", "<", "<="]
    bound: float


# How much of a metric a period has: the sum of its values, what its counter counted, or its average over time.
Measure = Literal["sum", "increase", "average"]


class PerformanceRatio(Row):
    tenant_id: Key
    ratio: Key
    ratio_label: str
    numerator_metric: Key
    numerator_measure: Measure
    denominator_metric: Key
    denominator_measure: Measure
    better: Literal["lower", "higher"]


class Tariff(Row):
    tenant_id: Key
    metric: Key
    measure: Literal["sum", "increase"]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    price_per_unit: float
    valid_from: date
    from_hour: Annotated[int, Field(ge=0, le=23)]
    to_hour: Annotated[int, Field(ge=1, le=24)]

    @model_validator(mode="after")
    def _ordered(self) -> "Tariff":
        if self.from_hour >= self.to_hour:
            raise ValueError(f"from_hour {self.from_hour} is not before to_hour {self.to_hour}")
        return self


class QualityRule(Row):
    tenant_id: Annotated[Key | None, Optional_]
    expectation: Key
    severity: Annotated[Literal["critical", "warning", "info"] | None, Optional_]
    max_share: Annotated[Share | None, Optional_]

    @model_validator(mode="after")
    def _says_something(self) -> "QualityRule":
        if self.severity is None and self.max_share is None:
            raise ValueError("neither severity nor max_share is given, so the row changes nothing")
        return self


TABLES: dict[str, type[Row]] = {
    "plans": Plan,
    "tenants": Tenant,
    "sites": Site,
    "device_models": DeviceModel,
    "devices": Device,
    "metrics": Metric,
    "device_model_metrics": DeviceModelMetric,
    "headline_metrics": HeadlineMetric,
    "device_attributes": DeviceAttribute,
    "performance_ratios": PerformanceRatio,
    "tariffs": Tariff,
    "state_rules": StateRule,
    "quality_rules": QualityRule,
}
# Without these a fleet has no plans, attributes, rules, ratios or tariffs, and the gate its own limits.
OPTIONAL_TABLES = ("plans", "device_attributes", "state_rules", "performance_ratios", "tariffs", "quality_rules")
# Columns about people, by which nothing is built: they are in no warehouse, and a change of them rebuilds nothing.
NO_DATA = {"steward_email"}
# table → the columns that name one of its rows
KEYS: dict[str, tuple[str, ...]] = {
    "plans": ("plan_id",),
    "tenants": ("tenant_id",),
    "sites": ("tenant_id", "site_id"),
    "device_models": ("model_id",),
    "devices": ("tenant_id", "device_id"),
    "metrics": ("metric",),
    "device_model_metrics": ("model_id", "metric"),
    "headline_metrics": ("tenant_id", "metric"),
    "device_attributes": ("tenant_id", "device_id", "attribute"),
    "performance_ratios": ("tenant_id", "ratio"),
    "tariffs": ("tenant_id", "metric", "valid_from", "from_hour"),
    "state_rules": ("model_id", "state", "figure"),
    "quality_rules": ("tenant_id", "expectation"),
}
# table → (columns, table they must be found in); an empty column refers to nothing
REFERENCES = [
    ("tenants", ("plan_id",), "plans"),
    ("sites", ("tenant_id",), "tenants"),
    ("devices", ("tenant_id", "site_id"), "sites"),
    ("devices", ("model_id",), "device_models"),
    ("device_model_metrics", ("model_id",), "device_models"),
    ("device_model_metrics", ("metric",), "metrics"),
    ("headline_metrics", ("tenant_id",), "tenants"),
    ("headline_metrics", ("metric",), "metrics"),
    ("device_attributes", ("tenant_id", "device_id"), "devices"),
    ("performance_ratios", ("tenant_id",), "tenants"),
    ("tariffs", ("tenant_id",), "tenants"),
    ("tariffs", ("metric",), "metrics"),
    ("state_rules", ("model_id", "metric"), "device_model_metrics"),
    ("quality_rules", ("tenant_id",), "tenants"),
]
