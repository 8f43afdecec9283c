"""The cubes computed a second way, so that the warehouse can be held against something it did not make.

Plain pandas over the sample's files or a simulated fleet's, sharing no code, declared source or unit library with the
product: layouts, time zones and unit conversions are written out here by hand. From the registry come only what
cannot be known otherwise: the valid ranges, and which site's clock cuts a device's days.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

Conversion = Callable[[pd.Series], pd.Series]
SENSOR = ["tenant_id", "device_id", "metric"]
MEASURES = ["value_avg", "value_min", "value_max", "value_sum", "value_first", "value_last"]
PERCENTILES = {"value_p50": 0.5, "value_p95": 0.95}


def as_sent(values: pd.Series) -> pd.Series:
    return values


def celsius(fahrenheit: pd.Series) -> pd.Series:
    return (fahrenheit - 32) * 5 / 9


def metres_per_second(miles_per_hour: pd.Series) -> pd.Series:
    return miles_per_hour * 0.44704


def millimetres(inches: pd.Series) -> pd.Series:
    return inches * 25.4


def kilometres(miles: pd.Series) -> pd.Series:
    return miles * 1.609344


def kilowatts(watts: pd.Series) -> pd.Series:
    return watts / 1000


@dataclass(frozen=True)
class Layout:
    """How the files of one folder look; a device that starts with `=` is the name itself, not a column."""

    tenant_id: str
    device: str
    time: str | int
    columns: dict[str, tuple[str, Conversion]]
    time_format: str = "ISO8601"
    hours_behind_utc: int = 0
    null_tokens: tuple[str, ...] = ("",)


LAYOUTS: dict[str, Layout] = {
    "lhb_meter": Layout(
        "la-haute-borne",
        "=farm-meter",
        "time_utc",
        {
            "net_energy_kwh": ("net_energy", as_sent),
            "availability_kwh": ("availability_loss", as_sent),
            "curtailment_kwh": ("curtailment_loss", as_sent),
        },
    ),
    "lhb_scada": Layout(
        "la-haute-borne",
        "Wind_turbine_name",
        "Date_time",
        {
            "Ba_avg": ("pitch_angle", as_sent),
            "P_avg": ("active_power", as_sent),
            "Ws_avg": ("wind_speed", as_sent),
            "Va_avg": ("vane_position", as_sent),
            "Ot_avg": ("ambient_temperature", as_sent),
            "Ya_avg": ("nacelle_angle", as_sent),
            "Wa_avg": ("wind_direction", as_sent),
        },
    ),
    "nyc_weather": Layout(
        "nyc-airports",
        "origin",
        "time_hour",
        {
            "temp": ("ambient_temperature", celsius),
            "dewp": ("dew_point", celsius),
            "humid": ("relative_humidity", as_sent),
            "wind_dir": ("wind_direction", as_sent),
            "wind_speed": ("wind_speed", metres_per_second),
            "wind_gust": ("wind_gust", metres_per_second),
            "precip": ("precipitation", millimetres),
            "pressure": ("sea_level_pressure", as_sent),
            "visib": ("visibility", kilometres),
        },
        null_tokens=("", "NA"),
    ),
    "pv_inv_2173": Layout("nrel-pv", "=inv-2173", "timestamp", {"value_normalized": ("ac_power_normalised", as_sent)}),
    "pv_inv_7539": Layout("nrel-pv", "=inv-7539", "timestamp", {"value_normalized": ("ac_power_normalised", as_sent)}),
    "pv_midc_bms": Layout(
        "nrel-pv",
        "=midc-bms",
        0,
        {"Global CMP22 (vent/cor) [W/m^2]": ("global_horizontal_irradiance", as_sent)},
    ),
    "pv_rmis": Layout(
        "nrel-pv",
        "=rmis",
        0,
        {
            "Ambient Temperature": ("ambient_temperature", as_sent),
            "Barometric Pressure": ("station_pressure", as_sent),
            "Diffuse Horizontal": ("diffuse_horizontal_irradiance", as_sent),
            "Direct Normal": ("direct_normal_irradiance", as_sent),
            "Global Horizontal": ("global_horizontal_irradiance", as_sent),
            "Global Normal": ("global_normal_irradiance", as_sent),
            "Plane of array": ("poa_irradiance", as_sent),
            "Relative Humidity": ("relative_humidity", as_sent),
            "Wind Direction": ("wind_direction", as_sent),
            "Wind Speed": ("wind_speed", as_sent),
        },
        time_format="%m/%d/%Y %H:%M",
        hours_behind_utc=7,
    ),
    "pv_rsf_ii": Layout(
        "nrel-pv",
        "=pvdaq-1283",
        0,
        {
            "ac_power_kw_1137": ("ac_power", as_sent),
            "ambient_temp__1053": ("ambient_temperature", as_sent),
            "inv2_ac_power_w__1047": ("inverter_ac_power", kilowatts),
            "inv2_dc_current__1049": ("dc_current", as_sent),
            "inv2_dc_power__1135": ("dc_power", kilowatts),
            "inv2_dc_voltage__1048": ("dc_voltage", as_sent),
            "inv2_temp__1050": ("inverter_temperature", as_sent),
            "module_temp__1056": ("module_temperature", as_sent),
            "poa_irradiance__1055": ("poa_irradiance", as_sent),
            "poa_irradiance_refcell__1054": ("poa_irradiance_reference_cell", as_sent),
            "refcell_temp__1052": ("reference_cell_temperature", as_sent),
            "wind_speed__1051": ("wind_speed", as_sent),
        },
        time_format="%m/%d/%Y %H:%M",
        hours_behind_utc=5,
    ),
    "pv_serf_east": Layout("nrel-pv", "=pvdaq-50", "measured_on", {"ac_power": ("ac_power", kilowatts)}),
    "pv_serf_west": Layout(
        "nrel-pv",
        "=pvdaq-51",
        0,
        {
            "ac_current__779": ("ac_current", as_sent),
            "ac_power__773": ("ac_power", kilowatts),
            "ac_volts__778": ("ac_voltage", as_sent),
            "ambient_temp__780": ("ambient_temperature", as_sent),
            "das_temperature__785": ("logger_temperature", as_sent),
            "dc_neg_current__777": ("dc_negative_current", as_sent),
            "dc_neg_voltage__776": ("dc_negative_voltage", as_sent),
            "dc_pos_current__775": ("dc_positive_current", as_sent),
            "dc_pos_voltage__774": ("dc_positive_voltage", as_sent),
            "dc_power__772": ("dc_power", kilowatts),
            "inveter_temp__784": ("inverter_temperature", as_sent),
            "module_temp_1__781": ("module_temperature", as_sent),
            "module_temp_2__782": ("module_temperature_2", as_sent),
            "module_temp_3__783": ("module_temperature_3", as_sent),
            "poa_irradiance__771": ("poa_irradiance", as_sent),
        },
        hours_behind_utc=7,
    ),
    "pv_snow": Layout(
        "nrel-pv",
        "=snow-inv1",
        "Timestamp",
        {
            "POA [W/m²]": ("poa_irradiance", as_sent),
            "INV1 CB2 Voltage [V]": ("dc_voltage", as_sent),
            "INV1 CB2 Current [A]": ("dc_current", as_sent),
            "INV1 AC Power [kW]": ("inverter_ac_power", as_sent),
            "Module Temp [C]": ("module_temperature", as_sent),
            "Ambient Temp [C]": ("ambient_temperature", as_sent),
        },
        time_format="%m/%d/%Y %H:%M",
    ),
    "pv_system_15": Layout("nrel-pv", "=pvdaq-15", "measured_on", {"poa_irradiance__484": ("poa_irradiance", as_sent)}),
    "pv_system_50": Layout("nrel-pv", "=pvdaq-50-ac-2", "measured_on", {"ac_power_2": ("ac_power_2", kilowatts)}),
}


SIMULATED_UNITS: dict[tuple[str, str], Conversion] = {
    ("temperature", "degF"): celsius,
    ("power", "W"): kilowatts,
    ("energy", "MWh"): lambda sent: sent * 1000,
    ("humidity", "1"): lambda sent: sent * 100,
    ("pressure", "Pa"): lambda sent: sent / 100,
}
KEYS = {"day": ["tenant_id", "device_id", "metric", "day"], "hour": ["tenant_id", "device_id", "metric", "hour_start"]}
COUNTS = ["reading_count", "valid_count"]
FIGURES = [*MEASURES, *PERCENTILES, "value_time_avg", "covered_seconds"]
DAILY_FIGURES = ["gap_count", "longest_silence_minutes", "stuck_count"]


def assert_equal(ours: pd.DataFrame, theirs: pd.DataFrame, keys: list[str]) -> None:
    """Every row on both sides, counts to the last one and figures to 1e-9."""
    for frame in (ours, theirs):
        frame[keys[-1]] = pd.to_datetime(frame[keys[-1]]).astype("datetime64[us]")
    merged = ours.merge(theirs, on=keys, how="outer", suffixes=("", "_independent"), indicator=True)
    assert (merged["_merge"] == "both").all(), merged.loc[merged["_merge"] != "both", [*keys, "_merge"]].head()
    for column in COUNTS:
        assert (merged[column] == merged[f"{column}_independent"]).all(), column
    for column in FIGURES + (DAILY_FIGURES if keys == KEYS["day"] else []):
        np.testing.assert_allclose(
            merged[column].astype(float), merged[f"{column}_independent"].astype(float), rtol=1e-9, atol=1e-9
        )


def daily_cube(received: pd.DataFrame, registry_dir: Path) -> pd.DataFrame:
    """One row per tenant, device, metric and day of the site's clock."""
    readings = judged_readings(received, registry_dir)
    cube = _cube(readings, "day", "day_start", "day_end")
    cube = cube.merge(silences(readings), on=KEYS["day"], validate="one_to_one")
    return cube.merge(stuck_readings(readings), on=KEYS["day"], validate="one_to_one")


def hourly_cube(received: pd.DataFrame, registry_dir: Path) -> pd.DataFrame:
    """One row per tenant, device, metric and UTC hour."""
    return _cube(judged_readings(received, registry_dir), "hour_start", "hour_start", "hour_end")


def judged_readings(received: pd.DataFrame, registry_dir: Path) -> pd.DataFrame:
    """Readings, each instant once, with their local day, UTC hour and whether they are in range."""
    latest = received.drop_duplicates([*SENSOR, "measured_at"], keep="last")
    devices, sites, rules = (
        pd.read_csv(registry_dir / f"{name}.csv") for name in ("devices", "sites", "device_model_metrics")
    )
    devices = devices.merge(sites, on=["tenant_id", "site_id"])[["tenant_id", "device_id", "model_id", "timezone"]]
    rules = rules[["model_id", "metric", "valid_min", "valid_max", "interval_seconds", "stuck_after_minutes"]]
    known = latest.merge(devices, on=["tenant_id", "device_id"], validate="many_to_one")
    known = known.merge(rules, on=["model_id", "metric"], validate="many_to_one")
    assert len(known) == len(latest), "a device or one of its metrics is not in the registry"
    known["is_valid"] = ~(known["value"] < known["valid_min"]) & ~(known["value"] > known["valid_max"])
    known["measured_at"] = known["measured_at"].dt.tz_localize(None)
    known["hour_start"] = known["measured_at"].dt.floor("h")
    known["hour_end"] = known["hour_start"] + pd.Timedelta(hours=1)
    for zone, of_zone in known.groupby("timezone"):
        local = of_zone["measured_at"].dt.tz_localize("UTC").dt.tz_convert(zone)
        known.loc[of_zone.index, "day"] = local.dt.tz_localize(None).dt.normalize()
        for column, days in (("day_start", 0), ("day_end", 1)):
            midnight = (local.dt.tz_localize(None).dt.normalize() + pd.Timedelta(days=days)).dt.tz_localize(zone)
            known.loc[of_zone.index, column] = midnight.dt.tz_convert("UTC").dt.tz_localize(None)
    return known.sort_values([*SENSOR, "measured_at"], ignore_index=True)


def received_readings(sample_dir: Path) -> pd.DataFrame:
    """Every finite number in the sample, in the order of files and rows, in canonical units."""
    return pd.concat(
        (_melt(layout, path) for folder, layout in LAYOUTS.items() for path in sorted((sample_dir / folder).iterdir())),
        ignore_index=True,
    )


def simulated_readings(folder: Path) -> pd.DataFrame:
    """Every number of a simulated fleet's registered sensors up to now, in the order of files, in canonical units."""
    files = [*sorted((folder / "daily").iterdir()), *sorted((folder / "later").glob("[!a]*"))]
    rows = pd.concat((_texts(file) for file in files), ignore_index=True)
    rows = rows[rows["device_id"].str.startswith("device-") & (rows["metric"] != "mystery") & (rows["value"] != "ERR")]
    rows["measured_at"] = pd.to_datetime(rows["measured_at"], utc=True).astype("datetime64[us, UTC]")
    rows = rows[rows["measured_at"] < pd.Timestamp.now("UTC")]
    rows["value"] = rows["value"].astype(float)
    for (metric, unit), convert in SIMULATED_UNITS.items():
        sent = (rows["metric"] == metric) & (rows["unit"] == unit)
        rows.loc[sent, "value"] = convert(rows.loc[sent, "value"])
    return rows[["tenant_id", "device_id", "metric", "measured_at", "value"]]


def _melt(layout: Layout, path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path) if path.suffix == ".parquet" else _texts(path)
    time = frame[frame.columns[layout.time] if isinstance(layout.time, int) else layout.time]
    if path.suffix != ".parquet":
        time = pd.to_datetime(time, format=layout.time_format, utc=True)
    measured_at = time.dt.tz_convert("UTC").astype("datetime64[us, UTC]") + pd.Timedelta(hours=layout.hours_behind_utc)
    device = layout.device[1:] if layout.device.startswith("=") else frame[layout.device]
    metrics = pd.concat(_sensors(layout, frame, device, measured_at), ignore_index=True)
    return metrics[np.isfinite(metrics["value"])]


def _sensors(
    layout: Layout, frame: pd.DataFrame, device: str | pd.Series, measured_at: pd.Series
) -> Iterator[pd.DataFrame]:
    for column, (metric, convert) in layout.columns.items():
        sent = frame[column]
        if not pd.api.types.is_numeric_dtype(sent):
            sent = sent.where(~sent.isin(layout.null_tokens), "nan")
        yield pd.DataFrame(
            {
                "tenant_id": layout.tenant_id,
                "device_id": device,
                "metric": metric,
                "measured_at": measured_at,
                "value": convert(sent.astype(float)),
            }
        )


def _texts(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _cube(readings: pd.DataFrame, period: str, start: str, end: str) -> pd.DataFrame:
    grain = [*SENSOR, period]
    counts = readings.groupby(grain).agg(reading_count=("value", "size"), valid_count=("is_valid", "sum"))
    valid = readings[readings["is_valid"]]
    measures = valid.groupby(grain)["value"].agg(["mean", "min", "max", "sum", "first", "last"])
    measures = measures.set_axis(MEASURES, axis="columns")
    for name, share in PERCENTILES.items():
        measures[name] = valid.groupby(grain)["value"].quantile(share)
    return counts.join(measures).join(over_time(valid, grain, start, end)).reset_index()


def silences(readings: pd.DataFrame) -> pd.DataFrame:
    """By sensor and day, how long nothing came at the longest, and how often for more than 1.5 times the cadence."""
    marks = [readings[[*KEYS["day"], "measured_at"]]]
    marks += [readings[[*KEYS["day"], end]].set_axis(marks[0].columns, axis=1) for end in ("day_start", "day_end")]
    marks = pd.concat(marks).drop_duplicates().sort_values([*SENSOR, "measured_at"])
    marks["silent_seconds"] = marks.groupby(KEYS["day"])["measured_at"].diff().dt.total_seconds()
    marks = marks.merge(readings[[*KEYS["day"], "interval_seconds"]].drop_duplicates(), on=KEYS["day"])
    marks["is_gap"] = marks["silent_seconds"] > 1.5 * marks["interval_seconds"]
    marks["gap_count"] = marks["is_gap"].where(marks["interval_seconds"].notna()).astype(float)
    days = marks.groupby(KEYS["day"])
    longest = (days["silent_seconds"].max() / 60).rename("longest_silence_minutes")
    return days["gap_count"].sum(min_count=1).to_frame().join(longest).reset_index()


def stuck_readings(readings: pd.DataFrame) -> pd.DataFrame:
    """By sensor and day, how many valid readings had the value that had been the same for too long already."""
    valid = readings[readings["is_valid"]].copy()
    is_new = (valid[SENSOR] != valid[SENSOR].shift(1)).any(axis=1) | (valid["value"] != valid["value"].shift(1))
    same_since = valid.groupby(is_new.cumsum())["measured_at"].transform("first")
    same_for = (valid["measured_at"] - same_since).dt.total_seconds()
    stuck = (same_for > 0) & (same_for >= 60 * valid["stuck_after_minutes"])
    readings = readings.assign(stuck_count=stuck.reindex(readings.index, fill_value=False).astype(int))
    return readings.groupby(KEYS["day"])["stuck_count"].sum().reset_index()


def over_time(valid: pd.DataFrame, grain: list[str], start: str, end: str) -> pd.DataFrame:
    """The average over the time for which values hold, from one to the next, at most for twice the cadence."""
    sensor = valid.groupby(SENSOR)
    hold = pd.to_timedelta((2 * valid["interval_seconds"]).fillna(86_400), unit="s")
    until = (valid["measured_at"] + hold).clip(upper=valid[end])
    until = until.clip(upper=sensor["measured_at"].shift(-1).fillna(pd.Timestamp.max))
    held = (until - valid["measured_at"]).dt.total_seconds()
    before = sensor["measured_at"].shift(1)
    carried_until = (before + hold).clip(upper=valid["measured_at"])
    carried = (carried_until - valid[start]).dt.total_seconds().clip(lower=0).where(before < valid[start], 0).fillna(0)
    amounts = valid["value"] * held + (sensor["value"].shift(1) * carried).fillna(0)
    sums = pd.DataFrame({"amount": amounts, "covered_seconds": held + carried}).groupby([valid[key] for key in grain])
    sums = sums.sum()
    return pd.DataFrame(
        {"value_time_avg": sums["amount"] / sums["covered_seconds"], "covered_seconds": sums["covered_seconds"]}
    )
