"""Answers made before a snapshot is shown: the new data's, for the same people, and nobody waits long for them."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from orchestration import answered_ahead as ahead
from orchestration.serving import current_snapshot, point_to, swapping
from orchestration.settings import Settings
from tests.attacks.caller import Caller
from tests.in_superset import SECURITY, require_success
from tests.processes import processes_of, until

sys.path.insert(0, str(SECURITY))
import questions
import tenancy

TENANT, OTHER, BUILD = "nyc-airports", "la-haute-borne", 999


@pytest.fixture
def settings(superset_url: str, fleetmart_home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The demo's home, once somebody answers ahead there; who does yields to all else, and is waited for."""
    monkeypatch.setattr(ahead, "PATIENCE_SECONDS", 600)
    settings = Settings(home=fleetmart_home)
    until(lambda: ahead._is_somebody_there(settings))
    return settings


@pytest.fixture
def ask(records: sqlite3.Connection) -> Callable:
    """Ask for the readings of each site, as nobody did before this test: rows, and when they were read."""
    (dataset,) = records.execute("select id from tables where table_name = 'cube_readings_daily'").fetchone()
    # Superset keeps rows by the query alone.
    as_nobody_did = {"col": "site_name", "op": "NOT IN", "val": [uuid.uuid4().hex]}
    query = {"columns": ["site_name"], "metrics": ["readings"], "filters": [as_nobody_did]}

    def asked(caller: Caller, **more: bool) -> tuple[dict[str, int], datetime]:
        (result,) = caller.chart(dataset, query, **more).json()["result"]
        read_at = datetime.fromisoformat(result["queried_dttm"].replace("Z", "+00:00")).replace(tzinfo=UTC)
        return {row["site_name"]: row["readings"] for row in result["data"]}, read_at

    return asked


@contextmanager
def next_snapshot(settings: Settings, tenant_id: str) -> Iterator[Path]:
    """A file that the tenant is about to be shown, with twice the readings; whatever is shown is put back."""
    shown = current_snapshot(settings, tenant_id)
    partial = shown.with_name(f".v{BUILD}.duckdb.part")
    shutil.copy(shown, partial)
    partial.chmod(0o600)
    with duckdb.connect(str(partial)) as connection:
        connection.execute("update cube_readings_daily set reading_count = 2 * reading_count")
    try:
        yield partial
    finally:
        with swapping(settings):
            point_to(settings, tenant_id, int(shown.stem[1:]))
        partial.unlink(missing_ok=True)
        shown.with_name(f"v{BUILD}.duckdb").unlink(missing_ok=True)


def show(settings: Settings, partial: Path) -> None:
    with swapping(settings):
        os.replace(partial, partial.with_name(f"v{BUILD}.duckdb"))
        point_to(settings, partial.parent.name, BUILD)


def test_a_question_of_late_is_answered_of_the_next_snapshot_before_it_is_shown(
    settings: Settings, person: Callable, ask: Callable
) -> None:
    executive, steward, other = (person(f"{tenant}-{role}") for tenant, role in (
        (TENANT, "executive"), (TENANT, "steward"), (OTHER, "executive")
    ))  # fmt: skip
    before, others = ask(executive), ask(other)
    with next_snapshot(settings, TENANT) as partial:
        events = _events(settings)
        with ahead.answered_ahead(settings, partial):
            # Superset tells seconds.
            time.sleep(1.1)
            shown_at = datetime.now(UTC).replace(microsecond=0)
            assert ask(executive) == before, "the next snapshot was seen before it was shown"
            show(settings, partial)
        after = ask(executive)
        assert after[0] == {site: 2 * readings for site, readings in before[0].items()}
        assert after[1] < shown_at and ask(steward) == after
        assert ask(executive, force=True)[0] == after[0]
        # Nobody has looked but those who did.
        assert _events(settings) == events + 4
        assert ask(other) == others
    assert ask(executive)[0] == before[0]
    assert not list(partial.parent.glob("next")) + list(partial.parent.glob("answered"))


def _events(settings: Settings) -> int:
    with closing(sqlite3.connect(settings.home / "audit.sqlite")) as connection:
        return connection.execute("select count(*) from events where act = 'query'").fetchone()[0]


def test_nobody_is_asked_for_who_may_not_ask_any_more(
    settings: Settings, person: Callable, ask: Callable, records: sqlite3.Connection
) -> None:
    executive, steward = person(f"{TENANT}-executive"), person(f"{TENANT}-steward")
    ask(executive)
    noted = set((settings.home / "superset" / questions.FOLDER / TENANT).glob("*.json"))
    active = "update ab_user set active = ? where username = ?"
    with records:
        assert records.execute(active, (False, f"{TENANT}-executive")).rowcount == 1
    try:
        with next_snapshot(settings, TENANT) as partial:
            with ahead.answered_ahead(settings, partial):
                time.sleep(1.1)
                shown_at = datetime.now(UTC).replace(microsecond=0)
                show(settings, partial)
            assert ask(steward)[1] >= shown_at
    finally:
        with records:
            records.execute(active, (True, f"{TENANT}-executive"))
    assert any(not file.exists() for file in noted), "what cannot be asked stays noted"


def test_who_answers_ahead_is_started_again(settings: Settings) -> None:
    (first,) = _who_answers(settings)
    os.kill(first, signal.SIGKILL)
    until(lambda: ahead._is_somebody_there(settings) and first not in _who_answers(settings))


def _who_answers(settings: Settings) -> list[int]:
    return [number for number, line in processes_of(settings.home).items() if line.endswith("answer_ahead.py answer ")]


CHANGES_WITHIN = """
import json, sqlite3, sys
from tenancy import __file__ as file, fleetmart_home, snapshot_of
sys.path.append(file.rsplit("/", 2)[0])
import answer_ahead, questions
from superset_session import superset_started
tenant_id, username, changes = sys.argv[1:4]
before, after = map(json.loads, sys.argv[4:])
with superset_started(), answer_ahead._asking(snapshot_of(fleetmart_home(), tenant_id), username) as ask:
    assert ask(questions.Question(username, before))
    with sqlite3.connect(fleetmart_home() / "superset" / "superset.db", timeout=60) as records:
        records.executescript(changes)
    assert ask(questions.Question(username, after))
"""


def test_a_dataset_that_changes_while_it_is_asked_ahead_answers_as_it_is_then(
    settings: Settings, person: Callable, records: sqlite3.Connection
) -> None:
    executive = f"{TENANT}-executive"
    (dataset, changed_on) = records.execute(
        "select id, changed_on from tables where table_name = 'cube_readings_daily'"
    ).fetchone()

    def asked() -> dict:
        as_nobody_did = {"col": "site_name", "op": "NOT IN", "val": [uuid.uuid4().hex]}
        query = {"columns": ["site_name"], "metrics": ["readings"], "filters": [as_nobody_did], "row_limit": 1000}
        about = {"datasource": {"id": dataset, "type": "table"}, "form_data": {"slice_id": None}}
        return about | {"queries": [query], "result_format": "json", "result_type": "full"}

    def rows(question: dict) -> dict[str, int]:
        (result,) = person(executive).post("/api/v1/chart/data", json=question).json()["result"]
        return {row["site_name"]: row["readings"] for row in result["data"]}

    before, after = asked(), asked()
    expression = "update sql_metrics set expression = '{}' where metric_name = 'readings' and table_id = {};"
    touched = "update tables set changed_on = '{}' where id = {};"
    changes = expression.format("2 * sum(reading_count)", dataset) + touched.format("2026-01-01 00:00:00", dataset)
    standing = expression.format("sum(reading_count)", dataset) + touched.format(changed_on, dataset)
    arguments = [TENANT, executive, changes, json.dumps(before), json.dumps(after)]
    try:
        require_success(CHANGES_WITHIN, *arguments, FLEETMART_HOME=settings.home)
        doubled = rows(after)
    finally:
        records.executescript(standing)
    assert doubled == {site: 2 * readings for site, readings in rows(before).items()} != {}


@pytest.fixture
def alone(tmp_path: Path) -> Settings:
    """A home without a server."""
    (tmp_path / "superset").mkdir()
    return Settings(home=tmp_path)


HOLDS = (
    "import fcntl, sys; file = open(sys.argv[1], 'a'); fcntl.flock(file, fcntl.LOCK_EX); "
    "print('held', flush=True); sys.stdin.read()"
)


@pytest.mark.parametrize("end", ["is silent", "dies", "answers", "is not there"])
def test_who_publishes_waits_for_whoever_answers_and_not_for_ever(
    alone: Settings, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if end == "is silent":
        monkeypatch.setattr(ahead, "PATIENCE_SECONDS", 1.0)
    file, lock = tmp_path / ".v7.duckdb.part", tmp_path / "superset" / ahead.LOCK
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    if end == "is not there":
        holder.communicate()

    def answers() -> None:
        until((tmp_path / "next").is_symlink)
        (tmp_path / "next").rename(tmp_path / "answered")

    acts = {"dies": holder.kill, "answers": answers}
    began = time.monotonic()
    if end in acts:
        threading.Timer(0.3, acts[end]).start()
    with ahead.answered_ahead(alone, file):
        waited = time.monotonic() - began
        assert waited >= {"is silent": 1.0, "dies": 0.3, "answers": 0.3, "is not there": 0.0}[end]
        assert end == "is silent" or waited < ahead.PATIENCE_SECONDS
    assert not (tmp_path / "next").is_symlink() and not (tmp_path / "answered").is_symlink()
    holder.kill()
    holder.communicate()


def test_a_publish_that_was_killed_while_it_waited_leaves_nothing_that_counts(alone: Settings, tmp_path: Path) -> None:
    for name in ("next", "answered"):
        (tmp_path / name).symlink_to(".v6.duckdb.part")
    with ahead.answered_ahead(alone, tmp_path / ".v7.duckdb.part"):
        assert not (tmp_path / "next").is_symlink() and not (tmp_path / "answered").is_symlink()


def test_links_and_lock_have_the_names_that_the_server_knows() -> None:
    assert (ahead.NEXT, ahead.ANSWERED) == (tenancy.NEXT, tenancy.ANSWERED)
    assert f'LOCK = "{ahead.LOCK}"' in (SECURITY.parent / "answer_ahead.py").read_text()


def test_the_next_snapshot_has_the_version_that_it_will_be_shown_as(tmp_path: Path) -> None:
    folder = tmp_path / "serving" / "north"
    folder.mkdir(parents=True)
    partial = folder / ".v7.duckdb.part"
    partial.write_text("north")
    assert tenancy.upcoming(tmp_path, "north") is None
    for name in ("next", "answered"):
        (folder / name).symlink_to(partial.name)
        upcoming = tenancy.upcoming(tmp_path, "north")
        (folder / name).unlink()
    partial.rename(folder / "v7.duckdb")
    (folder / "current").symlink_to("v7.duckdb")
    assert tenancy.snapshot_of(tmp_path, "north").version == upcoming.version


def test_a_next_snapshot_of_another_tenant_is_refused(tmp_path: Path) -> None:
    for tenant_id in ("north", "south"):
        (tmp_path / "serving" / tenant_id).mkdir(parents=True)
    (tmp_path / "serving" / "south" / ".v7.duckdb.part").write_text("south")
    (tmp_path / "serving" / "north" / "next").symlink_to("../south/.v7.duckdb.part")
    with pytest.raises(tenancy.UnknownCaller):
        tenancy.upcoming(tmp_path, "north")


KEPT = """
import os
from pathlib import Path
import tenancy, tenant_cache
home = tenancy.fleetmart_home()
folder = home / "serving" / "north"
(folder / "records").mkdir(parents=True)
for file, link in (("v6.duckdb", "current"), (".v7.duckdb.part", "next"), ("records/v3.duckdb", "records/current")):
    (folder / file).write_text("north")
    (folder / link).symlink_to(Path(file).name)
now, later = tenancy.snapshot_of(home, "north"), tenancy.upcoming(home, "north")
versions = [now.version, now.of_data().version, later.version, later.of_data().version]
assert len({*versions}) == 4
assert all(tenant_cache.is_current(f"north.{version}.abc") for version in versions)
(folder / "next").unlink()
assert [tenant_cache.is_current(f"north.{version}.abc") for version in versions] == [True, True, False, False]
assert not tenant_cache.is_current(f"south.{versions[0]}.abc")
"""


def test_what_was_answered_ahead_is_kept_until_it_is_shown(tmp_path: Path) -> None:
    require_success(KEPT, FLEETMART_HOME=tmp_path)


def test_where_no_question_can_be_noted_it_is_said_and_nobody_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "superset").write_text("a file where the folder should be")
    questions.note(tmp_path, "north", "first", questions.Question("person", {}))
    assert "A question of north is not noted" in caplog.text


def test_questions_are_noted_once_and_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def names(tenant_id: str = "north") -> list[str]:
        return [name for name, _ in questions.noted(tmp_path, tenant_id)]

    for number, name in enumerate(("first", "second", "first")):
        questions.note(tmp_path, "north", name, questions.Question(f"person-{number}", {"asked": name}))
        time.sleep(0.02)
    assert dict(questions.noted(tmp_path, "north")) == {
        "first": questions.Question("person-0", {"asked": "first"}),
        "second": questions.Question("person-1", {"asked": "second"}),
    }
    assert names() == ["first", "second"] and names("south") == []
    questions.note(tmp_path, "north", "long", questions.Question("person", {"asked": "x" * questions.LONGEST}))
    assert names() == ["first", "second"]
    monkeypatch.setattr(questions, "MOST", 1)
    for name in ("third", "fourth"):
        time.sleep(0.02)
        questions.note(tmp_path, "north", name, questions.Question("person", {}))
    files = sorted((tmp_path / "superset" / questions.FOLDER / "north").iterdir())
    assert len(files) == 2, "between two publishes as many as somebody likes are noted"
    assert names() == ["fourth"] == names()
    old = time.time() - questions.ASKED_SECONDS - 1
    os.utime(tmp_path / "superset" / questions.FOLDER / "north" / "fourth.json", (old, old))
    assert names() == []
    questions.note(tmp_path, "north", "third", questions.Question("person", {}))
    questions.forget(tmp_path, "north")
    assert names() == [] and not (tmp_path / "superset" / questions.FOLDER / "north").exists()
