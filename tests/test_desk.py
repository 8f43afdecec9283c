"""The data steward's desk, over HTTP as browsers speak it: who sees what, and what becomes of what is typed."""

import html
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from orchestration.hold_back import hold_back
from orchestration.ledger import rows
from orchestration.people import read_credentials
from orchestration.quality_cases import cases
from orchestration.quality_record import entries
from orchestration.settings import ROOT, Settings
from orchestration.snapshot_sql import query
from orchestration.writer_lock import writer
from tests.conftest import run_fleetmart, served
from tests.test_gate_and_publish import METER, WEATHER, take_in
from tests.test_steward import WEATHER_TENANT, WIND, publish_built, spoiled

sys.path[:0] = [str(ROOT / "superset" / name) for name in ("security", "desk")]
import desk_acts  # noqa: E402

WIND_STEWARD, WEATHER_STEWARD = f"{WIND}-steward", f"{WEATHER_TENANT}-steward"
OPERATOR, OPERATORS_STEWARD = "operator", "operator-steward"
LATER = datetime.now(UTC).date() + timedelta(days=2)
# What would do harm if it were a word of the command, of a page or of a shell.
NASTY = """--by=gate "quoted" $(id) <script>alert('no')</script> & so on"""


def mostly_timeless(path: Path, folder: Path) -> Path:
    """The file with instants that nobody understands, but for every fifth line."""
    head, *lines = path.read_text().splitlines()
    lines = [line if number % 5 == 0 else line.replace("Z", " sharp") for number, line in enumerate(lines)]
    made = folder / path.name
    made.write_text("\n".join([head, *lines]) + "\n")
    return made


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The wind farm's second batch is withheld, the weather's first: it has records and no snapshot."""
    folder = tmp_path_factory.mktemp("desk")
    settings = Settings(home=folder / "home", settle_seconds=0)
    settings.prepare_home()
    take_in(settings, "lhb_meter", METER[0])
    publish_built(settings)
    take_in(settings, "lhb_meter", spoiled(METER[1], folder), METER[1])
    take_in(settings, "nyc_weather", mostly_timeless(WEATHER[0], folder))
    publish_built(settings)
    return settings


@pytest.fixture(scope="module")
def url(settings: Settings) -> Iterator[str]:
    with served(settings.home) as url:
        yield url


@pytest.fixture(scope="module")
def at_the_desk(settings: Settings, url: str) -> Callable[[str], "Visitor"]:
    """Somebody who is logged in; each logs in once."""
    passwords = {user["username"]: user["password"] for user in read_credentials(settings)}
    visitors: dict[str, Visitor] = {}

    def visitor_of(username: str) -> Visitor:
        if username not in visitors:
            visitors[username] = Visitor(url)
            visitors[username].log_in(username, passwords[username])
        return visitors[username]

    return visitor_of


class Visitor:
    """A browser's log-in, and what it can do without a script."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.token = ""

    def log_in(self, username: str, password: str) -> None:
        page = self.get("/login/").text
        form = {"username": username, "password": password, "csrf_token": token_of(page)}
        answer = self.session.post(f"{self.url}/login/", data=form, allow_redirects=False)
        assert answer.status_code == 302 and "/login" not in answer.headers["location"], username

    def get(self, path: str) -> requests.Response:
        return self.session.get(self.url + path, allow_redirects=False)

    def send(self, path: str, **form: str) -> requests.Response:
        """Fill in a form of the desk; returns the page that follows it."""
        form["csrf_token"] = self.token = self.token or token_of(self.get("/quality/?tenant=" + WIND).text)
        answer = self.session.post(self.url + path, data=form, allow_redirects=False)
        return self.get(answer.headers["location"]) if answer.status_code == 303 else answer


def token_of(page: str) -> str:
    return re.search(r"""csrf_token[^>]*?value="([^"]+)""", page)[1]


def text_of(answer: requests.Response) -> str:
    """What a person reads of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", answer.text)).split())


def critical_case(settings: Settings, tenant_id: str) -> dict:
    (found,) = [case for case in cases(settings, tenant_id) if case["severity"] == "critical"]
    return found


def case_links(answer: requests.Response) -> set[int]:
    return {int(number) for number in re.findall(r'href="/quality/cases/(\d+)"', answer.text)}


def last_entry(settings: Settings, tenant_id: str) -> tuple[str, str, str]:
    entry = entries(settings, tenant_id)[0]
    return entry["who"], entry["action"], entry["why"]


def test_a_steward_sees_the_cases_of_the_own_tenant_and_the_operators_all(settings: Settings, at_the_desk) -> None:
    numbers = {tenant: {case["case_id"] for case in cases(settings, tenant)} for tenant in (WIND, WEATHER_TENANT)}
    assert all(numbers.values())
    answer = at_the_desk(WIND_STEWARD).get("/quality/")
    assert answer.status_code == 200 and case_links(answer) == numbers[WIND]
    assert "La Haute Borne" in answer.text and WEATHER_TENANT not in answer.text and "Airports" not in answer.text
    assert "Newer data is under review since" in text_of(answer) and "UTC" in text_of(answer)
    assert critical_case(settings, WIND)["rule"] in text_of(answer)
    # what is asked in the address is no way around
    assert case_links(at_the_desk(WIND_STEWARD).get(f"/quality/?tenant={WEATHER_TENANT}")) == numbers[WIND]

    for username in (OPERATORS_STEWARD, "admin"):
        everything = at_the_desk(username).get("/quality/")
        assert case_links(everything) == numbers[WIND] | numbers[WEATHER_TENANT]
        narrowed = at_the_desk(username).get(f"/quality/?tenant={WEATHER_TENANT}")
        assert case_links(narrowed) == numbers[WEATHER_TENANT]
        assert at_the_desk(username).get("/quality/?tenant=nobody").status_code == 404


def test_of_anothers_case_nothing_is_said_and_nothing_is_done(settings: Settings, at_the_desk) -> None:
    case_id, before = critical_case(settings, WEATHER_TENANT)["case_id"], entries(settings)
    steward = at_the_desk(WIND_STEWARD)
    for number in (case_id, 10**6, 10**30):
        assert steward.get(f"/quality/cases/{number}").status_code == 404
    assert steward.get(f"/quality/cases/{case_id}").text == steward.get("/quality/cases/1000000").text
    for act in ("acknowledge", "explain", "waive"):
        answer = steward.send(f"/quality/cases/{case_id}/{act}", why="Mine?", ends="build")
        assert answer.status_code == 404 and WEATHER_TENANT not in answer.text
    assert entries(settings) == before


def test_a_tenant_whose_first_batch_was_withheld_has_a_desk(settings: Settings, at_the_desk) -> None:
    assert not (settings.serving / WEATHER_TENANT / "current").exists()
    steward, case = at_the_desk(WEATHER_STEWARD), critical_case(settings, WEATHER_TENANT)
    assert "Nothing has been published yet" in text_of(steward.get("/quality/"))
    page = steward.get(f"/quality/cases/{case['case_id']}")
    assert page.status_code == 200 and case["rule"] in text_of(page)
    (why,) = {row["why"] for row in rows(settings, "select why from quality_results where rule = ?", case["rule"])}
    assert why in text_of(page)
    (report,) = re.findall(r'href="(/data-docs/[^"]+)">See the report', page.text)
    assert steward.get(report).status_code == 200


def test_only_stewards_and_administrators_have_a_desk(settings: Settings, at_the_desk, url: str) -> None:
    case_id = critical_case(settings, WIND)["case_id"]
    for role in ("executive", "analyst"):
        for path in ("/quality/", f"/quality/cases/{case_id}"):
            answer = at_the_desk(f"{WIND}-{role}").get(path)
            assert answer.status_code == 403 and critical_case(settings, WIND)["rule"] not in text_of(answer)
    for path in ("/quality/", f"/quality/cases/{case_id}"):
        answer = Visitor(url).get(path)
        assert answer.status_code == 302 and answer.headers["location"] == f"/login/?next={path}"


def test_a_form_that_is_not_from_here_does_nothing(settings: Settings, at_the_desk) -> None:
    case_id, before = critical_case(settings, WIND)["case_id"], entries(settings)
    steward = at_the_desk(WIND_STEWARD)
    for path in (f"/quality/cases/{case_id}/acknowledge", "/quality/hold-back"):
        for form in ({"why": "x"}, {"why": "x", "csrf_token": "guessed"}):
            assert steward.session.post(steward.url + path, data=form).status_code == 400
    assert entries(settings) == before


def test_the_pages_need_no_script_and_allow_none(settings: Settings, at_the_desk) -> None:
    for path in ("/quality/", f"/quality/cases/{critical_case(settings, WIND)['case_id']}"):
        answer = at_the_desk(WIND_STEWARD).get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "form-action 'self'" in policy and "script" not in policy
        assert "<script" not in answer.text and " style=" not in answer.text
        # a source has no other name than its key
        assert "superset" not in text_of(answer).lower() and "_" not in text_of(answer).replace("lhb_meter", "")
    style = at_the_desk(WIND_STEWARD).get("/quality/desk.css")
    assert style.headers["content-type"].startswith("text/css") and "{{" not in style.text


@pytest.mark.parametrize("act", ["acknowledge", "explain"])
def test_a_reason_is_text_whatever_it_looks_like(settings: Settings, at_the_desk, act: str) -> None:
    case_id = critical_case(settings, WIND)["case_id"]
    page = at_the_desk(WIND_STEWARD).send(f"/quality/cases/{case_id}/{act}", why=NASTY)
    assert last_entry(settings, WIND) == (WIND_STEWARD, f"{act.removesuffix('e')}ed", NASTY)
    assert f"Case {case_id} is {act.removesuffix('e')}ed." in text_of(page)
    for shown in (page, at_the_desk(WIND_STEWARD).get("/quality/")):
        assert "<script" not in shown.text and html.escape("<script>alert(", quote=False) in shown.text


def test_what_cannot_be_done_is_said_and_what_was_typed_stays(settings: Settings, at_the_desk) -> None:
    case_id, before = critical_case(settings, WIND)["case_id"], entries(settings)
    steward = at_the_desk(WIND_STEWARD)
    form = {"why": "Until it <is> repaired.", "ends": "day"}
    answer = steward.send(f"/quality/cases/{case_id}/waive", until="2020-01-01", **form)
    assert answer.status_code == 400 and "2020-01-01 is over" in text_of(answer)
    assert "Until it &lt;is&gt; repaired.</textarea>" in answer.text
    answer = steward.send(f"/quality/cases/{case_id}/waive", until="--build=2", **form)
    assert answer.status_code == 400 and "on which day" in text_of(answer)
    assert "Give a reason" in text_of(steward.send(f"/quality/cases/{case_id}/explain", why=" \r\n "))
    assert "longer than 2,000" in text_of(steward.send(f"/quality/cases/{case_id}/explain", why="x" * 200_000))
    assert "is not held back" in text_of(steward.send("/quality/release", why="All is well."))
    assert "Choose one of the list" in text_of(steward.send("/quality/roll-back", why="Back.", build="99"))
    assert entries(settings) == before


def test_what_is_waived_is_published_and_can_be_taken_back_and_released(settings: Settings, at_the_desk) -> None:
    steward, case = at_the_desk(WIND_STEWARD), critical_case(settings, WIND)
    page = steward.send(f"/quality/cases/{case['case_id']}/waive", ends="day", until=str(LATER), why="Harmless words.")
    assert f"Build {case['last_build_id']} is published." in text_of(page), text_of(page)
    desk = text_of(steward.get("/quality/"))
    assert f"Build {case['last_build_id']}, published" in desk and "No newer data waits" in desk
    assert "Harmless words." in desk and "Until the end of" in desk

    # a tenant's steward acts on the own tenant, whatever the form says
    page = steward.send("/quality/roll-back", build="1", tenant=WEATHER_TENANT, why="Not so harmless.")
    assert "Readers see build 1 now" in text_of(page)
    assert os.readlink(settings.serving / WIND / "current") == "v1.duckdb"
    assert "held back since" in text_of(page) and ">Not so harmless.</q>" in page.text
    assert last_entry(settings, WIND) == (WIND_STEWARD, "rolled back", "Not so harmless.")

    page = at_the_desk(OPERATORS_STEWARD).send("/quality/release", tenant=WIND, why="Looked at.")
    assert "Data is held back no longer." in text_of(page) and "La Haute Borne" in page.text
    assert last_entry(settings, WIND)[:2] == (OPERATORS_STEWARD, "released")
    assert not rows(settings, "select * from held_back")


def test_the_operators_say_whose_data_they_hold_back(settings: Settings, at_the_desk) -> None:
    steward, before = at_the_desk(OPERATORS_STEWARD), entries(settings)
    for tenant in ("", "nobody", "../operator", OPERATOR):
        assert steward.send("/quality/hold-back", tenant=tenant, why="Wait.").status_code == 404, tenant
    assert entries(settings) == before
    page = steward.send("/quality/hold-back", tenant=WEATHER_TENANT, why="Wait.")
    assert "Newer data is held back." in text_of(page)
    assert last_entry(settings, WEATHER_TENANT) == (OPERATORS_STEWARD, "held back", "Wait.")
    assert "Wait." in text_of(at_the_desk(WEATHER_STEWARD).get("/quality/"))


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the desk run a shell's lines for the command line."""
    monkeypatch.setenv("FLEETMART_HOME", str(tmp_path))
    for folder in ("superset", "serving/north", "serving/south", "serving/operator"):
        (tmp_path / folder).mkdir(parents=True)

    def be(lines: str) -> None:
        script = tmp_path / "fleetmart"
        script.write_text(f"#!/bin/sh\n{lines}\n")
        script.chmod(0o755)
        monkeypatch.setenv("FLEETMART_COMMAND", str(script))

    return be


def test_values_are_handed_over_as_one_argument_each(command) -> None:
    command("""printf '{"snapshots": []}'; printf '%s\\n' "$@" > "$FLEETMART_HOME/asked" """)
    assert desk_acts.on_case("waive", 3, why="--help\0\r\n; ls", by="-a b", until=None, build=2).answer
    asked = Path(os.environ["FLEETMART_HOME"], "asked").read_text()
    assert asked == "quality\nwaive\n3\n--why=--help\n; ls\n--by=-a b\n--build=2\n--json\n"


def test_work_that_takes_long_goes_on_by_itself(command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command("""sleep 1; echo said >&2; echo '{}'; echo done > "$FLEETMART_HOME/done" """)
    monkeypatch.setattr(desk_acts, "PATIENCE_SECONDS", 0.1)
    assert desk_acts.on_tenant("release", "north", why="Now.", by="Ada").goes_on
    for _ in range(100):
        if (tmp_path / "done").exists():
            return
        time.sleep(0.1)
    raise AssertionError("it ended with the page")


@pytest.mark.parametrize(
    ("lines", "said", "has_answer", "is_wrong_use"),
    [
        ("echo 'fleetmart: first' >&2; echo 'fleetmart: last' >&2; exit 2", "last", False, True),
        ("echo '{}'; echo 'fleetmart: north was withheld' >&2; exit 1", "north was withheld", True, False),
        ("echo 'Traceback' >&2; exit 1", "The command did not say why", False, False),
        ("echo progress >&2; echo '{}'", "", True, False),
    ],
)
def test_what_the_command_says_is_told(command, lines: str, said: str, has_answer: bool, is_wrong_use: bool) -> None:
    command(lines)
    outcome = desk_acts.on_tenant("release", "north", why="Now.", by="Ada")
    assert (said in outcome.said) and bool(said) == bool(outcome.said)
    assert (outcome.answer is not None, outcome.is_wrong_use) == (has_answer, is_wrong_use)


def test_a_command_that_is_missing_is_said(command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLEETMART_COMMAND", str(tmp_path / "nowhere"))
    assert "not installed" in desk_acts.on_tenant("release", "north", why="Now.", by="Ada").said


def test_what_is_said_of_another_tenant_stays_the_operators(command) -> None:
    said = "The gate could not check what changed of south: out of memory."
    assert "south" not in desk_acts.fit_for(said, "north")
    assert desk_acts.fit_for(said, "south") == said == desk_acts.fit_for(said, OPERATOR)
    assert desk_acts.fit_for("north-and-south is fine", "north") == "north-and-south is fine"


def test_a_release_during_a_run_is_seen_at_once(settings: Settings) -> None:
    """Publishing waits for the run that writes; that the tenant is held back no longer does not."""
    hold_back(settings, WIND, "Ada", "Wait.")
    with writer(settings, "test"):
        act = ("quality", "release", f"--tenant={WIND}", "--why=Go on.", "--by=Ada")
        done = run_fleetmart(settings.home, *act, FLEETMART_LOCK_WAIT_SECONDS="0")
    assert done.returncode == 1 and "Another writer is at work" in done.stderr
    assert query(settings, "select held_at from data_state", WIND).rows == [(None,)]
