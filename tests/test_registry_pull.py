"""The registry from a company's own SQL database: all of it or nothing, and never a word of the password."""

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy

from orchestration import registry_pull
from orchestration.build import candidate
from orchestration.errors import FleetmartError
from orchestration.landing import deliver
from orchestration.load import load_waiting
from orchestration.registry import Registry
from orchestration.registry_pull import TableChange, pull
from orchestration.registry_rows import KEYS, TABLES
from orchestration.settings import ROOT, Settings
from tests.conftest import PASSWORD, environment_of, run_fleetmart
from tests.test_load import GOOD, HEADER, write

on_sqlite = pytest.mark.parametrize("assets", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("assets", ["postgresql"], indirect=True)
VARIABLE = "ASSETS_URL"
DECLARED = """\
url_variable: ASSETS_URL
tables:
  devices:
    table: {schema}.assets
    columns:
      site_id: plant
      device_id: Serial No
      device_name: label
      model_id: model
      commissioned_on: installed_at
      decommissioned_on: retired_on
    constants: {{tenant_id: la-haute-borne}}
  sites:
    table: {schema}.plants_in_use
    columns: {{tenant_id: owner, site_id: plant, site_name: label, timezone: zone, latitude: lat, longitude: lon}}
"""
TYPES = {
    "sqlite": {"instant": "timestamp", "exact": "numeric(9, 6)", "odd": "hyperlink", "raw": "blob"},
    "postgresql": {"instant": "timestamptz", "exact": "numeric(9, 6)", "odd": "point", "raw": "bytea"},
}
SCHEMA = [
    # What the registry does not name has types that it could not hold.
    """create table assets ("Serial No" varchar(40) primary key, label text, model text, plant text,
       installed_at {instant}, retired_on date, place {odd}, photo {raw})""",
    "create table plants (owner text, plant text, label text, zone text, lat {exact}, lon float, sold integer)",
    "create view plants_in_use as select owner, plant, label, zone, lat, lon from plants where sold = 0",
]
ASSETS = [
    ("R80711", "Turbine 1", "senvion-mm82", "la-haute-borne", "2014-03-24 06:30:00", None),
    ("R80721", "Turbine 2", "senvion-mm82", "la-haute-borne", "2014-03-24 00:00:00", "2020-01-31"),
    ("R99999", "Turbine 9", "senvion-mm82", "la-haute-borne", "2021-12-01 12:00:00", None),
]
PLANTS = [
    ("nyc-airports", "JFK", "Kennedy", "America/New_York", 40.639751, -73.778925, 0),
    ("la-haute-borne", "la-haute-borne", "La Haute Borne wind farm", "Europe/Paris", 48.4497, 5.5896, 0),
    ("la-haute-borne", "sold-site", "Sold", "Mars/Olympus", None, None, 1),
]


@dataclass
class Assets:
    """A company's database, and the registry that is pulled from it."""

    url: str
    settings: Settings

    def sql(self, statement: str, *rows: tuple) -> None:
        engine = sqlalchemy.create_engine(self.url)
        with engine.begin() as connection:
            for row in rows or [()]:
                connection.exec_driver_sql(statement.replace("?", "%s") if engine.name != "sqlite" else statement, row)
        engine.dispose()

    def declare(self, replace: str = "", by: str = "") -> None:
        schema = "main" if self.url.startswith("sqlite") else "public"
        text = DECLARED.format(schema=schema)
        assert replace in text
        (self.settings.registry / "database.yml").write_text(text.replace(replace, by, 1) if replace else text)

    def contents(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.settings.registry.iterdir())}

    def csv(self, name: str) -> list[str]:
        return (self.settings.registry / f"{name}.csv").read_text().splitlines()


@pytest.fixture(params=["sqlite", "postgresql"])
def assets(
    request: pytest.FixtureRequest, small: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Assets:
    """Both databases with the same rows; the registry has the sample's devices and sites of two tenants."""
    in_file = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'assets.db'}" if in_file else request.getfixturevalue("postgres")
    monkeypatch.setenv(VARIABLE, url)
    made = Assets(url, small())
    keep_two_tenants(made.settings.registry)
    if request.param == "postgresql":
        made.sql("drop schema public cascade")
        made.sql("create schema public")
    for statement in SCHEMA:
        made.sql(statement.format(**TYPES[request.param]))
    zone = "+00" if request.param == "postgresql" else ""
    made.sql(
        'insert into assets ("Serial No", label, model, plant, installed_at, retired_on) values (?, ?, ?, ?, ?, ?)',
        *[(*row[:4], row[4] + zone, row[5]) for row in ASSETS],
    )
    made.sql("insert into plants values (?, ?, ?, ?, ?, ?, ?)", *PLANTS)
    made.declare()
    return made


def keep_two_tenants(registry: Path) -> None:
    for name in ("tenants", "sites", "devices", "headline_metrics"):
        path = registry / f"{name}.csv"
        lines = path.read_text().splitlines()
        kept = ("tenant_id", "la-haute-borne,", "nyc-airports,JFK", "nyc-airports,New York")
        path.write_text("".join(f"{line}\n" for line in lines if line.startswith(kept)))
    devices = registry / "devices.csv"
    devices.write_text("".join(f"{line}\n" for line in devices.read_text().splitlines() if "JFK" not in line))


def test_a_pull_replaces_what_is_declared_and_says_what_changed(assets: Assets) -> None:
    metrics = (assets.settings.registry / "metrics.csv").read_bytes()
    done = pull(assets.settings)
    assert done.tables == [
        TableChange("devices", 3, 1, 2, 3, [f"la-haute-borne/{name}" for name in ("R80736", "R80790", "farm-meter")]),
        TableChange("sites", 2, 0, 1, 0, []),
    ]
    assert assets.csv("devices") == [
        "tenant_id,site_id,device_id,device_name,model_id,commissioned_on,decommissioned_on",
        "la-haute-borne,la-haute-borne,R80711,Turbine 1,senvion-mm82,2014-03-24,",
        "la-haute-borne,la-haute-borne,R80721,Turbine 2,senvion-mm82,2014-03-24,2020-01-31",
        "la-haute-borne,la-haute-borne,R99999,Turbine 9,senvion-mm82,2021-12-01,",
    ]
    assert assets.csv("sites")[1:] == [
        "la-haute-borne,la-haute-borne,La Haute Borne wind farm,Europe/Paris,48.4497,5.5896",
        "nyc-airports,JFK,Kennedy,America/New_York,40.639751,-73.778925",
    ]
    assert (assets.settings.registry / "metrics.csv").read_bytes() == metrics
    assert [row.device_id for row in Registry(assets.settings.registry).rows["devices"]] == [a[0] for a in ASSETS]


def test_a_second_pull_changes_not_a_byte(assets: Assets) -> None:
    pull(assets.settings)
    before = assets.contents()
    times = {path: path.stat().st_mtime_ns for path in assets.settings.registry.iterdir()}
    again = pull(assets.settings)
    assert again.changes == 0 and [table.rows for table in again.tables] == [3, 2]
    assert assets.contents() == before
    assert {path: path.stat().st_mtime_ns for path in assets.settings.registry.iterdir()} == times


def test_rows_added_changed_and_removed_are_counted(assets: Assets) -> None:
    pull(assets.settings)
    assets.sql("update assets set label = 'Renamed' where label = 'Turbine 1'")
    assets.sql("delete from assets where label = 'Turbine 2'")
    assets.sql(
        'insert into assets ("Serial No", label, model, plant, installed_at) values (?, ?, ?, ?, ?)',
        ("R1", "New", "senvion-mm82", "la-haute-borne", "2022-01-01 00:00:00"),
    )
    assets.sql("update plants set lat = 1 where plant = 'JFK'")
    done = pull(assets.settings)
    assert done.tables == [
        TableChange("devices", 3, 1, 1, 1, ["la-haute-borne/R80721"]),
        TableChange("sites", 2, 0, 1, 0, []),
    ]
    assert assets.csv("sites")[-1] == "nyc-airports,JFK,Kennedy,America/New_York,1,-73.778925"


def test_a_dry_run_says_the_same_and_writes_nothing(assets: Assets) -> None:
    before = assets.contents()
    would = pull(assets.settings, dry_run=True)
    assert would.dry_run and would.changes == 7 and assets.contents() == before
    done = pull(assets.settings)
    assert done.tables == would.tables and assets.contents() != before


def test_nothing_of_the_database_stays_in_the_home(assets: Assets) -> None:
    before = set(assets.settings.home.rglob("*"))
    pull(assets.settings)
    assert {path.name for path in set(assets.settings.home.rglob("*")) - before} == {"writer.lock"}


def test_a_build_sees_the_pulled_registry(assets: Assets, tmp_path: Path) -> None:
    settings = assets.settings
    deliver(settings, "lhb_scada", [write(tmp_path / "a.csv", HEADER + GOOD)])
    load_waiting(settings)
    with candidate(settings) as first:
        assert first.partitions
    before = Registry(settings.registry).fingerprint
    with candidate(settings) as standing:
        assert standing.build_id == first.build_id
    pull(settings)
    assert Registry(settings.registry).fingerprint != before
    with candidate(settings) as second:
        assert second.full_refresh and second.build_id > first.build_id
    pull(settings)
    with candidate(settings) as standing:
        assert standing.build_id == second.build_id


WRONG_ROWS = {
    "an unknown model": ("update assets set model = 'vestas' where label = 'Turbine 2'", "assets.model", "R80721"),
    "an unknown site": ("update assets set plant = 'sold-site' where label = 'Turbine 1'", "assets.plant", "R80711"),
    "a bad time zone": ("update plants set zone = 'Europe/Atlantis' where plant = 'JFK'", ".zone", "nyc-airports/JFK"),
    "a folder of zones": ("update plants set zone = 'Europe' where plant = 'JFK'", ".zone", "no time zone"),
    "no time zone": ("update plants set zone = null where plant = 'JFK'", ".zone", "nyc-airports/JFK"),
    "no key": ("update plants set plant = null where plant = 'JFK'", "plants_in_use.plant", "site_id"),
    "a key twice": ("insert into plants select * from plants where plant = 'JFK'", "plants_in_use.plant", "twice"),
    "no date": ("update assets set installed_at = null where label = 'Turbine 1'", "assets.installed_at", "R80711"),
    "SQL in a key": (
        """update assets set "Serial No" = '"; drop table assets; --' where label = 'Turbine 1'""",
        "assets.Serial No",
        "device_id",
    ),
    "a line break in a key": (
        """update assets set "Serial No" = 'R80711\n' where label = 'Turbine 1'""",
        "assets.Serial No",
        r"R80711\n",
    ),
    "no devices": ("delete from assets", "assets gave no rows", "has 5"),
    "no sites": ("update plants set sold = 1", "plants_in_use gave no rows", "has 2"),
    "a site that devices need": ("delete from plants where plant = 'la-haute-borne'", "assets.plant", "R80711"),
}


@on_sqlite
@pytest.mark.parametrize("case", WRONG_ROWS)
def test_a_wrong_row_changes_nothing_and_is_named(case: str, assets: Assets) -> None:
    statement, place, what = WRONG_ROWS[case]
    before = assets.contents()
    assets.sql(statement)
    with pytest.raises(FleetmartError) as told:
        pull(assets.settings)
    assert place in str(told.value) and what in str(told.value) and "Nothing was changed" in str(told.value)
    assert "\n" not in str(told.value) and "registry-pull" not in str(told.value)
    assert assets.contents() == before


@pytest.mark.parametrize(
    ("replace", "by", "says"),
    [
        (".assets", ".equipment", r"no table or view \w+\.equipment, which devices comes from"),
        (
            "device_name: label",
            "device_name: name",
            r"\.assets has no column name, which devices.device_name comes from",
        ),
        ("device_name: label", "device_name: photo", r"\.assets.photo, which devices.device_name comes from, holds a"),
    ],
)
def test_what_the_database_has_not_is_named(replace: str, by: str, says: str, assets: Assets) -> None:
    assets.declare(replace, by)
    assets.sql("update assets set photo = ?", (b"\x00\xff",))
    before = assets.contents()
    with pytest.raises(FleetmartError, match=says):
        pull(assets.settings)
    assert assets.contents() == before


@pytest.mark.parametrize(
    ("replace", "by", "says"),
    [
        ("url_variable: ASSETS_URL\n", "", r"database\.yml, line 1, url_variable: Field required"),
        ("url_variable: ASSETS_URL", f"url_variable: sqlite://u:{PASSWORD}@h", r"line 1, url_variable: String should"),
        ("tables:", "tabels:", r"line 2, tabels: Extra inputs.* Keys here are url_variable, tables"),
        ("  sites:", "  plants:", r"plants is no table of the registry, which are plans, tenants, sites"),
        ("  sites:\n    table:", "  sites:\n    relation:", r"line 14, tables\.sites\.relation: Extra"),
        ("device_name: label", "title: label", r"line 5, tables\.devices\.columns: .*title is no column of devices"),
        ("      model_id: model\n", "", r"line 3, tables\.devices: .*model_id is needed"),
        ("site_id: plant", "tenant_id: plant", r"line 3, tables\.devices: .*tenant_id stands in columns and in const"),
        ("timezone: zone, ", "", r"line \d+, tables\.sites: .*timezone is needed"),
        ("columns: {tenant_id", "columns: [tenant_id", r"database\.yml is no readable YAML"),
    ],
)
def test_a_wrong_declaration_is_told_with_its_line(
    replace: str, by: str, says: str, small: Callable[..., Settings], tmp_path: Path
) -> None:
    assets = Assets(f"sqlite:///{tmp_path / 'none.db'}", small())
    assets.declare(replace, by)
    with pytest.raises(FleetmartError, match=says) as told:
        pull(assets.settings)
    assert PASSWORD not in str(told.value)


def test_without_a_declaration_the_place_for_it_is_named(small: Callable[..., Settings]) -> None:
    with pytest.raises(FleetmartError, match=r"registry/database\.yml does not exist.*docs/registry\.md"):
        pull(small())


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "ASSETS_URL is not set"),
        (PASSWORD, "ASSETS_URL holds no database URL"),
        (f"postgresql://fleet:{PASSWORD}@with-at@127.0.0.1/assets", "Write an @ of the password as %40"),
        (f"postgresql://fleet:{PASSWORD}", "ASSETS_URL holds no database URL"),
        (f"postgres://fleet:{PASSWORD}@127.0.0.1/assets", "No driver for the URL in ASSETS_URL"),
        (f"postgresql://fleet:{PASSWORD}@127.0.0.1:1/assets", "cannot be read.*ASSETS_URL answers"),
        ("sqlite:////nowhere/assets.db", "The SQLite file that ASSETS_URL names does not exist"),
    ],
)
def test_without_a_connection_nothing_changes_and_no_password_is_told(
    url: str,
    says: str,
    small: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(VARIABLE, url)
    assets = Assets(url, small())
    assets.declare()
    before = assets.contents()
    with pytest.raises(FleetmartError, match=says) as told:
        pull(assets.settings)
    assert assets.contents() == before
    assert_nowhere(PASSWORD, str(told.value) + "".join(capfd.readouterr()), assets.settings)


def assert_nowhere(password: str, said: str, settings: Settings) -> None:
    assert password not in said and "hunter2" not in said
    for folder in (settings.home, settings.registry):
        for path in folder.rglob("*"):
            assert not path.is_file() or b"hunter2" not in path.read_bytes(), path


def test_the_command_line_pulls_and_never_tells_the_password(assets: Assets) -> None:
    def command(*arguments: str):
        registry = str(assets.settings.registry)
        done = run_fleetmart(assets.settings.home, "registry", "pull", *arguments, FLEETMART_REGISTRY=registry)
        assert_nowhere(PASSWORD, done.stdout + done.stderr, assets.settings)
        return done

    would = command("--dry-run")
    assert would.returncode == 0 and "7 changes would be made" in would.stdout, would.stderr
    assert "removed from devices: la-haute-borne/R80736" in would.stdout
    done = command("--json")
    answer = json.loads(done.stdout)
    assert not answer["dry_run"] and answer["changes"] == 7
    assert [table["table"] for table in answer["tables"]] == ["devices", "sites"]
    assets.sql("drop view plants_in_use")
    failed = command("--json")
    assert failed.returncode == 1 and "plants_in_use" in failed.stderr and not failed.stdout


@on_postgresql
def test_the_password_is_not_left_to_dlt_while_it_works(assets: Assets, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(settings: Settings, *arguments) -> None:
        assert_nowhere(PASSWORD, "", settings)
        seen.extend(path.name for path in settings.home.rglob("*"))
        raise FleetmartError("looked")

    monkeypatch.setattr(registry_pull, "_checked", look)
    with pytest.raises(FleetmartError, match="looked"):
        pull(assets.settings)
    assert {"pulled.duckdb", "trace.pickle"} <= set(seen)


@on_sqlite
def test_a_pull_calls_nobody_and_writes_nothing_to_the_users_own_folder(assets: Assets, tmp_path: Path) -> None:
    """With telemetry, dlt asks for its maker's address within a second."""
    watch = (
        "import sys, time\n"
        "asked = []\n"
        "def hook(event, values):\n"
        "    if event in ('socket.getaddrinfo', 'socket.connect'): asked.append(values)\n"
        "sys.addaudithook(hook)\n"
        "from orchestration.cli import main\n"
        "main(['registry', 'pull'], standalone_mode=False)\n"
        "time.sleep(1)\n"
        "print(asked)\n"
    )
    (tmp_path / "me").mkdir()
    environment = environment_of(assets.settings.home) | {
        "FLEETMART_REGISTRY": str(assets.settings.registry),
        "HOME": str(tmp_path / "me"),
    }
    done = subprocess.run(
        [sys.executable, "-c", watch], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
    assert not list((tmp_path / "me").iterdir())


HOSTILE = 'O\'Hara "the"\r\nroof, =1+1; drop table assets; -- \\ \u202e é 🌀 {{ x }}'


def test_hostile_text_lands_as_it_is(assets: Assets) -> None:
    assets.sql("update assets set label = ? where label = 'Turbine 1'", (HOSTILE,))
    pull(assets.settings)
    assert Registry(assets.settings.registry).rows["devices"][0].device_name == HOSTILE
    before = assets.contents()
    assert pull(assets.settings).changes == 0 and assets.contents() == before


@on_sqlite
def test_a_swap_that_fails_midway_is_taken_back(assets: Assets, monkeypatch: pytest.MonkeyPatch) -> None:
    before, replaced = assets.contents(), []
    replace = os.replace

    def fail_at_the_second(source: Path, target: Path) -> None:
        if Path(target).parent == assets.settings.registry:
            replaced.append(target)
            if len(replaced) == 2:
                raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_at_the_second)
    with pytest.raises(OSError, match="No space left"):
        pull(assets.settings)
    assert len(replaced) == 3 and assets.contents() == before


@on_sqlite
def test_a_wrong_table_of_the_folder_is_named_where_it_stands(assets: Assets) -> None:
    models = assets.settings.registry / "device_models.csv"
    models.write_text(models.read_text() + "senvion-mm82,again,\n")
    lines = len(models.read_text().splitlines())
    with pytest.raises(FleetmartError, match=rf"registry/device_models\.csv, line {lines}, model_id: .*twice"):
        pull(assets.settings)
    models.unlink()
    with pytest.raises(FleetmartError, match=r"registry/device_models\.csv cannot be read"):
        pull(assets.settings)


@on_sqlite
def test_a_row_of_the_folder_that_would_refer_to_nothing_is_named(assets: Assets) -> None:
    text = (assets.settings.registry / "database.yml").read_text()
    head, sites = text.split("tables:\n")[0], text[text.index("  sites:") :]
    (assets.settings.registry / "database.yml").write_text(f"{head}tables:\n{sites}")
    assets.sql("delete from plants where plant = 'la-haute-borne'")
    before = assets.contents()
    with pytest.raises(FleetmartError, match=r"registry/devices\.csv, line 2, .*is not in sites\.csv after this pull"):
        pull(assets.settings)
    assert assets.contents() == before


@on_sqlite
def test_a_table_that_the_folder_does_not_have_yet_is_made(assets: Assets) -> None:
    (assets.settings.registry / "devices.csv").unlink()
    assert pull(assets.settings).tables[0] == TableChange("devices", 3, 3, 0, 0, [])
    assert len(Registry(assets.settings.registry).rows["devices"]) == 3


@on_sqlite
def test_another_order_alone_is_no_change(assets: Assets) -> None:
    pull(assets.settings)
    devices = assets.settings.registry / "devices.csv"
    header, *rows = devices.read_text().splitlines()
    devices.write_text("".join(f"{line}\n" for line in [header, *reversed(rows)]))
    before = assets.contents()
    assert pull(assets.settings).changes == 0 and assets.contents() == before


@on_postgresql
def test_a_user_who_may_not_read_is_told(assets: Assets, monkeypatch: pytest.MonkeyPatch) -> None:
    role = f"fleetmart_{uuid.uuid4().hex[:12]}"
    assets.sql(f"create role {role} login")
    monkeypatch.setenv(VARIABLE, re.sub(r"//\w+:", f"//{role}:", assets.url))
    try:
        with pytest.raises(FleetmartError, match=r"assets, .*cannot be read: permission denied .*may select there"):
            pull(assets.settings)
    finally:
        assets.sql(f"drop role {role}")


def test_every_table_has_a_key_and_stands_in_the_document() -> None:
    told = (ROOT / "docs" / "registry.md").read_text()
    assert KEYS.keys() == TABLES.keys()
    for name, kind in TABLES.items():
        section = told.split(f"### {name}\n")[1].split("\n#")[0]
        assert re.findall(r"^\| `(\w+)`", section, re.M) == list(kind.model_fields), name
