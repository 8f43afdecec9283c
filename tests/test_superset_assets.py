"""Superset and the files: a push converges in one transaction and leaves people's own work alone; tenants come and go.

One home for all: the demo's records, copied. The tests go on from each other. Hands on the records stand for people's
in Superset's pages.
"""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration.settings import ROOT
from tests.conftest import run_fleetmart
from tests.test_chart_data import Charts, analyst

NEW = "north-wind"
PEOPLE = {f"{NEW}-{role}" for role in ("executive", "analyst", "engineer", "steward", "tenant-admin")}


class Pushed:
    """A home with Superset's records, and a registry and assets of its own, free to be changed."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home, self.registry, self.assets = home, folder / "registry", folder / "assets"
        self.records = home / "superset" / "superset.db"
        shutil.copytree(ROOT / "orchestration" / "registry", self.registry)
        shutil.copytree(ROOT / "superset" / "assets", self.assets)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        settings = {"FLEETMART_REGISTRY": str(self.registry), "FLEETMART_ASSETS": str(self.assets)}
        return run_fleetmart(self.home, *arguments, **settings)

    def answer(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        done = self.run(*arguments, "--json")
        assert done.returncode == code, done.stderr[-4000:]
        return json.loads(done.stdout)

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.records)
        with connection:
            yield connection
        connection.close()

    def hands_on(self, statement: str, *values: Any) -> int:
        """Change the records as somebody would; the id of a new row."""
        with self.opened() as connection:
            done = connection.execute(statement, values)
            assert done.rowcount == 1, statement
            return done.lastrowid

    def ask(self, query: str, *values: Any) -> list[Any]:
        with self.opened() as connection:
            return [row[0] if len(row) == 1 else row for row in connection.execute(query, values)]

    def dump(self) -> list[str]:
        with self.opened() as connection:
            return list(connection.iterdump())

    def copy_of(self, table: str, key: int, **changes: Any) -> int:
        """A row like the one with this id, with other values."""
        with self.opened() as connection:
            connection.row_factory = sqlite3.Row
            row = dict(connection.execute(f"select * from {table} where id = ?", (key,)).fetchone())
        row |= {"id": None, "uuid": uuid.uuid4().bytes, "external_url": None, **changes}
        marks = ", ".join("?" for _ in row)
        return self.hands_on(f"insert into {table} ({', '.join(row)}) values ({marks})", *row.values())

    def copy_of_user(self, username: str, other: str) -> int:
        """Another account of the same tenant, as its administrator would make one."""
        with self.opened() as connection:
            connection.row_factory = sqlite3.Row
            row = dict(connection.execute("select * from ab_user where username = ?", (username,)).fetchone())
            roles = connection.execute("select role_id from ab_user_role where user_id = ?", (row["id"],)).fetchall()
        row |= {"id": None, "username": other, "email": f"{other}@airports.example"}
        marks = ", ".join("?" for _ in row)
        made = self.hands_on(f"insert into ab_user ({', '.join(row)}) values ({marks})", *row.values())
        for role in roles:
            self.hands_on("insert into ab_user_role (user_id, role_id) values (?, ?)", made, role["role_id"])
        return made

    def chart(self, title: str) -> int:
        return self.ask("select id from slices where slice_name = ?", title)[0]


@pytest.fixture(scope="module")
def pushed(fleetmart_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    """The demo's home as far as Superset goes."""
    return pushed_home(fleetmart_home, tmp_path_factory.mktemp("assets"))


def pushed_home(fleetmart_home: Path, folder: Path) -> Pushed:
    """A copy in this folder of what Superset has of the demo, brought in line with the files."""
    home = folder / "home"
    home.mkdir()
    for name in ("credentials.json", "secrets.json"):
        shutil.copy2(fleetmart_home / name, home)
    shutil.copytree(fleetmart_home / "superset", home / "superset")
    shutil.copytree(fleetmart_home / "serving", home / "serving", symlinks=True, copy_function=os.link)
    made = Pushed(home, folder)
    made.answer("superset", "push")
    return made


def test_a_push_of_the_same_files_writes_nothing(pushed: Pushed) -> None:
    before = pushed.dump()
    assert pushed.answer("superset", "push")["changed"] == 0
    assert pushed.dump() == before


def test_what_was_changed_by_hand_is_told_and_put_right_and_peoples_own_stays(pushed: Pushed) -> None:
    executive = pushed.ask("select id from ab_user where username = 'nyc-airports-executive'")[0]
    own = {
        "slices": pushed.copy_of("slices", pushed.chart("Availability"), slice_name="Mine", created_by_fk=executive),
        "dashboards": pushed.copy_of("dashboards", 2, slug=None, dashboard_title="Mine", created_by_fk=executive),
        "ab_user": pushed.copy_of_user("nyc-airports-executive", "somebody-new"),
        "report_schedule": pushed.hands_on(
            "insert into report_schedule (type, name, crontab, timezone, extra_json) "
            "values ('Alert', 'Mine', '0 0 1 1 *', 'UTC', '{}')"
        ),
    }
    kept = {table: pushed.ask(f"select * from {table} where id = ?", key) for table, key in own.items()}
    chosen = "update ab_user set password = 'chosen by its owner' where id = ?"
    pushed.hands_on(chosen, executive)

    params = json.loads(pushed.ask("select params from slices where slice_name = 'Availability'")[0])
    pushed.hands_on(
        "update slices set params = ? where slice_name = 'Availability'", json.dumps(params | {"header_font_size": 0.9})
    )
    pushed.hands_on("update dashboards set dashboard_title = 'Pocket' where slug = 'fleet-pocket'")
    pushed.hands_on("update row_level_security_filters set clause = '1 = 1' where name like '%:nrel-pv'")
    pushed.hands_on("delete from row_level_security_filters where name like '%:nyc-airports'")
    pushed.hands_on(
        "insert into ab_permission_view_role (permission_view_id, role_id) values ("
        "(select pv.id from ab_permission_view pv join ab_permission p on p.id = pv.permission_id "
        "join ab_view_menu v on v.id = pv.view_menu_id where p.name = 'can_write' and v.name = 'Database'), "
        "(select id from ab_role where name = 'executive'))"
    )
    pushed.hands_on("update sql_metrics set expression = 'count(*)' where metric_name = 'completeness' "
                    "and table_id = (select id from tables where table_name = 'cube_fleet_recent')")  # fmt: skip
    condition = json.dumps({"op": "<", "threshold": 0.1})
    pushed.hands_on("update report_schedule set active = 0, validator_config_json = ? "
                    "where name = 'fleetmart:incomplete-day:nrel-pv'", condition)  # fmt: skip
    pushed.hands_on("update report_recipient set recipient_config_json = ? where report_schedule_id = "
                    "(select id from report_schedule where name = 'fleetmart:silent-devices:nyc-airports')",
                    json.dumps({"target": "steward, spy@example.com"}))  # fmt: skip
    pushed.hands_on("delete from dashboard_roles where dashboard_id = "
                    "(select id from dashboards where slug = 'storage-and-price')")  # fmt: skip
    found = pushed.answer("superset", "diff", code=1)["differences"]
    held = [", ".join(one["superset"]) if one["field"] == "tells" else one["superset"] for one in found]
    assert {(one["object"], one["field"], value) for one, value in zip(found, held, strict=True)} == {
        ("alert fleetmart:incomplete-day:nrel-pv", "active", False),
        ("alert fleetmart:incomplete-day:nrel-pv", "condition.value", 0.1),
        ("alert fleetmart:silent-devices:nyc-airports", "tells", "spy@example.com, steward"),
        ("chart overview-availability", "params.header_font_size", 0.9),
        ("dashboard fleet-pocket", "title", "Pocket"),
        ("dashboard storage-and-price", "only for", None),
        ("dataset cube_fleet_recent", "metrics.completeness.expression", "count(*)"),
        ("role executive", "permissions.can_write on Database", True),
        ("row rule fleetmart:own-tenant:nrel-pv", "clause", "1 = 1"),
        ("row rule fleetmart:own-tenant:nyc-airports", "", None),
    }
    done = pushed.answer("superset", "push")
    assert done["changed"] == len({one["object"] for one in found})
    assert pushed.answer("superset", "diff")["differences"] == []
    assert {table: pushed.ask(f"select * from {table} where id = ?", key) for table, key in own.items()} == kept
    assert pushed.ask("select password from ab_user where id = ?", executive) == ["chosen by its owner"]


def test_a_push_that_fails_late_changes_nothing(pushed: Pushed) -> None:
    tenants = pushed.registry / "tenants.csv"
    registered = tenants.read_text()
    tenants.write_text(registered + "too-late,Too Late,Wind power,fleet\n")
    refuse = "create trigger refuse before update on dashboards begin select raise(abort, 'no more room'); end"
    with pushed.opened() as connection:
        connection.execute("update dashboards set dashboard_title = 'Pocket' where slug = 'fleet-pocket'")
        connection.execute(refuse)
    before = pushed.dump()
    done = pushed.run("superset", "push")
    assert done.returncode == 1 and "no more room" in done.stderr and "Traceback" not in done.stderr
    assert pushed.dump() == before
    tenants.write_text(registered)
    with pushed.opened() as connection:
        connection.execute("drop trigger refuse")
        connection.execute("update dashboards set dashboard_title = 'Fleet pocket' where slug = 'fleet-pocket'")


def test_a_change_by_hand_and_somebodys_chart_are_pulled_into_the_files(pushed: Pushed) -> None:
    own = pushed.copy_of("slices", pushed.chart("Availability"), slice_name="Sunny days")
    board, position = pushed.ask("select id, position_json from dashboards where slug = 'fleet-pocket'")[0]
    position = json.loads(position)
    position["ROW-9"]["children"].append("CHART-abc")
    position["CHART-abc"] = {
        "id": "CHART-abc", "type": "CHART", "children": [], "parents": ["ROOT_ID", "GRID_ID", "ROW-9"],
        "meta": {"chartId": own, "width": 4, "height": 10, "sliceName": "Sunny days"},
    }  # fmt: skip
    position["MARKDOWN-ROW-9-1"]["meta"]["width"] = 8
    pushed.hands_on("update dashboards set position_json = ? where id = ?", json.dumps(position), board)
    pushed.hands_on("insert into dashboard_slices (dashboard_id, slice_id) values (?, ?)", board, own)
    params = json.loads(pushed.ask("select params from slices where slice_name = 'Availability'")[0])
    params |= {"compare_lag": 14, "slice_id": 1, "dashboards": [board]}
    pushed.hands_on("update slices set params = ? where slice_name = 'Availability'", json.dumps(params))

    done = pushed.answer("superset", "pull", "fleet-pocket")
    files = {Path(path).relative_to(pushed.assets).as_posix() for path in done["files"]}
    assert files == {
        "charts/overview-availability.yml", "charts/fleet-sunny-days.yml", "dashboards/fleet-pocket.yml",
    }  # fmt: skip
    assert "  compare_lag: 14\n" in (pushed.assets / "charts" / "overview-availability.yml").read_text()
    assert pushed.answer("superset", "validate") == {"problems": []}
    assert pushed.answer("superset", "diff")["differences"] == []


def test_what_leaves_the_files_leaves_superset_and_a_tenant_comes_with_a_row(pushed: Pushed) -> None:
    board = "data-quality"
    (pushed.assets / "dashboards" / f"{board}.yml").unlink()
    for path in (pushed.assets / "dashboards").glob("*.yml"):
        path.write_text(re.sub(rf" ?\[[^]]*\]\(/superset/dashboard/{board}/\)", "", path.read_text()))
    shown = "\n".join(path.read_text() for path in (pushed.assets / "dashboards").glob("*.yml"))
    left = [path for path in (pushed.assets / "charts").glob("quality-*.yml") if f"chart: {path.stem}," not in shown]
    titles = [yaml.safe_load(path.read_text())["title"] for path in left]
    for path in left:
        path.unlink()
    (pushed.assets / "alerts" / "silent-devices.yml").unlink()
    with (pushed.registry / "tenants.csv").open("a") as file:
        file.write(f"{NEW},North Wind,Wind power,fleet\n")
    pushed.answer("superset", "push")
    assert pushed.ask("select count(*) from dashboards where slug = ?", board) == [0]
    standing = set(pushed.ask("select slice_name from slices where external_url like 'fleetmart:chart/quality-%'"))
    assert len(titles) > 5 and not standing & set(titles)
    roles = {
        name: set(pushed.ask("select r.name from ab_role r join ab_user_role ur on ur.role_id = r.id "
                             "join ab_user u on u.id = ur.user_id where u.username = ? and u.active", name))
        for name in PEOPLE
    }  # fmt: skip
    assert roles == {name: {name.removeprefix(f"{NEW}-"), f"tenant:{NEW}"} for name in PEOPLE}
    alerts = pushed.ask("select s.name, u.username from report_schedule s join report_schedule_user o "
                        "on o.report_schedule_id = s.id join ab_user u on u.id = o.user_id")  # fmt: skip
    assert {name for name, _ in alerts} >= {f"fleetmart:incomplete-day:{NEW}", "fleetmart:incomplete-day:nrel-pv"}
    assert all("silent" not in name and username == f"{name.split(':')[2]}-steward" for name, username in alerts)
    rule = pushed.ask("select id, clause from row_level_security_filters where name like ?", f"%:{NEW}")
    assert [clause for _, clause in rule] == [f"tenant_id = '{NEW}'"]
    limited = set(pushed.ask("select t.table_name from tables t join rls_filter_tables r on r.table_id = t.id "
                             "where r.rls_filter_id = ?", rule[0][0]))  # fmt: skip
    assert limited == set(pushed.ask("select distinct t.table_name from tables t join table_columns c "
                                     "on c.table_id = t.id where c.column_name = 'tenant_id'"))  # fmt: skip


def test_a_removed_tenant_leaves_no_trace(pushed: Pushed) -> None:
    refused = pushed.run("tenant", "remove", NEW)
    assert refused.returncode == 1 and "Take its rows out of the registry first" in refused.stderr
    _live_in(pushed)
    tenants = pushed.registry / "tenants.csv"
    tenants.write_text("".join(line for line in tenants.open() if not line.startswith(NEW)))
    others = pushed.ask("select id, slice_name from slices where slice_name not like 'Gusts%'")
    done = pushed.answer("tenant", "remove", NEW)
    assert done["people"] == len(PEOPLE) and done["mentions"] == []
    assert done["rows"]["report_schedule"] == done["rows"]["report_recipient"] == 1
    assert done["rows"]["saved_query"] == done["rows"]["slices"] == done["rows"]["dashboards"] == 1
    assert pushed.ask("select id, slice_name from slices") == others
    for name in (NEW, *PEOPLE):
        assert not [line for line in pushed.dump() if name in line]
        assert name not in (pushed.home / "credentials.json").read_text()
    for path in (pushed.home / "superset").rglob("*"):
        assert NEW not in path.name and (path.is_dir() or NEW.encode() not in path.read_bytes()), path
    assert not list((pushed.home / "serving" / NEW).rglob("current"))
    assert NEW not in (pushed.home / "embed-keys.json").read_text()
    assert pushed.answer("superset", "diff")["differences"] == []


def _live_in(pushed: Pushed) -> None:
    """What a tenant's people leave behind: charts, dashboards, queries, favourites, history, settings, cached rows."""
    assert pushed.answer("embed-key", "--tenant", NEW)["key"]
    person = pushed.ask("select id from ab_user where username = ?", f"{NEW}-analyst")[0]
    chart = pushed.copy_of("slices", pushed.chart("Availability"), slice_name=f"Gusts of {NEW}", created_by_fk=person)
    overview = pushed.ask("select id from dashboards where slug = 'fleet-overview'")[0]
    changes = {"slug": None, "dashboard_title": f"{NEW} at a glance", "created_by_fk": person}
    board = pushed.copy_of("dashboards", overview, **changes)
    pushed.hands_on("insert into slice_user (user_id, slice_id) values (?, ?)", person, chart)
    pushed.hands_on("insert into dashboard_user (user_id, dashboard_id) values (?, ?)", person, board)
    pushed.hands_on("insert into dashboard_slices (dashboard_id, slice_id) values (?, ?)", board, chart)
    pushed.hands_on("insert into favstar (user_id, class_name, obj_id) values (?, 'slice', ?)", person, chart)
    pushed.hands_on(
        "insert into saved_query (user_id, created_by_fk, db_id, label, sql) values (?, ?, 1, ?, 'select 1')",
        person, person, f"All of {NEW}",
    )  # fmt: skip
    pushed.hands_on(
        "insert into query (client_id, database_id, user_id, sql) values ('abc', 1, ?, ?)", person, f"-- {NEW}"
    )
    pushed.hands_on("insert into logs (action, user_id, json) values ('log', ?, ?)", person, f'{{"path": "/{NEW}"}}')
    pushed.hands_on("insert into logs (action, json, referrer) values ('log', '{}', ?)", f"http://host/?t={NEW}")
    pushed.hands_on(
        "insert into key_value (resource, value, created_by_fk) values ('app', ?, ?)", b'{"owner": 1}', person
    )
    pushed.hands_on("insert into key_value (resource, value) values ('app', ?)", f'"{NEW}"'.encode())
    pushed.hands_on("update tables set changed_by_fk = ? where id = 1", person)
    cache = pushed.home / "superset" / "cache"
    (cache / f"{NEW}.v1-1-1.{uuid.uuid4().hex}").write_bytes(b"rows")
    (cache / f"operator.v1-1-1.{uuid.uuid4().hex}").write_bytes(f"rows of {NEW}".encode())
    served = pushed.home / "serving" / NEW
    served.mkdir(parents=True)
    (served / "v1.duckdb").touch()
    (served / "current").symlink_to("v1.duckdb")


def test_a_tenants_row_rule_is_in_its_queries(superset_url: str, credentials: dict) -> None:
    charts = Charts(superset_url, analyst(credentials, "nyc-airports"))
    answer = charts.ask("cube_fleet_recent", ["site_name"], [])
    assert answer.status_code == 200, answer.text
    assert "tenant_id = 'nyc-airports'" in answer.json()["result"][0]["query"]
    operators = Charts(superset_url, analyst(credentials, "operator")).ask("cube_fleet_recent", ["site_name"], [])
    assert "tenant_id = " not in operators.json()["result"][0]["query"]
