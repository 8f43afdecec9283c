"""A steward's hand: cases, waivers, holding back and going back; and verdicts that no order of events can forge."""

import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from expectations.gate import gate, verdict_of
from orchestration import ledger as ledger_module
from orchestration.build import build
from orchestration.errors import FleetmartError, WrongUse
from orchestration.hold_back import follow_in_the_operators, hold_back, publish_what_may, release, roll_back
from orchestration.ledger import ledger, rows
from orchestration.publish import GateNotPassed, publish, publish_all
from orchestration.published_records import publish_records
from orchestration.quality_cases import cases, triage, waive
from orchestration.quality_record import entries
from orchestration.run import run_waiting
from orchestration.serving import current_snapshot
from orchestration.settings import Settings
from orchestration.snapshot_sql import query
from tests.test_gate_and_publish import METER, WEATHER, take_in

WIND, WEATHER_TENANT = "la-haute-borne", "nyc-airports"
LAST_DAY = "select max(day)::varchar from cube_fleet_daily"


def spoiled(path: Path, folder: Path) -> Path:
    """The file with every value unreadable, so that its load is mostly rejected and the gate withholds it."""
    head, *lines = path.read_text().splitlines()
    made = folder / f"spoiled-{path.name}"
    made.write_text("\n".join([head, *(line.replace(",", ",broken ", 1) for line in lines)]) + "\n")
    return made


@pytest.fixture(scope="module")
def withheld_once(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two tenants with a snapshot each; of the wind farm's next month every value is rejected."""
    folder = tmp_path_factory.mktemp("withheld")
    settings = Settings(home=folder / "home", settle_seconds=0)
    settings.prepare_home()
    take_in(settings, "lhb_meter", METER[0])
    take_in(settings, "nyc_weather", WEATHER[0])
    publish_built(settings)
    take_in(settings, "lhb_meter", spoiled(METER[1], folder), METER[1])
    publish_built(settings)
    return settings


@pytest.fixture
def withheld(withheld_once: Settings, tmp_path: Path) -> Settings:
    """A copy of that home, free to be changed."""
    shutil.copytree(withheld_once.home, tmp_path / "home", symlinks=True)
    return Settings(home=tmp_path / "home", settle_seconds=0)


def publish_built(settings: Settings) -> None:
    build(settings)
    publish_what_may(settings)


def the_case(settings: Settings) -> dict:
    (case,) = [case for case in cases(settings, WIND) if case["severity"] == "critical"]
    return case


def state(settings: Settings, tenant_id: str = WIND) -> tuple:
    found = query(settings, "select verdict, waived_count, held_at, under_review_since from data_state", tenant_id)
    return found.rows[0]


def actions_on(settings: Settings, case_id: int) -> list[str]:
    return [entry["action"] for entry in reversed(entries(settings)) if entry["case_id"] == case_id]


def test_a_failure_is_one_case_that_readers_see_at_once_beside_what_they_saw(withheld: Settings) -> None:
    assert query(withheld, LAST_DAY, WIND).rows == [("2014-04-01",)]
    verdict, waived, held, since = state(withheld)
    assert (verdict, waived, held) == ("passed with warnings", 0, None) and since is not None
    assert state(withheld, WEATHER_TENANT)[3] is None
    case = the_case(withheld)
    assert (case["state"], case["failed_builds"]) == ("open", 1)
    shown = "select case_id, rule, state from quality_cases where severity = 'critical'"
    assert query(withheld, shown, WIND).rows == [(case["case_id"], case["rule"], "open")] == query(withheld, shown).rows
    assert query(withheld, shown, WEATHER_TENANT).rows == []

    take_in(withheld, "lhb_meter", METER[2])
    publish_built(withheld)
    assert the_case(withheld)["case_id"] == case["case_id"] and the_case(withheld)["failed_builds"] == 2
    assert actions_on(withheld, case["case_id"]) == ["opened", "failed again"]


def test_a_case_is_worked_on_with_a_comment_and_says_by_whom(withheld: Settings) -> None:
    case_id = the_case(withheld)["case_id"]
    with pytest.raises(WrongUse, match="Give a reason"):
        triage(withheld, case_id, "acknowledged", "Ada", "  ")
    assert triage(withheld, case_id, "acknowledged", "Ada", "I ask the exporter's maker.")["state"] == "acknowledged"
    assert triage(withheld, case_id, "explained", "Ada", "Its firmware writes words.")["state"] == "explained"
    publish_records(withheld, [WIND])
    told = "select who, action, why from quality_record where case_id = $$ order by entry_id".replace(
        "$$", str(case_id)
    )
    assert query(withheld, told, WIND).rows[-1] == ("Ada", "explained", "Its firmware writes words.")
    with pytest.raises(WrongUse, match="There is no case 999"):
        triage(withheld, 999, "acknowledged", "Ada", "Which?")


def test_a_waiver_lets_publishing_go_on_is_shown_and_counted_and_expires(
    withheld: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, today = the_case(withheld), datetime.now(UTC).date()
    with pytest.raises(WrongUse, match="is over"):
        waive(withheld, case["case_id"], "Ada", "Late.", until=today - timedelta(days=1))
    waive(withheld, case["case_id"], "Ada", "The words are harmless.", until=today)
    published = publish_what_may(withheld)
    assert [one.tenant_id for one in published.snapshots] == [WIND, "operator"] and published.withheld == []
    assert query(withheld, LAST_DAY, WIND).rows == query(withheld, LAST_DAY).rows != [("2014-04-01",)]
    assert state(withheld)[:2] == ("failed", 1) and state(withheld)[3] is None
    assert the_case(withheld)["state"] == "waived"

    build_id = rows(withheld, "select max(build_id) as build_id from builds")[0]["build_id"]
    with ledger(withheld) as connection:  # as after midnight
        connection.execute("update quality_waivers set until = ?", (str(today - timedelta(days=1)),))
    with pytest.raises(GateNotPassed, match="values are taken in"):
        publish(withheld, WIND, build_id)
    with ledger(withheld) as connection:
        connection.execute("update quality_waivers set until = ?", (str(today),))
        connection.execute(
            "insert into quality_record (recorded_at, tenant_id, who, action, why) values (?, ?, 'gate', 'x', 'x')",
            (f"{today + timedelta(days=1)} 00:00:01", WIND),
        )
    # the record has seen tomorrow: a clock that stands at today was set back
    assert ledger_module.now()[:10] == str(today)
    with pytest.raises(GateNotPassed, match="values are taken in"):
        publish(withheld, WIND, build_id)


def test_a_waiver_for_a_build_is_for_that_build_alone_and_a_mended_case_closes_itself(
    withheld: Settings, tmp_path: Path
) -> None:
    case = the_case(withheld)
    with pytest.raises(WrongUse, match="did not fail in build 1;"):
        waive(withheld, case["case_id"], "Ada", "Why not.", build_id=1)
    waive(withheld, case["case_id"], "Ada", "Known.", build_id=case["last_build_id"])
    publish_what_may(withheld)
    assert state(withheld)[3] is None

    worse = tmp_path / "worse"
    worse.mkdir()
    take_in(withheld, "lhb_meter", spoiled(METER[3], worse), METER[3])
    publish_built(withheld)
    assert (the_case(withheld)["state"], the_case(withheld)["case_id"]) == ("open", case["case_id"])
    assert actions_on(withheld, case["case_id"])[-1] == "waiver expired" and state(withheld)[3] is not None

    waive(withheld, case["case_id"], "Ada", "Once more.", build_id=the_case(withheld)["last_build_id"])
    publish_what_may(withheld)
    take_in(withheld, "lhb_meter", METER[2])
    publish_built(withheld)
    assert [one["state"] for one in cases(withheld, WIND, closed=True) if one["case_id"] == case["case_id"]] == [
        "mended"
    ]
    assert actions_on(withheld, case["case_id"])[-1] == "mended" and state(withheld)[1] == 0
    with pytest.raises(WrongUse, match="is mended since"):
        triage(withheld, case["case_id"], "explained", "Ada", "Too late.")


def test_held_back_a_tenant_sees_what_it_saw_until_it_is_released(small: Callable[..., Settings]) -> None:
    settings = small()
    take_in(settings, "lhb_meter", METER[0])
    publish_built(settings)
    hold_back(settings, WIND, "Ada", "The meter is being exchanged.")
    assert state(settings)[2] is not None
    take_in(settings, "lhb_meter", METER[1])
    build(settings)
    assert "held back since" in publish_what_may(settings).withheld[0]
    assert query(settings, LAST_DAY, WIND).rows == query(settings, LAST_DAY).rows == [("2014-04-01",)]
    with pytest.raises(WrongUse, match="nyc-airports is not held back"):
        release(settings, WEATHER_TENANT, "Ada", "Done.")
    assert release(settings, WIND, "Ada", "The new meter counts.").withheld == []
    assert query(settings, LAST_DAY, WIND).rows == query(settings, LAST_DAY).rows == [("2014-05-01",)]
    told = [entry["action"] for entry in entries(settings, WIND) if entry["who"] == "Ada"]
    assert told == ["released", "held back"] and state(settings)[2] is None


def test_rolled_back_readers_see_the_snapshot_before_in_their_next_query_until_it_is_released(
    small: Callable[..., Settings],
) -> None:
    settings = small()
    take_in(settings, "nyc_weather", WEATHER[0])
    for number in range(3):
        take_in(settings, "lhb_meter", METER[number])
        publish_built(settings)
    newest = query(settings, LAST_DAY, WIND).rows
    assert roll_back(settings, WIND, "Ada", "March reads twice.") == 2
    assert query(settings, LAST_DAY, WIND).rows == [("2014-05-01",)]
    follow_in_the_operators(settings)
    whole = "select day, sum(reading_count)::bigint from cube_fleet_daily where tenant_id = 'la-haute-borne' group by 1"
    assert sorted(query(settings, whole).rows) == sorted(query(settings, whole, WIND).rows)
    assert query(settings, "select count(*) > 0 from cube_fleet_daily where tenant_id = 'nyc-airports'").rows == [
        (True,)
    ]
    with pytest.raises(WrongUse, match=r"No snapshot of build 7 .* Kept are: 1"):
        roll_back(settings, WIND, "Ada", "Further.", build_id=7)

    take_in(settings, "lhb_meter", METER[3])
    publish_built(settings)
    assert query(settings, LAST_DAY, WIND).rows == [("2014-05-01",)], "what came since waits as well"
    release(settings, WIND, "Ada", "It did not.")
    assert query(settings, LAST_DAY, WIND).rows == query(settings, LAST_DAY).rows > newest
    assert sorted(query(settings, whole).rows) == sorted(query(settings, whole, WIND).rows)

    assert roll_back(settings, WIND, "Ada", "It did after all.") == 2, "what was withdrawn is passed over"
    assert roll_back(settings, WIND, "Ada", "From the beginning.", build_id=1) == 1
    release(settings, WIND, "Ada", "Mended.")
    assert roll_back(settings, WIND, "Ada", "That one it was.", build_id=3) == 3
    assert query(settings, "select build_id from data_state", WIND).rows == [(3,)]


def test_a_candidate_changed_after_its_verdict_is_refused_and_judged_anew(small: Callable[..., Settings]) -> None:
    settings = small()
    take_in(settings, "lhb_meter", METER[0])
    build_id = build(settings).build_id
    gate(settings)
    with duckdb.connect(str(settings.warehouse)) as connection:
        connection.execute("update main.cube_fleet_daily set reading_count = reading_count + 1")
    with pytest.raises(GateNotPassed, match="the warehouse was changed after build 1 was judged"):
        publish(settings, WIND, build_id)
    assert "was changed after" in publish_all(settings).withheld[0] and current_snapshot(settings, WIND) is None
    assert not gate(settings)[0].passed, "what the warehouse holds now does not add up"
    with pytest.raises(GateNotPassed, match="counts every reading once"):
        publish(settings, WIND, build_id)


def test_a_verdict_of_a_run_that_broke_off_is_taken_up_and_no_other(
    small: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = small()
    take_in(settings, "lhb_meter", METER[0])
    build_id = build(settings).build_id
    (judged,) = gate(settings)  # and here the machine stops
    assert run_waiting(settings).published.snapshots[0].build_id == build_id
    assert verdict_of(settings, WIND, build_id) == judged, "it stands, it was not judged again"

    monkeypatch.setattr("orchestration.ledger.now", lambda: "2001-01-01 00:00:00.000000")
    take_in(settings, "lhb_meter", METER[1])
    later = build(settings).build_id
    with pytest.raises(GateNotPassed, match="no verdict"):
        publish(settings, WIND, later)
    with pytest.raises(FleetmartError, match="not what the warehouse holds"):
        publish(settings, WIND, build_id)


def test_the_record_is_only_added_to(withheld: Settings) -> None:
    for forged in ("update quality_record set who = 'somebody else'", "delete from quality_record"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"), ledger(withheld) as connection:
            connection.execute(forged)
    assert entries(withheld, WIND)[-1]["who"] == "gate"


def test_a_day_far_ahead_or_no_end_is_no_waiver(withheld: Settings) -> None:
    with pytest.raises(WrongUse, match="until when, or for which build"):
        waive(withheld, the_case(withheld)["case_id"], "Ada", "For ever.")
    with pytest.raises(WrongUse, match="until when, or for which build"):
        waive(withheld, the_case(withheld)["case_id"], "Ada", "Both.", until=date(2999, 1, 1), build_id=2)
