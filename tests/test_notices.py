"""Whoever looks after a tenant's data is told once of what needs a person, and of a source that fell silent."""

import email
import email.policy
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb
import pytest
from pydantic import ValidationError

from orchestration import silence
from orchestration.cli import main
from orchestration.landing import deliver
from orchestration.ledger import ledger, rows
from orchestration.load import load_waiting
from orchestration.notices import tell
from orchestration.publish import publish_all
from orchestration.published_records import current_records
from orchestration.quality_cases import cases, fail, waive
from orchestration.quality_record import entries
from orchestration.registry import Registry, RegistryError
from orchestration.run import run_waiting
from orchestration.settings import ROOT, Settings
from orchestration.silence import check_silence, watch
from orchestration.sources import read_source
from tests.conftest import free_port, run_fleetmart

METER = sorted((ROOT / "orchestration" / "sample" / "lhb_meter").iterdir())
TENANT, STEWARD, SECRET = "la-haute-borne", "steward@example.com", "s3cr3t"


class Sink(socketserver.StreamRequestHandler):
    """As much of SMTP as a sender needs; `server.refuses` is a command that it answers with an error."""

    def handle(self) -> None:
        self.say("220 sink")
        while command := self.rfile.readline().decode().strip():
            verb = command.split(":")[0].split()[0].upper()
            if verb == self.server.refuses:
                self.say("550 no")
            elif verb == "DATA":
                self.say("354 go on")
                lines = list(iter(self.rfile.readline, b".\r\n"))
                message = b"".join(line.removeprefix(b".") if line[:2] == b".." else line for line in lines)
                self.server.taken.append(email.message_from_bytes(message, policy=email.policy.default))
                self.say("250 taken")
            elif verb == "QUIT":
                return self.say("221 bye")
            else:
                self.server.commands.append(command)
                self.say("250-sink\r\n250 AUTH PLAIN" if verb == "EHLO" else "235 in" if verb == "AUTH" else "250 ok")

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class Hook(BaseHTTPRequestHandler):
    """Keeps what is posted, and answers with `server.status`."""

    def do_POST(self) -> None:
        self.server.taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[socketserver.BaseServer]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def mail() -> Iterator[socketserver.ThreadingTCPServer]:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Sink)
    server.taken, server.commands, server.refuses = [], [], None
    with serving(server):
        yield server


@pytest.fixture
def hook() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.taken, server.status = [], 204
    with serving(server):
        yield server


def url_of(server: socketserver.BaseServer, scheme: str) -> str:
    return f"{scheme}://127.0.0.1:{server.server_address[1]}"


@pytest.fixture
def home(small: Callable[..., Settings]) -> Callable[..., Settings]:
    """A home whose tenants have a steward, with the settings of notices that are asked for."""
    settings = small()
    tenants = settings.registry / "tenants.csv"
    head, *lines = tenants.read_text().splitlines()
    emails = [f"{line},{STEWARD if line.startswith(TENANT) else ''}" for line in lines]
    tenants.write_text("\n".join([f"{head},steward_email", *emails]) + "\n")
    return lambda **more: settings.model_copy(update=Settings(**more).model_dump(include=set(more)))


def open_case(settings: Settings, expectation: str, severity: str = "critical", tenant_id: str = TENANT) -> int:
    result = {
        "tenant_id": tenant_id,
        "expectation": expectation,
        "rule": f"The rule of {expectation}",
        "severity": severity,
        "metric": None,
        "build_id": 7,
        "unexpected_count": 3,
        "checked_at": "2026-01-02 03:04:05.000000",
    }
    with ledger(settings) as connection:
        fail(connection, result)
    return max(case["case_id"] for case in cases(settings))


def acts(settings: Settings) -> list[tuple[str, str]]:
    return [(one["who"], one["action"]) for one in reversed(entries(settings)) if one["who"] == "notices"]


def test_a_case_is_told_once_by_every_way_that_is_set(
    home: Callable[..., Settings], mail: socketserver.ThreadingTCPServer, hook: ThreadingHTTPServer
) -> None:
    settings = home(
        smtp_url=url_of(mail, "smtp"), notice_webhook=url_of(hook, "http"), public_url="https://fleet.example.com/"
    )
    first = open_case(settings, "readings.range")
    open_case(settings, "readings.spikes", "warning")
    said = []
    assert tell(settings, said.append) == {TENANT}
    assert tell(settings) == set()
    assert hook.taken == [
        {
            "tenant_id": TENANT,
            "tenant_name": "La Haute Borne",
            "case_id": first,
            "rule": "The rule of readings.range",
            "severity": "critical",
            "build_id": 7,
            "since": "2026-01-02T03:04:05.000000Z",
            "link": f"https://fleet.example.com/quality/cases/{first}",
        }
    ]
    (message,) = mail.taken
    assert message["To"] == STEWARD and message["From"] == "La Haute Borne <fleetmart@localhost>"
    assert message["Subject"] == "La Haute Borne: The rule of readings.range"
    for kind in ("plain", "html"):
        assert f"https://fleet.example.com/quality/cases/{first}" in message.get_body((kind,)).get_content()
    brand = ROOT / "superset" / "branding" / "tenants" / TENANT
    (logo,) = [part for part in message.walk() if part.get_content_type() == "image/png"]
    assert logo.get_content() == (brand / "mail-logo.png").read_bytes()
    assert logo["Content-ID"].strip("<>") in message.get_body(("html",)).get_content()
    assert acts(settings) == [("notices", "notified")] * 2 and len(said) == 2
    assert [case["notified_at"] is not None for case in cases(settings)] == [True, False]
    second = open_case(settings, "cubes.agree")
    tell(settings)
    assert [one["case_id"] for one in hook.taken] == [first, second] and len(mail.taken) == 2


def test_a_failing_way_is_told_recorded_once_and_tried_again(
    home: Callable[..., Settings], mail: socketserver.ThreadingTCPServer, hook: ThreadingHTTPServer
) -> None:
    settings = home(
        smtp_url=url_of(mail, "smtp").replace("//", f"//fleet:{SECRET}@"),
        notice_webhook=f"{url_of(hook, 'http')}/{SECRET}",
    )
    open_case(settings, "readings.range")
    hook.status, mail.refuses = 500, "RCPT"
    said = []
    for _ in range(3):
        tell(settings, said.append)
    assert len(hook.taken) == 3 and not mail.taken
    assert acts(settings) == [("notices", "notice failed")] * 2, "a server that is away does not fill the record"
    assert any("the webhook answered 500" in line for line in said)
    mail.refuses = None
    tell(settings)
    assert len(mail.taken) == 1 and cases(settings)[0]["notified_at"] is None, "one way still waits"
    hook.status = 200
    tell(settings)
    tell(settings)
    assert (len(mail.taken), len(hook.taken)) == (1, 5) and cases(settings)[0]["notified_at"]
    assert acts(settings)[2:] == [("notices", "notified")] * 2
    assert SECRET not in "".join(said) + json.dumps(entries(settings)) + repr(settings)
    assert any(command.startswith("AUTH") for command in mail.commands)


def test_a_server_that_is_away_is_asked_once_a_run(home: Callable[..., Settings]) -> None:
    settings = home(smtp_url=f"smtp://127.0.0.1:{free_port()}", notice_webhook=f"http://127.0.0.1:{free_port()}/x")
    for number in range(3):
        open_case(settings, f"readings.{number}")
    said = []
    assert tell(settings, said.append) == {TENANT}
    assert len(said) == 6 and all("could not" in line for line in said)
    assert not any(case["notified_at"] for case in cases(settings))


def test_names_cannot_add_headers_or_recipients(
    home: Callable[..., Settings], mail: socketserver.ThreadingTCPServer, hook: ThreadingHTTPServer
) -> None:
    settings = home(smtp_url=url_of(mail, "smtp"))
    tenants = settings.registry / "tenants.csv"
    evil = 'Evil\r\nBcc: thief@example.com\r\n\r\n<b>"Ümlaut"</b>'
    quoted = '"' + evil.replace('"', '""') + '"'
    with tenants.open(newline="") as file:
        text = file.read()
    with tenants.open("w", newline="") as file:
        file.write(text.replace("La Haute Borne", quoted))
    open_case(settings, "readings.range\r\nCc: thief@example.com")
    tell(settings)
    (message,) = mail.taken
    assert message["Bcc"] is None and message["Cc"] is None and message.get_all("To") == [STEWARD]
    assert message["Subject"].startswith("Evil Bcc: thief@example.com") and "Ümlaut" in message["Subject"]
    assert [one.split()[1] for one in mail.commands if one.upper().startswith("RCPT")] == [f"TO:<{STEWARD}>"]


def test_nothing_is_marked_where_nobody_can_be_told(
    home: Callable[..., Settings], mail: socketserver.TCPServer
) -> None:
    for settings in (home(), home(smtp_url=url_of(mail, "smtp"))):
        open_case(settings, "readings.range", tenant_id="nyc-airports")
        assert tell(settings) == set()
        assert not cases(settings)[0]["notified_at"] and acts(settings) == []
    assert not mail.taken


def test_a_waived_case_is_not_told(home: Callable[..., Settings], hook: ThreadingHTTPServer) -> None:
    settings = home(notice_webhook=url_of(hook, "http"))
    waive(settings, open_case(settings, "readings.range"), "anna", "Known.", date(2999, 1, 1))
    assert tell(settings) == set() and not hook.taken


@pytest.mark.parametrize("address", ["nobody", "a@b, c@d", "a@b\nBcc: c@d", "A <a@b.c>", "a b@c.d"])
def test_an_address_is_one_address(address: str, home: Callable[..., Settings]) -> None:
    settings = home()
    tenants = settings.registry / "tenants.csv"
    tenants.write_text(tenants.read_text().replace(STEWARD, f'"{address}"'))
    with pytest.raises(RegistryError, match="steward_email"):
        Registry(settings.registry)


def test_who_is_told_changes_no_build(home: Callable[..., Settings]) -> None:
    settings = home()
    registry = Registry(settings.registry)
    tenants = settings.registry / "tenants.csv"
    tenants.write_text(tenants.read_text().replace(STEWARD, "other@example.com"))
    assert Registry(settings.registry).fingerprint == registry.fingerprint
    with duckdb.connect() as connection:
        registry.write_to(connection, [])
        columns = [row[0] for row in connection.execute("describe registry.tenants").fetchall()]
    assert "steward_email" not in columns


@pytest.mark.parametrize(
    ("name", "value"),
    [("smtp_url", f"http://u:{SECRET}@host"), ("smtp_url", SECRET), ("notice_webhook", f"ftp://host/{SECRET}")],
)
def test_a_wrong_address_of_a_server_is_told_without_it(name: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        Settings(**{name: value})
    done = run_fleetmart(tmp_path / "home", "status", **{f"FLEETMART_{name.upper()}": value})
    assert done.returncode == 2 and f"FLEETMART_{name.upper()}" in done.stderr and SECRET not in done.stderr


def expect_files(settings: Settings, span: str) -> None:
    path = settings.sources / "lhb_meter.yml"
    path.write_text(f"{path.read_text()}arrives_every: {span}\n")


def later(monkeypatch: pytest.MonkeyPatch, instant: str) -> None:
    monkeypatch.setattr(silence, "now", lambda: instant)


def test_a_silent_source_is_told_and_mended_when_a_file_has_come(
    home: Callable[..., Settings], hook: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = home(notice_webhook=url_of(hook, "http"))
    expect_files(settings, "1 hour")
    deliver(settings, "lhb_meter", [METER[0]])
    run_waiting(settings)
    assert watch(settings) == [], "its data is of 2014, but it came just now"
    received = rows(settings, "select max(received_at) as at from loads")[0]["at"]
    tomorrow = f"2400{received[4:]}"
    later(monkeypatch, tomorrow)
    (case,) = watch(settings)
    assert (case["expectation"], case["severity"]) == ("arrival.silent_source.lhb_meter", "warning")
    assert case["rule"] == "Files of lhb_meter come every 1 hour" and case["last_build_id"] is None
    assert [one["case_id"] for one in watch(settings)] == [case["case_id"]], "it is joined while it lasts"
    assert [(one["case_id"], one["build_id"]) for one in hook.taken] == [(case["case_id"], None)]
    with duckdb.connect(str(current_records(settings, TENANT)), read_only=True) as records:
        states = records.execute("select state from quality_cases where expectation = $1", [case["expectation"]])
        assert states.fetchall() == [("open",)], "readers see it at once"
    monkeypatch.undo()
    deliver(settings, "lhb_meter", [METER[1]])
    load_waiting(settings)
    publish_all(settings)
    silent = [one for one in cases(settings, closed=True) if one["expectation"].startswith("arrival.silent_source")]
    assert [(one["state"], one["failed_builds"]) for one in silent] == [("mended", 0)]
    record = [(one["who"], one["action"]) for one in entries(settings) if one["case_id"] == case["case_id"]]
    assert record == [("watch", "mended"), ("notices", "notified"), ("watch", "opened")]


def test_silence_is_counted_from_arrival_per_tenant(
    home: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = home()
    expect_files(settings, "10 minutes")
    deliver(settings, "lhb_meter", [METER[0]])
    load_waiting(settings)
    with ledger(settings) as connection:
        connection.execute("update loads set received_at = '2026-01-01 12:00:00.000000'")
    later(monkeypatch, "2026-01-01 12:20:00.000000")
    assert check_silence(settings) == set(), "twice the span is not over"
    later(monkeypatch, "2026-01-01 12:20:00.000001")
    deliver(settings, "lhb_meter", [METER[1]])
    assert check_silence(settings) == set(), "a file waits"
    (settings.landing / "lhb_meter" / METER[1].name).unlink()
    said = []
    assert check_silence(settings, said.append) == {TENANT} and "lhb_meter" in said[0]
    broken = settings.sources / "nyc_weather.yml"
    broken.write_text("source: [")
    assert check_silence(settings, said.append) == set() and "nyc_weather.yml" in said[-1]
    path = settings.sources / "lhb_meter.yml"
    path.write_text(path.read_text().replace("arrives_every: 10 minutes\n", ""))
    assert check_silence(settings) == {TENANT} and cases(settings) == []


@pytest.mark.parametrize(
    ("span", "seconds"), [("90 seconds", 90), ("1 hour", 3600), ("2 days", 172_800), ("1 week", 604_800)]
)
def test_a_span_is_a_number_and_a_unit(span: str, seconds: int, small: Callable[..., Settings]) -> None:
    settings = small()
    digest = read_source(settings.sources / "lhb_meter.yml").digest
    expect_files(settings, span)
    source = read_source(settings.sources / "lhb_meter.yml")
    assert source.arrival_interval.total_seconds() == seconds
    assert source.digest == digest, "it changes nothing of how a file is read"


@pytest.mark.parametrize("span", ["hourly", "0 hours", "1.5 hours", "-1 hour", "3600"])
def test_a_wrong_span_is_told_with_its_line(span: str, small: Callable[..., Settings]) -> None:
    settings = small()
    expect_files(settings, f'"{span}"')
    with pytest.raises(Exception, match=r"lhb_meter\.yml, line \d+, arrives_every: .*10 minutes"):
        read_source(settings.sources / "lhb_meter.yml")


def test_the_command_looks_and_tells(home: Callable[..., Settings], hook: ThreadingHTTPServer) -> None:
    settings = home()
    expect_files(settings, "1 second")
    deliver(settings, "lhb_meter", [METER[0]])
    load_waiting(settings)
    with ledger(settings) as connection:
        connection.execute("update loads set received_at = '2026-01-01 12:00:00.000000'")
    assert {"check", "replay"} <= set(main.commands["quality"].commands)
    done = run_fleetmart(
        settings.home,
        "quality",
        "check",
        "--json",
        FLEETMART_SOURCES=str(settings.sources),
        FLEETMART_REGISTRY=str(settings.registry),
        FLEETMART_NOTICE_WEBHOOK=url_of(hook, "http"),
    )
    assert done.returncode == 0, done.stderr
    assert [one["rule"] for one in json.loads(done.stdout)["silent"]] == ["Files of lhb_meter come every 1 second"]
    assert len(hook.taken) == 1


def test_a_failed_notice_stops_no_publishing(home: Callable[..., Settings]) -> None:
    settings = home(notice_webhook=f"http://127.0.0.1:{free_port()}")
    open_case(settings, "readings.range", tenant_id="nyc-airports")
    deliver(settings, "lhb_meter", [METER[0]])
    said = []
    done = run_waiting(settings, said.append)
    assert [one.tenant_id for one in done.published.snapshots] == [TENANT, "operator"]
    assert any("could not be told by webhook" in line for line in said)
    with duckdb.connect(str(current_records(settings, "nyc-airports")), read_only=True) as records:
        assert ("notice failed",) in records.execute("select action from quality_record").fetchall()
