"""A mail server by its address, used encrypted wherever it offers that; what goes wrong is told without its own words.

Its own words may repeat addresses or log-ins. Notices and alerts both go this way.
"""

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import unquote, urlsplit

TIMEOUT_SECONDS = 10


@contextmanager
def connected(address: str) -> Iterator[smtplib.SMTP]:
    """A server that is ready to take mail, such as smtp://user:password@host:25, or smtps://…

    Raises OSError or SMTPException when there is none, or when it lets nobody in.
    """
    server = _ready(address)
    try:
        yield server
    finally:
        # what was accepted is delivered, however the farewell goes
        with suppress(OSError, smtplib.SMTPException):
            server.quit()


def named(error: Exception) -> str:
    """What went wrong, in a word."""
    code = getattr(error, "smtp_code", None)
    return f"{type(error).__name__} {code}" if isinstance(code, int) else type(error).__name__


def _ready(address: str) -> smtplib.SMTP:
    url, context = urlsplit(address), ssl.create_default_context()
    if url.scheme == "smtps":
        server = smtplib.SMTP_SSL(url.hostname, url.port or 465, timeout=TIMEOUT_SECONDS, context=context)
    else:
        server = smtplib.SMTP(url.hostname, url.port or 25, timeout=TIMEOUT_SECONDS)
    try:
        server.ehlo_or_helo_if_needed()
        if url.scheme == "smtp" and server.has_extn("starttls"):
            server.starttls(context=context)
        if url.username:
            server.login(unquote(url.username), unquote(url.password or ""))
    except BaseException:
        server.close()
        raise
    return server
