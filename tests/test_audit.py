"""The audit record: what is taken down of whom, that nobody changes it, and who sees it."""

import csv
import io
import json
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
import requests

from orchestration import audit_events
from orchestration.audit_events import COLUMNS, write_events
from orchestration.settings import ROOT, Settings
from tests.attacks.caller import Caller
from tests.attacks.judge import judges

sys.path.insert(0, str(ROOT / "superset" / "security"))
import audit_record
from audit_record import Event

TENANT, OTHER = "nyc-airports", "la-haute-borne"
ROWS = {"columns": ["site_name"], "metrics": ["readings"]}


def test_a_row_is_never_changed_nor_deleted(tmp_path: Path) -> None:
    audit_record.append(tmp_path, Event("open", "done", "north", "somebody"))
    assert (tmp_path / "audit.sqlite").stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(tmp_path / "audit.sqlite") as connection:
        for statement in ("update events set username = 'x'", "delete from events"):
            with pytest.raises(sqlite3.IntegrityError, match="only added to"):
                connection.execute(statement)
    assert [row["username"] for row in audit_record.found(tmp_path, None)] == ["somebody"]


@pytest.mark.parametrize(("act", "is_sure"), [("query", False), ("open", False), ("export", True), ("delete", True)])
def test_what_is_more_than_a_look_is_on_the_disk_at_once(tmp_path: Path, act: str, is_sure: bool) -> None:
    audit_record.append(tmp_path, Event("log out", "done", "north", "somebody"))
    audit_record.append(tmp_path, Event(act, "done", "north", "somebody"))
    with closing(sqlite3.connect(f"file:{tmp_path / 'audit.sqlite'}?mode=ro", uri=True)) as another:
        assert another.execute("select act from events order by event_id").fetchall() == [("log out",), (act,)]
    ((_, connection),) = [kept for (_, path), kept in audit_record._connections.items() if path.parent == tmp_path]
    full = 2
    assert (connection.execute("pragma synchronous").fetchone()[0] == full) == is_sure


def test_a_tenant_finds_its_own_events_by_day_person_and_act(tmp_path: Path) -> None:
    today = str(datetime.now(UTC).date())
    for tenant_id, username, act in (
        ("north", "a", "open"),
        ("north", "b", "export"),
        ("south", "c", "open"),
        (None, None, "log in"),
    ):
        audit_record.append(tmp_path, Event(act, "done", tenant_id, username))
    assert [row["username"] for row in audit_record.found(tmp_path, "north")] == ["b", "a"]
    assert len(audit_record.found(tmp_path, None)) == 4
    assert [row["username"] for row in audit_record.found(tmp_path, "north", act="export")] == ["b"]
    assert [row["username"] for row in audit_record.found(tmp_path, "north", username="a")] == ["a"]
    assert len(audit_record.found(tmp_path, None, since=today)) == 4
    assert not audit_record.found(tmp_path, None, before=today)
    first = audit_record.found(tmp_path, None)[-1]["event_id"]
    assert [row["event_id"] for row in audit_record.found(tmp_path, None, below=first + 1)] == [first]


def published(path: Path, home: Path, **more: Any) -> list[dict]:
    """What a file that is written now holds of the record."""
    with duckdb.connect(str(path)) as connection:
        write_events(connection, Settings(home=home), **more)
        return connection.sql("from audit_events order by event_id").fetchdf().to_dict("records")


def test_the_operators_table_holds_every_event_in_utc(tmp_path: Path) -> None:
    assert published(tmp_path / "v0.duckdb", tmp_path) == []
    (tmp_path / "audit.sqlite").touch()
    assert published(tmp_path / "v1.duckdb", tmp_path) == []
    audit_record.append(tmp_path, Event("query", "done", "north", "a", row_count=3))
    (event,) = published(tmp_path / "v2.duckdb", tmp_path)
    assert list(event) == list(COLUMNS)
    assert (event["tenant_id"], event["act"], event["row_count"]) == ("north", "query", 3)
    assert abs((datetime.now(UTC) - event["happened_at"].replace(tzinfo=UTC)).total_seconds()) < 3600


def test_the_operators_table_goes_on_from_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    insert = audit_events.insert_texts
    monkeypatch.setattr(audit_events, "insert_texts", lambda *given: read.append(len(given[-1])) or insert(*given))

    def written(name: str, **more: Any) -> list[str]:
        return [event["username"] for event in published(tmp_path / name, tmp_path, **more)]

    def happen(*usernames: str) -> None:
        for username in usernames:
            audit_record.append(tmp_path, Event("open", "done", "north", username))

    happen("a", "b", "c")
    assert written("v1.duckdb") == ["a", "b", "c"]
    happen("d", "e")
    assert written("v2.duckdb", before=tmp_path / "v1.duckdb") == ["a", "b", "c", "d", "e"]
    assert written("v3.duckdb", before=tmp_path / "v2.duckdb", most=2) == ["d", "e"]
    assert written("v4.duckdb", most=4) == ["b", "c", "d", "e"]
    assert read == [3, 2, 4]
    # Whoever moves the record away gets a new one, which counts from the start.
    for file in tmp_path.glob("audit.sqlite*"):
        file.unlink()
    happen("f")
    assert written("v5.duckdb", before=tmp_path / "v2.duckdb") == ["f"]


def caller(url: str, credentials: dict, username: str) -> Caller:
    password = next(user["password"] for user in credentials["users"] if user["username"] == username)
    return Caller(url).log_in(username, password)


def events(home: Path, after: int, **wanted: str) -> list[dict]:
    """What was taken down since, the oldest first, of the wanted kind."""
    rows = [row for row in audit_record.found(home, None) if row["event_id"] > after]
    return [row for row in reversed(rows) if all(row[name] == value for name, value in wanted.items())]


@pytest.fixture
def before(fleetmart_home: Path) -> int:
    """Number of the newest event when the test begins."""
    return max((row["event_id"] for row in audit_record.found(fleetmart_home, None, limit=1)), default=0)


def test_each_act_is_taken_down_once_with_who_and_how_much_and_no_data(
    superset_url: str, credentials: dict, fleetmart_home: Path, before: int
) -> None:
    name = f"{TENANT}-analyst"
    analyst = caller(superset_url, credentials, name)
    datasets = analyst.get("/api/v1/dataset/?q=(page_size:100)").json()["result"]
    cube = next(row["id"] for row in datasets if row["table_name"] == "cube_readings_daily")
    assert analyst.get("/superset/dashboard/fleet-overview/").status_code == 200
    assert analyst.get("/api/v1/dashboard/fleet-overview").status_code == 200
    assert analyst.get("/api/v1/sqllab/").status_code == 200
    for _ in range(2):
        assert analyst.chart(cube, ROWS).json()["result"][0]["rowcount"] == 3
    assert analyst.chart(cube, ROWS, result_format="xlsx").status_code == 200
    assert analyst.sql("select device_name from dim_devices where device_name <> 'a secret word'").status_code == 200
    assert analyst.sql("select * from no_such_table").status_code >= 400
    assert analyst.get("/api/v1/security/users/?q=(page_size:1)").status_code == 403
    assert analyst.get("/api/v1/dashboard/export/?q=!(1)").status_code in (403, 404)
    analyst.get("/logout/")

    taken = events(fleetmart_home, before, username=name)
    assert {(row["tenant_id"], row["role"]) for row in taken} == {(TENANT, "analyst")}
    assert [(row["act"], row["object_type"], row["result"], row["row_count"]) for row in taken] == [
        ("log in", None, "done", None),
        ("open", "dashboard", "done", None),
        ("open", "page", "done", None),
        ("query", "dataset", "done", 3),
        ("query", "dataset", "done", 3),
        ("export", "dataset", "done", 3),
        ("query", "statement", "done", 3),
        ("query", "statement", "failed", None),
        ("export", "dashboard", "refused", None),
        ("log out", None, "done", None),
    ]
    assert [row["object"] for row in taken[1:3]] == ["fleet-overview", "/sqllab/"]
    digests = [row["statement_digest"] for row in taken if row["object_type"] == "statement"]
    assert len(set(digests)) == 2 and all(len(digest) == 64 for digest in digests)
    assert "secret word" not in (fleetmart_home / "audit.sqlite").read_bytes().decode("latin-1")


def test_pictures_that_a_page_takes_are_exports(
    superset_url: str, credentials: dict, fleetmart_home: Path, before: int
) -> None:
    name = f"{TENANT}-executive"
    executive = caller(superset_url, credentials, name)
    told = [
        {"event_name": "load_chart", "source_id": 1},
        {"event_name": "dashboard_download_as_pdf", "source": "dashboard", "source_id": 7},
        {"event_name": "chart_download_as_image", "source": "dashboard", "source_id": 7, "chartId": 9},
        "nothing of a page's",
    ]
    for events_of_page in (json.dumps(told), json.dumps({"event_name": "x"}), "7", "no JSON"):
        executive.session.post(
            f"{superset_url}/superset/log/?explode=events", data={"events": events_of_page}, timeout=30
        )
    taken = events(fleetmart_home, before, username=name, act="export")
    assert [(row["object_type"], row["object"], row["result"]) for row in taken] == [
        ("dashboard", "7", "done"),
        ("chart", "9", "done"),
    ]


def test_a_log_in_that_failed_is_taken_down_and_no_word_of_an_unknown_name(
    superset_url: str, fleetmart_home: Path, before: int
) -> None:
    for name in (f"{TENANT}-analyst", "my secret password"):
        given = {"username": name, "password": "wrong", "provider": "db"}
        assert requests.post(f"{superset_url}/api/v1/security/login", json=given, timeout=30).status_code == 401
    failed = events(fleetmart_home, before, act="log in", result="failed")
    assert [(row["tenant_id"], row["username"]) for row in failed] == [(TENANT, f"{TENANT}-analyst"), (None, None)]


def test_the_record_is_for_administrators_and_a_download_of_it_is_an_export(
    superset_url: str, credentials: dict, fleetmart_home: Path, before: int
) -> None:
    for role in ("analyst", "executive", "engineer", "steward"):
        person = caller(superset_url, credentials, f"{TENANT}-{role}")
        assert person.get("/audit/").status_code == 403
        assert person.get("/audit/events.csv").status_code == 403
    assert requests.get(f"{superset_url}/audit/", timeout=30, allow_redirects=False).status_code == 302
    admin = caller(superset_url, credentials, "admin")
    page = admin.get("/audit/")
    assert page.status_code == 200 and f"{TENANT}-analyst" in page.text and "script-src" not in str(page.headers)
    table = list(csv.DictReader(io.StringIO(admin.get("/audit/events.csv?act=log%20in").text)))
    assert {row["act"] for row in table} == {"log in"}
    assert events(fleetmart_home, before, username="admin", act="export", object_type="page")


def test_a_tenants_administrator_sees_its_own_people_only(
    superset_url: str, credentials: dict, fleetmart_home: Path
) -> None:
    administrator = f"{TENANT}-tenant-admin"
    caller(superset_url, credentials, f"{OTHER}-executive")
    judge = judges(fleetmart_home, credentials)[TENANT]
    person = caller(superset_url, credentials, administrator)
    for path in ("/audit/", "/audit/events.csv", f"/audit/?username={OTHER}-executive", "/audit/?tenant=operator"):
        answer = person.get(path)
        assert answer.status_code == 200 and not judge.leaks(answer, sent=path)
    assert administrator in person.get("/audit/").text


def test_nothing_is_handed_out_without_a_record(superset_url: str, credentials: dict, fleetmart_home: Path) -> None:
    analyst = caller(superset_url, credentials, f"{TENANT}-analyst")
    datasets = analyst.get("/api/v1/dataset/?q=(page_size:100)").json()["result"]
    cube = next(row["id"] for row in datasets if row["table_name"] == "cube_readings_daily")
    record, aside = fleetmart_home / "audit.sqlite", fleetmart_home / "audit.aside"
    written = list(fleetmart_home.glob("audit.sqlite*"))
    for path in written:
        path.rename(aside.with_name(path.name.replace("sqlite", "aside")))
    record.mkdir()
    try:
        refused = analyst.chart(cube, ROWS, result_format="csv")
        shown = analyst.chart(cube, ROWS)
    finally:
        record.rmdir()
        for path in written:
            aside.with_name(path.name.replace("sqlite", "aside")).rename(path)
    assert refused.status_code == 503 and "Kennedy" not in refused.text
    assert shown.status_code == 200
    assert "The audit record could not be written" in (fleetmart_home / "logs" / "superset.log").read_text()
