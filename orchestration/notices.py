"""Whoever looks after a tenant's data is told of what needs a person: by e-mail, by webhook, once for each case.

What is told is the rule, never a value. What could not be delivered is tried again with the next run, and stops
nothing. A notice whose sender was killed between its delivery and the ledger's note of it comes twice.
"""

import fcntl
import smtplib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

import requests

from orchestration.branding import brand_of, letter, mail_server, named
from orchestration.ledger import ledger, rows
from orchestration.quality_record import NOTICES, record
from orchestration.registry import Registry
from orchestration.settings import Settings

Report = Callable[[str], None]
TIMEOUT_SECONDS = 10
EMAIL, WEBHOOK = "e-mail", "webhook"
LOGO_ID = "logo@brand"
SILENT_SOURCE = "arrival.silent_source."
# Silence withholds nothing, so it is a warning; but nobody would look for what does not come.
DUE = """
select * from quality_cases where state not in ('mended', 'waived') and notified_at is null
and (severity = 'critical' or substr(expectation, 1, ?) = ?) order by case_id
"""


class NotDelivered(Exception):
    """A notice did not reach anybody; the text says why, and holds neither address nor secret."""


class ServerAway(NotDelivered):
    """Nor would any other notice now: the server does not answer, or lets nobody in."""


@dataclass(frozen=True)
class Notice:
    """One case, as those who look after the tenant's data are told of it."""

    case: dict[str, Any]
    tenant_name: str
    steward_email: str | None
    link: str

    @property
    def is_silence(self) -> bool:
        return self.case["expectation"].startswith(SILENT_SOURCE)

    @property
    def payload(self) -> dict[str, Any]:
        """What the webhook gets; `since` is UTC."""
        return {
            "tenant_id": self.case["tenant_id"],
            "tenant_name": self.tenant_name,
            "case_id": self.case["case_id"],
            "rule": self.case["rule"],
            "severity": self.case["severity"],
            "build_id": self.case["last_build_id"],
            "since": f"{self.case['opened_at'].replace(' ', 'T')}Z",
            "link": self.link,
        }


Way = Callable[[Settings, Notice], None]


def tell(settings: Settings, report: Report = lambda line: None) -> set[str]:
    """Tell of each case that needs a person and was not told yet; returns the tenants whose record has new entries."""
    if settings.smtp_url is None and settings.notice_webhook is None:
        return set()
    changed: set[str] = set()
    away: dict[str, str] = {}
    with _alone(settings):
        for notice in _due(settings):
            if _deliver(settings, notice, _ways(settings, notice), away, report):
                changed.add(notice.case["tenant_id"])
    return changed


def _due(settings: Settings) -> list[Notice]:
    cases = rows(settings, DUE, len(SILENT_SOURCE), SILENT_SOURCE)
    if not cases:
        return []
    tenants = {row.tenant_id: row for row in Registry(settings.registry).rows["tenants"]}
    notices = []
    for case in cases:
        tenant = tenants.get(case["tenant_id"])
        name, email = (tenant.tenant_name, tenant.steward_email) if tenant else (case["tenant_id"], None)
        notices.append(Notice(case, name, email, f"{settings.dashboards_url}/quality/cases/{case['case_id']}"))
    return notices


def _ways(settings: Settings, notice: Notice) -> dict[str, Way]:
    """The ways that are set, for this tenant."""
    ways: dict[str, Way] = {}
    if settings.smtp_url and notice.steward_email:
        ways[EMAIL] = _mail
    if settings.notice_webhook:
        ways[WEBHOOK] = _post
    return ways


def _deliver(settings: Settings, notice: Notice, ways: dict[str, Way], away: dict[str, str], report: Report) -> bool:
    """Go each way that has not led to anybody yet, and note what came of it; returns whether that was noted.

    `away` says why a server is not asked again in this run: the others need not wait for it.
    """
    case_id = notice.case["case_id"]
    before = {one["channel"]: one for one in rows(settings, "select * from notices where case_id = ?", case_id)}
    open_ways = {channel for channel in ways if channel not in before or not before[channel]["delivered_at"]}
    is_noted = False
    for channel in sorted(open_ways):
        why = away.get(channel) or _try(settings, notice, channel, ways[channel], away)
        if why is None:
            open_ways.remove(channel)
            report(f"notice {notice.case['tenant_id']}: case {case_id} was told by {channel}")
        else:
            report(f"notice {notice.case['tenant_id']}: case {case_id} could not be told by {channel}: {why}")
        # a server that is away for a day shall not fill the record
        if why is None or channel not in before or before[channel]["failed_why"] != why:
            _note(settings, notice.case, channel, why, is_told=not open_ways)
            is_noted = True
    return is_noted


def _try(settings: Settings, notice: Notice, channel: str, way: Way, away: dict[str, str]) -> str | None:
    """Why nobody was reached; None when somebody was."""
    try:
        way(settings, notice)
    except NotDelivered as error:
        if isinstance(error, ServerAway):
            away[channel] = str(error)
        return str(error)
    return None


def _note(settings: Settings, case: dict[str, Any], channel: str, why: str | None, is_told: bool) -> None:
    action, said = ("notified", f"By {channel}.") if why is None else ("notice failed", f"By {channel}: {why}.")
    with ledger(settings) as connection:
        at = record(connection, case["tenant_id"], NOTICES, action, said, case["case_id"], case["last_build_id"])
        connection.execute(
            "insert or replace into notices values (?, ?, ?, ?)",
            (case["case_id"], channel, at if why is None else None, why),
        )
        if is_told:
            connection.execute("update quality_cases set notified_at = ? where case_id = ?", (at, case["case_id"]))


def _mail(settings: Settings, notice: Notice) -> None:
    """Send to the tenant's steward, encrypted wherever the server offers it."""
    try:
        with mail_server(settings.smtp_url.get_secret_value()) as server:
            server.send_message(message(settings, notice))
    except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError, UnicodeError) as error:
        raise NotDelivered(f"the mail server refused it ({named(error)})") from error
    except (OSError, smtplib.SMTPException) as error:
        raise ServerAway(f"the mail server could not be used ({named(error)})") from error


def message(settings: Settings, notice: Notice) -> EmailMessage:
    """The notice as a person reads it: as plain text, and as HTML in the tenant's brand."""
    case, tenant = notice.case, _one_line(notice.tenant_name)
    brand = brand_of(settings, case["tenant_id"])
    mail = EmailMessage()
    mail["From"], mail["To"] = f'"{brand.brand.name}" <{settings.notice_from}>', notice.steward_email
    mail["Subject"] = f"{tenant}: {_one_line(case['rule'])}"
    mail["Auto-Submitted"] = "auto-generated"
    build = f", build {case['last_build_id']}" if case["last_build_id"] else ""
    what_follows = (
        "Nothing newer can be shown until files come again. The case closes by itself when one has come."
        if notice.is_silence
        else "Readers go on seeing what passed before. Newer data is shown once the rule holds, or the case is waived."
    )
    said = f"Of the data of {tenant}, this does not hold ({case['severity']}{build}):"
    since = f"It was first seen at {case['opened_at'][:19]} UTC. {what_follows}"
    rule, number = _one_line(case["rule"]), f"Case {case['case_id']}"
    mail.set_content(f"{said}\n\n    {rule}\n\n{since}\n\n{number}: {notice.link}\n")
    html, logo = letter(
        brand, logo_id=LOGO_ID, paragraphs=[said, since], emphasis=rule, link=notice.link, does=f"Open {number.lower()}"
    )
    mail.add_alternative(html, subtype="html")
    if logo:
        mail.get_payload()[-1].add_related(logo, "image", "png", cid=f"<{LOGO_ID}>", disposition="inline")
    return mail


def _post(settings: Settings, notice: Notice) -> None:
    """Post to the webhook; an answer other than 2xx is none."""
    try:
        with requests.post(
            settings.notice_webhook.get_secret_value(),
            json=notice.payload,
            timeout=TIMEOUT_SECONDS,
            allow_redirects=False,
            stream=True,  # whatever it says beside its status is not read
        ) as answer:
            status = answer.status_code
    except (requests.RequestException, UnicodeError) as error:
        raise ServerAway(f"the webhook could not be reached ({type(error).__name__})") from error
    if not 200 <= status < 300:
        raise NotDelivered(f"the webhook answered {status}")


def _one_line(text: str) -> str:
    """A header is one line; so is a name within a sentence."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """A run and a watch between runs must not both tell; neither waits for the writer's lock."""
    settings.prepare_home()
    with (settings.home / "notices.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
