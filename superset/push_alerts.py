"""Alerts in Superset: one of its own for each alert of the files and each tenant, and what it holds of them now.

Each is of the tenant's own people in every way: made by the log-in that it runs as, whose snapshot its question opens,
so that security/own_records.py keeps it from other tenants', and a tenant's removal takes it along. Needs an
application context of Superset.
"""

import json
from typing import Any

from alert_files import OWN_ALERTS, TenantAlert
from bundle import Bundle
from differences import State
from superset_session import ProvisionError, set_list

# An alert whose process was killed while it asked may be asked again after so long.
STALLED_SECONDS = 300


def alerts_state() -> State:
    """The alerts that the files brought, those included that have left them, in the words of the files."""
    return {f"alert {record.name}": _state(record) for record in _own_alerts().values()}


def make_alerts(bundle: Bundle, alerts: list[TenantAlert]) -> None:
    """Make the alerts those of the files; what they found and whom they told so far stays.

    Raises ProvisionError for a log-in that is not there.
    """
    from superset.models.core import Database
    from superset.models.dashboard import Dashboard
    from superset.reports.models import ReportSchedule

    from superset import db

    database = db.session.query(Database).filter_by(uuid=bundle.database_uuid).one()
    kept = _own_alerts()
    for alert in alerts:
        record = kept.pop(alert.name, None) or ReportSchedule(name=alert.name, type="Alert")
        # what is asked of the records meanwhile must not write half an alert
        with db.session.no_autoflush:
            record.database = database
            record.dashboard = db.session.query(Dashboard).filter_by(slug=alert.alert.opens).one()
            _set(record, alert)
        db.session.add(record)
    for left in kept.values():
        db.session.delete(left)


def _own_alerts() -> dict[str, Any]:
    from superset.reports.models import ReportSchedule

    from superset import db

    own = db.session.query(ReportSchedule).filter(ReportSchedule.name.startswith(OWN_ALERTS))
    return {record.name: record for record in own.filter(ReportSchedule.type == "Alert")}


def _set(record: Any, alert: TenantAlert) -> None:
    from superset.reports.models import ReportRecipients

    from superset import security_manager

    runs_as = security_manager.find_user(username=alert.username)
    if runs_as is None:
        raise ProvisionError(f"{alert.name} runs as {alert.username}, who is no log-in of Superset's.")
    said = alert.alert
    record.email_subject, record.description, record.sql = said.title, said.description, said.sql
    record.validator_type = "operator"
    record.validator_config_json = json.dumps({"op": said.operator, "threshold": said.threshold})
    record.crontab, record.timezone, record.active = said.schedule, "UTC", True
    record.grace_period, record.working_timeout = int(said.quiet_hours * 3600), STALLED_SECONDS
    record.report_format, record.chart = "TEXT", None
    record.created_by_fk = runs_as.id
    set_list(record, "owners", [runs_as])
    if _told(record) != said.tells:
        # Personas stand for addresses; whose they are is looked up when something is told: run_alerts.py.
        target = json.dumps({"target": ", ".join(said.tells)})
        told = ReportRecipients(type="Email", recipient_config_json=target, created_by_fk=runs_as.id)
        record.recipients = [told]


def _state(record: Any) -> dict[str, Any]:
    """One alert of Superset's, in the words of the files."""
    condition = json.loads(record.validator_config_json or "{}")
    runs_as = {*(owner.username for owner in record.owners), record.created_by.username if record.created_by else None}
    return {
        "title": record.email_subject,
        "description": record.description,
        "sql": record.sql,
        "condition": {"is": condition.get("op"), "value": condition.get("threshold")},
        "schedule": record.crontab if record.timezone == "UTC" else f"{record.crontab} of {record.timezone}",
        "quiet hours": (record.grace_period or 0) / 3600,
        "tells": _told(record),
        "opens": _opened(record),
        "runs as": sorted(runs_as, key=str),
        "active": bool(record.active),
    }


def _told(record: Any) -> list[str]:
    """Personas, and whatever else somebody put there."""
    from superset.utils.core import recipients_string_to_list

    told = set()
    for recipient in record.recipients:
        named = json.loads(recipient.recipient_config_json or "{}")
        kind = "" if recipient.type == "Email" else f"{recipient.type}: "
        for key in ("target", "ccTarget", "bccTarget"):
            told |= {f"{kind}{name}" for name in recipients_string_to_list(named.get(key))}
    return sorted(told)


def _opened(record: Any) -> str | None:
    if record.chart is not None:
        return f"chart {record.chart.slice_name!r}"
    return record.dashboard.slug if record.dashboard else None
