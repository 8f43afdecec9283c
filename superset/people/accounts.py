"""A tenant's log-ins: who they are, and what a tenant admin does to them, each act recorded in the same transaction.

The record is Superset's own log of actions, which is only added to. Provisioning leaves alone whom it did not make, and
what was changed of the others since.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from password_rule import why_not
from sqlalchemy import or_
from tenancy import ROLE_PREFIX

ROLES = Path(__file__).resolve().parents[1] / "security" / "roles.yml"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
LONGEST_NAME = 64
ENTRIES_SHOWN = 20
ACTION = "people."


class Refused(Exception):
    """What was not done, and why."""


@dataclass(frozen=True)
class Entry:
    """One act: when, by whom, on whom, what."""

    at: datetime
    who: str
    person: str
    what: str


@cache
def personas() -> tuple[str, ...]:
    """The roles that a person can have, one at a time; neither Superset's own nor the guests' are among them."""
    declared = yaml.safe_load(ROLES.read_text())["personas"]
    return tuple(persona for persona, sets in declared.items() if "look" in sets)


def worded(persona: str) -> str:
    """A persona as people read it."""
    return persona.replace("-", " ").capitalize()


def people_of(tenant_id: str) -> list[Any]:
    """The tenant's people, by name; whoever has another role than a persona's is not among them."""
    return _people(tenant_id).order_by(_user().active.desc(), _user().username).all()


def person_of(tenant_id: str, user_id: int) -> Any | None:
    """One of the tenant's people; None when there is none of this number."""
    return _people(tenant_id).filter(_user().id == user_id).one_or_none()


def persona_of(person: Any) -> str:
    """What the person is in the product; empty when it has no role."""
    return next((role.name for role in person.roles if role.name in personas()), "")


def add(by: Any, tenant_id: str, name: str, shown: tuple[str, str], persona: str, password: str) -> str:
    """Make a log-in of the tenant, and return its name.

    Raises Refused with what to enter instead.
    """
    from superset import security_manager

    if not NAME.fullmatch(name):
        raise Refused("A log-in's name is of small letters, digits, dots and dashes, at most 40.")
    first, last = (part.strip() for part in shown)
    if not first or not last or max(len(first), len(last)) > LONGEST_NAME:
        raise Refused(f"Enter a first and a last name of at most {LONGEST_NAME} characters.")
    # No two tenants can mean the same name: the sign stands in no tenant's key.
    username = f"{name}@{tenant_id}"
    _require_good(password, username)
    roles = _roles(tenant_id, persona)
    if security_manager.find_user(username=username):
        raise Refused(f"There is a log-in {username} already.")
    _record(by, tenant_id, username, "add", f"added as {worded(persona).lower()}")
    if not security_manager.add_user(username, first, last, f"{name}@{tenant_id}.invalid", roles, password):
        raise Refused(f"{username} could not be added. Tell your administrator; the log says why.")
    return username


def give_persona(by: Any, tenant_id: str, person: Any, persona: str) -> None:
    """Let the person be this persona and no other.

    Raises Refused for an unknown one, and for oneself.
    """
    _require_other(by, person)
    roles = _roles(tenant_id, persona)
    _record(by, tenant_id, person.username, "persona", f"made {worded(persona).lower()}")
    person.roles = roles
    _commit()


def set_active(by: Any, tenant_id: str, person: Any, active: bool) -> None:
    """Enable or disable the log-in; a disabled one's sessions end with their next request.

    Raises Refused for oneself.
    """
    _require_other(by, person)
    _record(by, tenant_id, person.username, *(("enable", "enabled") if active else ("disable", "disabled")))
    person.active = active
    _commit()


def set_password(by: Any, tenant_id: str, person: Any, password: str) -> None:
    """Give the log-in another password.

    Raises Refused for one that is no good.
    """
    from superset import security_manager

    _require_good(password, person.username)
    _record(by, tenant_id, person.username, "password", "given a new password")
    security_manager.reset_password(person.id, password)


def entries_of(tenant_id: str) -> list[Entry]:
    """The newest acts on the tenant's people."""
    from superset.models.core import Log

    from superset import db

    told_of = json.dumps({"tenant_id": tenant_id})[:-1] + ","
    logged = (
        db.session.query(Log.dttm, Log.json, _user().username)
        .join(_user(), _user().id == Log.user_id)
        .filter(Log.action.startswith(ACTION), Log.json.startswith(told_of, autoescape=True))
        .order_by(Log.id.desc())
        .limit(ENTRIES_SHOWN)
    )
    return [Entry(at, who, **_said(told)) for at, told, who in logged]


def _said(told: str) -> dict[str, str]:
    return {name: value for name, value in json.loads(told).items() if name in ("person", "what")}


def _people(tenant_id: str) -> Any:
    from superset import db, security_manager

    role = security_manager.role_model
    own = ROLE_PREFIX + tenant_id
    others = _user().roles.any(or_(role.name.notin_([*personas(), own])))
    return db.session.query(_user()).filter(_user().roles.any(role.name == own), ~others)


def _roles(tenant_id: str, persona: str) -> list[Any]:
    from superset import security_manager

    if persona not in personas():
        raise Refused(f"Choose one of {', '.join(map(worded, personas()))}.")
    return [security_manager.find_role(name) for name in (persona, ROLE_PREFIX + tenant_id)]


def _require_good(password: str, username: str) -> None:
    if wrong := why_not(password, username):
        raise Refused(wrong)


def _require_other(by: Any, person: Any) -> None:
    if person.id == by.id:
        raise Refused("This is your own log-in. Another tenant admin can do that, so that one is always left.")


def _record(by: Any, tenant_id: str, username: str, act: str, what: str) -> None:
    """Note who does what to whom; it is written together with the act, or not at all."""
    from superset.models.core import Log

    from superset import db

    told = json.dumps({"tenant_id": tenant_id, "person": username, "what": what})
    db.session.add(Log(action=ACTION + act, user_id=by.id, json=told))


def _commit() -> None:
    from superset import db

    db.session.commit()


def _user() -> Any:
    from superset import security_manager

    return security_manager.user_model
