"""What a simulated fleet is: how many tenants, devices and days, and which metrics with which values."""

import dataclasses
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class SimulatedMetric:
    """A metric of the fleet: its registry row, and SQL of its value from `seconds` of the fleet and noise `u` in 0..1.

    `other_unit` is a unit with factor and offset to send it in by mistake.
    """

    name: str
    kind: str
    unit: str
    valid_min: float
    valid_max: float
    value: str
    other_unit: tuple[str, float, float]


CATALOGUE = [
    SimulatedMetric(
        "temperature", "gauge", "degC", -40, 60, "15 + 8 * sin(seconds / 13751) + 4 * u", ("degF", 1.8, 32)
    ),
    SimulatedMetric("power", "gauge", "kW", 0, 500, "120 + 80 * sin(seconds / 13751 + 1) + 40 * u", ("W", 1000, 0)),
    SimulatedMetric("energy", "counter", "kWh", 0, 1e9, "seconds / 36 + u", ("MWh", 0.001, 0)),
    SimulatedMetric(
        "humidity", "gauge", "percent", 0, 100, "55 + 20 * sin(seconds / 13751 + 2) + 10 * u", ("1", 0.01, 0)
    ),
    SimulatedMetric("pressure", "gauge", "hPa", 850, 1100, "1000 + 10 * sin(seconds / 200000) + 5 * u", ("Pa", 100, 0)),
    SimulatedMetric("running", "state", "1", 0, 1, "if(u < 0.9, 1, 0)", ("percent", 100, 0)),
    SimulatedMetric("starts", "event", "1", 0, 100, "floor(3 * u)", ("percent", 100, 0)),
]


@dataclass(frozen=True)
class Fleet:
    """The arguments of a simulation; `interval` in seconds."""

    tenants: int
    devices: int
    metrics: int
    days: int
    seed: int
    start: date
    interval: int
    faults: tuple[str, ...]

    @property
    def catalogue(self) -> list[SimulatedMetric]:
        """The metrics: those of CATALOGUE, and beyond them numbered gauges."""
        more = [
            dataclasses.replace(CATALOGUE[0], name=f"temperature_{number}")
            for number in range(len(CATALOGUE), self.metrics)
        ]
        return [*CATALOGUE, *more][: self.metrics]

    @property
    def steps(self) -> int:
        """Readings of a metric a day."""
        return 86_400 // self.interval
