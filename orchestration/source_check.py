"""What a load would make of a file, without one: nothing is written but what is thrown away."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.read_file import ReadFile, reader, reading
from orchestration.registry import Registry
from orchestration.settings import Settings
from orchestration.source_sql import Incoming
from orchestration.sources import Source, all_sources, read_source, source_named

FIRST = 5


@dataclass(frozen=True)
class SourceCheck:
    """What a file would come to; every count is of values, but `rows`, and `rejected` of whole rows too.

    `first_readings` are rows as the lake has them; `metrics` have metric, count and unit as sent; `rejected` have
    tenant_id, metric, reason, count, first_source_row and example. `unregistered` says by kind what the registry
    does not know: such readings are kept and flagged. `unused_columns` are those that the source does not read,
    `absent_columns` those that it names and that no document of a JSON file has. `refusal` says why a load would
    set the file aside.
    """

    source: str
    file: str
    rows: int
    readings: int
    empty: int
    rejected_count: int
    first_readings: list[dict[str, Any]]
    metrics: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    unregistered: dict[str, list[str]]
    unused_columns: list[str]
    absent_columns: list[str]
    refusal: str | None


def check(settings: Settings, source: str, file: Path, name: str | None = None) -> SourceCheck:
    """Read `file` as a load of `source` (its name, or the path of its YAML) would.

    `name` is what the file would be called below `landing/<source>/`, folders included; by default its place there
    if that is where it lies, else its own name.

    Raises FleetmartError when the source or the registry is wrong, UnreadableFile when the file is.
    """
    declared = read_source(Path(source)) if source.endswith(".yml") else source_named(settings.sources, source)
    is_begun = Registry.is_begun(settings.registry)
    registry = Registry(settings.registry) if is_begun else Registry.before_the_first_row(settings.registry)
    landing = settings.landing / declared.source
    if name is None:
        name = file.absolute().relative_to(landing).as_posix() if landing in file.absolute().parents else file.name
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        incoming = Incoming(file, name, "checked", "2000-01-01 00:00:00")
        engine = reader(settings.memory_limit, folder / "spill")
        with engine, reading(declared, incoming, folder / "staging", engine) as read:
            return _summary(declared, registry, file, read)


def _summary(source: Source, registry: Registry, file: Path, read: ReadFile) -> SourceCheck:
    tenants, rejections = read.tenants(), read.rejections()
    names, first = read.first_readings(FIRST)
    return SourceCheck(
        source=source.source,
        file=str(file),
        rows=read.row_count,
        readings=sum(tenant.readings for tenant in tenants),
        empty=sum(tenant.empty for tenant in tenants),
        rejected_count=sum(rejection.count for rejection in rejections),
        first_readings=[dict(zip(names, row, strict=True)) for row in first],
        metrics=_metrics(source, registry, read),
        rejected=[vars(rejection) for rejection in rejections],
        unregistered=_unregistered(registry, read),
        unused_columns=_unused(source, read.columns),
        absent_columns=_absent(source, read.columns),
        refusal=read.refusal,
    )


def _metrics(source: Source, registry: Registry, read: ReadFile) -> list[dict[str, Any]]:
    """Readings by metric, those without any included; the unit is what came along, else what the registry says."""
    units: dict[str, dict[str, None]] = {}
    for metric, unit in read.units():
        units.setdefault(metric, {})[unit] = None
    for row in registry.rows["device_model_metrics"] if not units else ():
        units.setdefault(row.metric, {})[row.unit or ""] = None
    counts = dict(read.metrics())
    if source.is_wide:
        counts = {one.metric: 0 for one in source.metrics_among(read.columns).values()} | counts
    return [
        {"metric": metric, "count": count, "unit": ", ".join(filter(None, units.get(metric, {}))) or None}
        for metric, count in sorted(counts.items())
    ]


def _unregistered(registry: Registry, read: ReadFile) -> dict[str, list[str]]:
    """The tenants, sites, devices, metrics and sent units of the readings that the registry does not know."""
    found: dict[str, dict[str, None]] = {}
    known = {(row.tenant_id, row.device_id): (row.site_id, row.model_id) for row in registry.rows["devices"]}
    model_metrics = {(row.model_id, row.metric) for row in registry.rows["device_model_metrics"]}
    metrics = {row.metric for row in registry.rows["metrics"]}
    sites = {(row.tenant_id, row.site_id) for row in registry.rows["sites"]}
    for tenant_id, site_id, device_id, metric in read.series():
        site_and_model = known.get((tenant_id, device_id))
        if tenant_id not in registry.tenant_ids:
            found.setdefault("tenants", {})[tenant_id] = None
        if (tenant_id, site_id) not in sites and site_and_model is None:
            found.setdefault("sites", {})[f"{tenant_id}/{site_id}"] = None
        if site_and_model is None:
            found.setdefault("devices", {})[f"{tenant_id}/{device_id}"] = None
        elif site_and_model[0] != site_id:
            text = f"{tenant_id}/{device_id} is at {site_and_model[0]}, not at {site_id}"
            found.setdefault("sites", {})[text] = None
        elif metric in metrics and (site_and_model[1], metric) not in model_metrics:
            found.setdefault("metrics of models", {})[f"{site_and_model[1]}/{metric}"] = None
        if metric not in metrics:
            found.setdefault("metrics", {})[metric] = None
    for metric, unit in read.units():
        if metric in metrics and registry.conversion(metric, unit) is None:
            found.setdefault("units", {})[f"{metric} in {unit}"] = None
    return {kind: list(texts) for kind, texts in found.items()}


def _unused(source: Source, columns: list[str]) -> list[str]:
    used = {*source.columns, *(source.metrics_among(columns) if source.is_wide else ())}
    return [column for column in columns if column not in used]


def _absent(source: Source, columns: list[str]) -> list[str]:
    """Paths that no document of a JSON file has; an element of an array that is there may be there too."""
    if "json" not in source.format.type:
        return []
    return [
        column
        for column in source.columns
        if not any(column == found or column.startswith((f"{found}.", f"/{found}.")) for found in columns)
    ]


def listed(settings: Settings) -> list[dict[str, Any]]:
    """Every declared source: its name, format, tenant and what it describes, and its file."""
    return [
        {
            "source": one.source,
            "format": one.format.type,
            "shape": "wide" if one.is_wide else "long",
            "tenant": one.tenant.constant or "by row",
            "description": one.description,
            "file": str(one.file),
        }
        for one in all_sources(settings.sources).values()
    ]
