"""An alert is asked when its time has come, of its own tenant's data, and tells that tenant's people in its brand.

The demo's records, copied; the tests go on from each other. The mail server is one that the test starts.
"""

import json
import re
import socketserver
import uuid
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from orchestration.settings import ROOT
from tests.attacks.caller import Caller
from tests.conftest import run_fleetmart
from tests.test_notices import Sink, serving, url_of
from tests.test_superset_assets import Pushed, pushed_home

TOLD, OTHERS = "nyc-airports", ("la-haute-borne", "La Haute Borne", "nrel-pv", "NREL", "Fleetmart")
LINK = "https://fleet.example.com/superset/dashboard/"
INCOMPLETE = "fleetmart:incomplete-day:{}".format


@pytest.fixture(scope="module")
def home(fleetmart_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    """Stewards of two tenants have an address in the registry, their executives one of their own."""
    made = pushed_home(fleetmart_home, tmp_path_factory.mktemp("alerts"))
    # Nobody's time comes by itself while these tests run.
    far = f'schedule: "0 {(datetime.now(UTC).hour + 12) % 24} * * *"'
    for file in (made.assets / "alerts").glob("*.yml"):
        file.write_text(re.sub("schedule: .*", far, file.read_text()))
    made.answer("superset", "push")
    tenants = made.registry / "tenants.csv"
    head, *lines = tenants.read_text().splitlines()
    stewards = {TOLD: "steward@airports.example", "la-haute-borne": "steward@wind.example"}
    rows = [f"{line},{stewards.get(line.split(',')[0], '')}" for line in lines]
    tenants.write_text("\n".join([f"{head},steward_email", *rows]) + "\n")
    for tenant in stewards:
        email = f"chief@{tenant}.example"
        made.hands_on("update ab_user set email = ? where username = ?", email, f"{tenant}-executive")
    return made


@pytest.fixture
def mail() -> Any:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Sink)
    server.taken, server.commands, server.refuses = [], [], None
    with serving(server):
        yield server


def asked(home: Pushed, mail: socketserver.BaseServer, code: int = 0) -> dict[str, str]:
    """What came of each alert that was asked."""
    settings = {
        "FLEETMART_SMTP_URL": url_of(mail, "smtp"),
        "FLEETMART_PUBLIC_URL": "https://fleet.example.com",
        "FLEETMART_NOTICE_FROM": "fleet@iot.example",
        "FLEETMART_REGISTRY": str(home.registry),
    }
    done = run_fleetmart(home.home, "superset", "alerts", "--json", **settings)
    assert done.returncode == code, done.stderr[-4000:]
    answer = json.loads(done.stdout)["alerts"]
    assert all(one["text"] in done.stderr for one in answer if one["outcome"] == "failed")
    return {one["name"]: one["outcome"] if code == 0 else one["text"] for one in answer}


def later(home: Pushed, name: str, span: timedelta) -> None:
    """Let it be so long since the alert was asked."""
    at = (datetime.now(UTC) - span).replace(tzinfo=None).isoformat(" ")
    home.hands_on("update report_schedule set last_eval_dttm = ? where name = ?", at, name)


def test_without_a_mail_server_nothing_is_asked(home: Pushed) -> None:
    done = home.run("superset", "alerts", "--json")
    assert done.returncode == 0 and json.loads(done.stdout) == {"alerts": []}
    assert "FLEETMART_SMTP_URL" in done.stderr
    assert home.ask("select count(*) from report_execution_log") == [0]


def test_the_tenant_for_which_it_holds_is_told_once_and_of_nobody_else(home: Pushed, mail: Any) -> None:
    outcomes = asked(home, mail)
    assert outcomes == {
        f"fleetmart:{slug}:{tenant}": "told" if (slug, tenant) == ("incomplete-day", TOLD) else "not so"
        for slug in ("incomplete-day", "silent-devices")
        for tenant in (TOLD, "la-haute-borne", "nrel-pv")
    }
    (message,) = mail.taken
    assert message["From"] == "Tri-Airport Weather <fleet@iot.example>"
    assert message["To"] == f"chief@{TOLD}.example, steward@airports.example"
    assert message["Subject"] == "The latest day is incomplete"
    text = text_of(message)
    board = uuid.UUID(bytes=home.ask("select uuid from dashboards where slug = 'fleet-overview'")[0])
    assert f"{LINK}{board}" in text and "Less than 90 %" in text and "Open in Tri-Airport Weather" in text
    (logo,) = [part for part in message.walk() if part.get_content_type() == "image/png"]
    assert logo.get_content() == (ROOT / "superset/branding/tenants" / TOLD / "mail-logo.png").read_bytes()
    whole = "\n".join([text, *map(str, message.values())])
    assert not [name for name in OTHERS if name in whole]
    assert asked(home, mail) == {}, "its time has not come again"
    assert len(mail.taken) == 1
    found = home.ask("select last_state, last_value from report_schedule where name = ?", INCOMPLETE(TOLD))
    assert found[0][0] == "Success" and 0 < found[0][1] < 0.9
    assert home.answer("superset", "diff")["differences"] == []


def test_what_cannot_be_told_is_said_kept_and_tried_again(home: Pushed, mail: Any) -> None:
    later(home, INCOMPLETE(TOLD), timedelta(days=2))
    with home.opened() as records:
        # it would be quiet for as long as it was told just now
        records.execute("update report_execution_log set end_dttm = '2026-01-01 00:00:00.000000'")
    mail.refuses = "RCPT"
    (told,) = asked(home, mail, code=1).values()
    assert told.startswith(f"alert {INCOMPLETE(TOLD)}: the mail server could not be used (SMTPRecipientsRefused)")
    state = home.ask("select last_state from report_schedule where name = ?", INCOMPLETE(TOLD))
    assert state == ["Error"] and not mail.taken
    mail.refuses = None
    assert asked(home, mail) == {}
    later(home, INCOMPLETE(TOLD), timedelta(minutes=61))
    assert asked(home, mail) == {INCOMPLETE(TOLD): "told"} and len(mail.taken) == 1


def test_a_tenant_whose_people_have_no_address_is_said_to_have_none(home: Pushed, mail: Any) -> None:
    holds = "update report_schedule set validator_config_json = ? where name = ?"
    home.hands_on(holds, json.dumps({"op": ">", "threshold": 0.1}), INCOMPLETE("nrel-pv"))
    later(home, INCOMPLETE("nrel-pv"), timedelta(days=2))
    (told,) = asked(home, mail, code=1).values()
    assert "no executive and steward of nrel-pv has an e-mail address. Give the registry's tenant" in told
    assert not mail.taken


def test_a_tenant_without_data_is_not_asked(home: Pushed, mail: Any) -> None:
    current = home.home / "serving" / TOLD / "current"
    current.rename(current.with_name("kept"))
    later(home, INCOMPLETE(TOLD), timedelta(days=2))
    assert asked(home, mail) == {INCOMPLETE(TOLD): "no data"} and not mail.taken
    current.with_name("kept").rename(current)


def test_only_administrators_find_alerts_in_the_menu(superset_url: str, credentials: dict) -> None:
    found = {}
    for user in credentials["users"]:
        if user["tenant"] in ("operator", TOLD):
            caller = Caller(superset_url).log_in(user["username"], user["password"])
            menu, page = caller.get("/api/v1/menu/").text, caller.get("/alert/list/")
            found[user["username"]] = (
                "Alerts" in menu,
                page.status_code == 200,
                caller.get("/api/v1/report/").status_code,
            )
    assert found.pop("admin") == (True, True, 200)
    assert len(found) == 10 and set(found.values()) == {(False, False, 403)}


def text_of(message: EmailMessage) -> str:
    return "\n".join(part.get_content() for part in message.walk() if part.get_content_maintype() == "text")
