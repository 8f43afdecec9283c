"""Alerts that are due, asked one after the other and told by mail: Superset's own command, without a queue.

What each found, and when, stands in Superset's records, which its pages of alerts show. An alert runs as its tenant's
log-in: its question opens that tenant's snapshot, and its mail goes to people of that tenant and wears its brand.
"""

import json
import os
import smtplib
import uuid
from datetime import UTC, datetime, timedelta
from email.mime.multipart import MIMEMultipart
from email.utils import formataddr
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from croniter import croniter
from declared_roles import declared_roles
from mail_server import connected, named
from sqlalchemy import Boolean, DateTime, Integer, String, column, create_engine, select, table
from sqlalchemy.pool import NullPool
from superset_session import ProvisionError, say, superset_started
from tenancy import ROLE_PREFIX, NothingPublished, UnknownCaller, caller_tenant, roles_of, snapshot_of, tenant_of_user

# What could not be asked or told is tried again so much later; the next time of a daily alert would be too late.
AGAIN = timedelta(hours=1)
TROUBLE = {"Error", "Working"}
SCHEDULES = table(
    "report_schedule",
    column("id", Integer),
    column("type", String),
    column("active", Boolean),
    column("crontab", String),
    column("timezone", String),
    column("last_state", String),
    column("last_eval_dttm", DateTime),
)
OUTCOMES = {
    "Success": ("told", "holds; whoever is to know was told."),
    "Not triggered": ("not so", "does not hold."),
    "On Grace": ("told before", "held before, and was told; it is not asked again before its quiet hours are over."),
}


class NotTold(Exception):
    """Nobody could be told; the text says why, and holds no address."""


def run_due(home: Path, records: str) -> list[dict[str, str]]:
    """Ask each alert that is due: its `name`, `outcome`, and all of it as `text`. `records` is Superset's database.

    Superset is only started when there is one. Raises ProvisionError without a mail server.
    """
    if not os.environ.get("FLEETMART_SMTP_URL"):
        raise ProvisionError("Alerts are told by mail, and there is no mail server. Set FLEETMART_SMTP_URL.")
    now = datetime.now(UTC)
    waiting = _due(records, now)
    if not waiting:
        return []
    with superset_started():
        _send_our_way()
        asked = [_run(home, number, now) for number in waiting]
        _forget_old_answers()
        return asked


def _due(records: str, now: datetime) -> list[int]:
    """The ids of alerts whose time came since they were last asked, or that never were."""
    alerts = select(SCHEDULES).where(SCHEDULES.c.type == "Alert", SCHEDULES.c.active.is_(True)).order_by(SCHEDULES.c.id)
    with create_engine(records, poolclass=NullPool).connect() as connection:
        return [row.id for row in connection.execute(alerts) if _is_due(row, now)]


def _is_due(alert: Any, now: datetime) -> bool:
    if alert.last_eval_dttm is None:
        return True
    asked = alert.last_eval_dttm.replace(tzinfo=UTC)
    if alert.last_state in TROUBLE and now - asked >= AGAIN:
        return True
    return croniter(alert.crontab, asked.astimezone(ZoneInfo(alert.timezone))).get_next(datetime) <= now


def _run(home: Path, number: int, now: datetime) -> dict[str, str]:
    from flask import current_app

    # Superset leaves the person of an alert that failed behind.
    with current_app.app_context():
        from superset.reports.models import ReportSchedule

        from superset import db

        alert = db.session.get(ReportSchedule, number)
        name = alert.name
        say(f"alert {name}")
        outcome, text = _ask(home, alert, now)
        return {"name": name, "outcome": outcome, "text": f"alert {name}: {text}"}


def _forget_old_answers() -> None:
    from superset.commands.report.log_prune import AsyncPruneReportScheduleLogCommand

    AsyncPruneReportScheduleLogCommand().run()


def _ask(home: Path, alert: Any, now: datetime) -> tuple[str, str]:
    from superset.commands.exceptions import CommandException
    from superset.commands.report.execute import AsyncExecuteReportScheduleCommand

    from superset import db

    at = now.replace(tzinfo=None)
    if why_not := _no_data(home, alert):
        alert.last_eval_dttm = at
        db.session.commit()
        return "no data", why_not
    try:
        AsyncExecuteReportScheduleCommand(str(uuid.uuid4()), alert.id, at).run()
    except CommandException as error:
        return "failed", f"{_why(error)} It is tried again in an hour."
    db.session.refresh(alert)
    return OUTCOMES.get(alert.last_state, ("failed", f"is left in the state {alert.last_state}."))


def _no_data(home: Path, alert: Any) -> str | None:
    """Why there is nothing to ask yet, which is no failure; None when there is."""
    try:
        for owner in alert.owners:
            snapshot_of(home, tenant_of_user(owner))
    except NothingPublished as error:
        return str(error)
    except UnknownCaller:
        # the alert's own run fails of it, and notes that
        return None
    return None


def _why(error: BaseException) -> str:
    """The reason behind what Superset says, which is the same for everything."""
    told = [one.message for one in getattr(error, "errors", None) or []]
    while error.__cause__ is not None:
        error = error.__cause__
    text = "; ".join(told) or str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".") + "."


def _send_our_way() -> None:
    """Put personas' addresses in their place, and mail as notices do; an alert's own trouble is no tenant's to read."""
    from superset.commands.report.execute import BaseReportState
    from superset.reports.notifications.email import EmailNotification
    from superset.utils import core

    shipped = EmailNotification._get_to
    EmailNotification._get_to = lambda report: ", ".join(_addresses(core.recipients_string_to_list(shipped(report))))
    core.send_mime_email = _deliver
    BaseReportState.send_error = lambda *_: None


def _addresses(told: list[str]) -> list[str]:
    """The addresses behind personas of the tenant that the alert runs as; an address that somebody put there is itself.

    Raises NotificationParamException when there are none.
    """
    from superset.reports.notifications.exceptions import NotificationParamException

    from superset import security_manager

    tenant, personas = caller_tenant(), set(told) & declared_roles()["personas"].keys()
    found = set(told) - personas
    for account in security_manager.get_all_users():
        roles = set(roles_of(account))
        is_of_tenant = {role for role in roles if role.startswith(ROLE_PREFIX)} == {ROLE_PREFIX + tenant}
        # Where nobody gave an address, there is one that leads nowhere.
        if account.active and is_of_tenant and roles & personas and not account.email.endswith(".invalid"):
            found.add(account.email)
    if "steward" in personas and (address := _stewards().get(tenant)):
        found.add(address)
    if not found:
        who = " and ".join(sorted(personas))
        said = (
            f"no {who} of {tenant} has an e-mail address. Give the registry's tenant a steward_email, or a log-in one."
        )
        raise NotificationParamException(said)
    return sorted(found)


def _stewards() -> dict[str, str]:
    """The stewards' addresses of the registry, by tenant."""
    return json.loads(os.environ.get("FLEETMART_STEWARDS") or "{}")


def _deliver(sender: str, addresses: list[str], mail: MIMEMultipart, *_: Any, **__: Any) -> None:
    """Superset's send_mime_email: encrypted wherever the server offers it, and from the tenant's brand."""
    from faces import brand_of_request

    mail.replace_header("From", formataddr((brand_of_request().brand.name, sender)))
    mail.replace_header("Subject", str(mail["Subject"]).strip())
    mail["Auto-Submitted"] = "auto-generated"
    try:
        with connected(os.environ["FLEETMART_SMTP_URL"]) as server:
            server.send_message(mail, sender, addresses)
    except (OSError, smtplib.SMTPException, UnicodeError) as error:
        raise NotTold(f"the mail server could not be used ({named(error)})") from error
