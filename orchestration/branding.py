"""Tenants' brands for what is sent from here: the same files, and the same checks, that the dashboards have."""

import sys
from contextlib import AbstractContextManager
from smtplib import SMTP
from typing import Any

from orchestration.settings import ROOT, Settings

# Superset loads this folder by its path as well, for none of the project is installed beside it.
SHARED = str(ROOT / "superset" / "branding")


def brand_of(settings: Settings, tenant_id: str) -> Any:
    """The tenant's brand, dressed; the product's where the tenant has none, or one that may not be shown."""
    _find_shared()
    from brands import brand_or_default

    return brand_or_default(settings.branding, tenant_id)


def letter(dressed: Any, **parts: Any) -> tuple[str, bytes | None]:
    """A mail in the brand, and the logo that goes with it; `parts` are those of brand_mail.letter."""
    _find_shared()
    import brand_mail

    logo = brand_mail.mail_logo(dressed)
    return brand_mail.letter(dressed, **parts), logo.content if logo else None


def mail_server(address: str) -> AbstractContextManager[SMTP]:
    """A server that is ready to take mail; raises OSError or SMTPException when there is none."""
    _find_shared()
    from mail_server import connected

    return connected(address)


def named(error: Exception) -> str:
    """What went wrong with a mail server, without its own words."""
    _find_shared()
    from mail_server import named

    return named(error)


def _find_shared() -> None:
    if SHARED not in sys.path:
        sys.path.append(SHARED)
