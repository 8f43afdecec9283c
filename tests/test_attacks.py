"""The boundary under attack: whatever a tenant's people, forged tokens or nobody try, nothing of another comes back.

The attempts are tests/attacks/attempts.py; docs/attacks.md says what came of each.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from orchestration.settings import ROOT
from tests.attacks.attempts import ANALYST, ENDLESS, EXECUTIVE, GUEST, STEWARD, Attempt
from tests.attacks.judge import Judge, judges
from tests.attacks.prey import ATTACKER, QUESTION, VICTIM
from tests.attacks.siege import ALL, Outcome, Siege


@pytest.fixture(scope="module")
def siege(superset_url: str, fleetmart_home: Path, credentials: dict) -> Iterator[Siege]:
    made = Siege(superset_url, fleetmart_home, credentials)
    yield made
    made.end()


@pytest.fixture(scope="module")
def ended(siege: Siege) -> dict[str, Outcome]:
    """What came of the queries that would run for ever, all asked at once."""
    return {one.attempt.name: one for one in siege.outcomes_together(ENDLESS)}


@pytest.mark.parametrize("attempt", ALL, ids=lambda attempt: attempt.name)
def test_nothing_of_another_tenant_comes_back(siege: Siege, attempt: Attempt) -> None:
    outcome = siege.outcome(attempt)
    assert outcome.complaint is None


@pytest.mark.parametrize("attempt", ENDLESS, ids=lambda attempt: attempt.name)
def test_a_query_without_an_end_is_ended_and_the_server_goes_on(
    siege: Siege, ended: dict[str, Outcome], attempt: Attempt
) -> None:
    assert ended[attempt.name].complaint is None
    asked = siege.callers["executive"].chart(siege.prey.cube, QUESTION, force=True)
    assert asked.status_code == 200 and ATTACKER in asked.text


def test_a_query_without_an_end_leaves_nothing_behind_that_keeps_others_out(
    siege: Siege, ended: dict[str, Outcome]
) -> None:
    """To hash a password takes memory in one piece: a process that was left full could log nobody in."""
    assert ended
    for who in (ANALYST, EXECUTIVE, STEWARD) * 3:
        siege.log_in(f"{ATTACKER}-{who}")


def test_what_was_aimed_at_is_as_it_was(siege: Siege, fleetmart_home: Path) -> None:
    saved = siege.victim.get(f"/api/v1/saved_query/{siege.prey.saved_query}")
    assert saved.json()["result"]["label"] == f"Turbines of {VICTIM}"
    assert "Turbine R80711" in siege.victim.get(f"/tabstateview/{siege.prey.tab}").text
    assert siege.victim.get(f"/api/v1/dashboard/permalink/{siege.prey.board_link}").status_code == 200
    assert siege.victim.get("/api/v1/me/").status_code == 200
    alert = siege.operator.get(f"/api/v1/report/{siege.prey.alert}").json()["result"]
    assert [json.loads(one["recipient_config_json"]) for one in alert["recipients"]] in (
        [{"target": "steward"}], [{"target": "executive, steward"}],
    )  # fmt: skip
    assert not list(fleetmart_home.glob("*stolen*"))


def test_the_judge_finds_what_the_operator_is_answered(siege: Siege) -> None:
    """The same questions of somebody who may see all: were the judge blind, nothing above would mean anything."""
    operator, cube = siege.operator, siege.prey.cube
    rows = {"columns": ["site_name"], "metrics": ["readings"]}
    answers = {
        "JSON": operator.chart(cube, QUESTION),
        "CSV": operator.chart(cube, rows, result_format="csv"),
        "XLSX": operator.chart(cube, rows, result_format="xlsx"),
        "SQL": operator.sql("select device_name from dim_devices"),
        "a count": operator.sql("select count(*) from fct_readings"),
        "people": operator.get("/api/v1/security/users/?q=(page_size:100)"),
        "a page": operator.get("/quality/"),
        "a saved query": siege.victim.get(f"/api/v1/saved_query/{siege.prey.saved_query}"),
    }
    blind = {kind: answer.status_code for kind, answer in answers.items() if not siege.judge.leaks(answer)}
    assert not blind


def test_the_judge_reads_headers_and_escapes(siege: Siege) -> None:
    for content, headers in (
        (b"{}", {"X-Device": "Turbine R80711"}),
        (json.dumps("NREL Photovolta\u00efcs La Haute Borne").encode(), {}),
        (b"La&#32;Haute Borne", {}),
        (b"La%20Haute%20Borne", {}),
    ):
        answer = requests.Response()
        answer.status_code, answer._content = 200, content
        answer.headers.update(headers)
        assert siege.judge.leaks(answer)
        assert not Judge(VICTIM, frozenset({"Newark Liberty"})).leaks(answer)


def test_everybody_is_judged_by_words_of_all_the_others(fleetmart_home: Path, credentials: dict) -> None:
    found = judges(fleetmart_home, credentials)
    assert set(found) == {"la-haute-borne", "nyc-airports", "nrel-pv"}
    for tenant, judge in found.items():
        assert {f"{other}-analyst" for other in found if other != tenant} <= judge.others
        assert not {word for word in judge.others if word == tenant or word.startswith(f"{tenant}-")}
        assert any(word.isdigit() for word in judge.others)


def test_the_document_tells_of_every_attempt() -> None:
    rows = [row.split(" | ") for row in (ROOT / "docs" / "attacks.md").read_text().splitlines() if row.startswith("| ")]
    told = [(row[0].removeprefix("| ").replace("\\|", "|"), row[1]) for row in rows[2:]]
    made = [(attempt.name, attempt.who) for attempt in (*ALL, *ENDLESS)]
    # Where dashboards cannot be embedded there are no guests, and the document may tell of them all the same.
    assert [one for one in told if one[1] != GUEST or one in made] == made


def test_a_swapped_file_or_folder_shows_nobody_elses_rows(
    superset_url: str, siege: Siege, fleetmart_home: Path
) -> None:
    """Whoever can write into the home points a tenant's link, its file or its folder at another tenant's."""
    executive, serving = siege.callers["executive"], fleetmart_home / "serving"
    own, other = serving / ATTACKER, serving / VICTIM
    link = own / "current"
    name = link.readlink()
    try:
        for target in ((other / "current").resolve(), Path(f"../{VICTIM}") / (other / "current").readlink()):
            _point(link, target)
            _shows_nothing(siege, executive.chart(siege.prey.cube, QUESTION, force=True))
        copied = own / "v999999.duckdb"
        shutil.copy((other / "current").resolve(), copied)
        _point(link, Path(copied.name))
        _shows_nothing(siege, executive.chart(siege.prey.cube, QUESTION, force=True))
        copied.unlink()
    finally:
        _point(link, name)
    aside = own.rename(serving / "aside")
    try:
        own.symlink_to(VICTIM)
        _shows_nothing(siege, executive.chart(siege.prey.cube, QUESTION, force=True))
    finally:
        own.unlink()
        aside.rename(own)
    assert executive.chart(siege.prey.cube, QUESTION).status_code == 200


def _point(link: Path, target: Path) -> None:
    link.unlink()
    link.symlink_to(target)


def _shows_nothing(siege: Siege, answer: requests.Response) -> None:
    assert answer.status_code >= 400 and "refused" in answer.text
    assert not siege.judge.leaks(answer, sent=VICTIM)
