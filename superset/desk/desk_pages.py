"""How the desk says things: its templates, with keys, times and counts as people read them."""

import re
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

from faces import face
from flask import get_flashed_messages, url_for
from flask_wtf.csrf import generate_csrf
from jinja2 import Environment, FileSystemLoader, StrictUndefined

# The desk's own, and those of the tenant admin's page, which is made of the same parts.
TEMPLATES = Path(__file__).with_name("templates")
OF_PEOPLE = Path(__file__).parents[1] / "people" / "templates"
NOTHING = "\u2013"


def rendered(template: str, **shown: Any) -> str:
    """One page."""
    return _environment().get_template(template).render(brand=face(), **shown)


def day(value: date | datetime | None) -> str:
    """A day as in "26 Nov 2026"."""
    return f"{value.day} {value:%b %Y}" if value else NOTHING


def instant(value: datetime | None) -> str:
    """A UTC time as in "26 Nov 2026 14:03 UTC"."""
    return f"{day(value)} {value:%H:%M} UTC" if value else NOTHING


def counted(value: int | None) -> str:
    """A count with its thousands apart."""
    return NOTHING if value is None else f"{value:,}"


def worded(action: str) -> str:
    """An entry's action as a person says it, its day like all days here."""
    said = re.sub(r"\d{4}-\d\d-\d\d", lambda found: day(date.fromisoformat(found[0])), action)
    return said[:1].upper() + said[1:]


@cache
def _environment() -> Environment:
    """One of its own: Superset's has other templates of these names' kind, and hands them its own context."""
    environment = Environment(
        loader=FileSystemLoader([TEMPLATES, OF_PEOPLE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"day": day, "instant": instant, "counted": counted, "worded": worded}
    environment.globals |= {
        "url_for": url_for,
        "csrf_token": generate_csrf,
        "confirmations": lambda: get_flashed_messages(category_filter=["desk"]),
    }
    return environment
