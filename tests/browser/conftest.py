"""A browser and who is logged in to it.

A Chromium on this machine is used, else Playwright's own; without either these tests are skipped, and in CI fail.
"""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from tests.browser.pages import logged_in


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("FLEETMART_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    # Tenants' host names lead to this machine.
    flags.append("--host-resolver-rules=MAP *.example 127.0.0.1")
    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=found, args=flags)
        except PlaywrightError as error:
            missing = f"No Chromium to test with; install one or set FLEETMART_CHROMIUM. {error}"
            if os.environ.get("CI"):
                pytest.fail(missing)
            pytest.skip(missing)
        yield started
        started.close()


@pytest.fixture(scope="session")
def log_in(browser: Browser, superset_url: str, credentials: dict) -> Iterator[Callable[[str], BrowserContext]]:
    """A browser context that is logged in as this user; each logs in once, through the page."""
    kept: dict[str, BrowserContext] = {}
    passwords = {user["username"]: user["password"] for user in credentials["users"]}

    def context_of(username: str, password: str | None = None) -> BrowserContext:
        if username not in kept:
            page = logged_in(browser, superset_url, username, password or passwords[username])
            kept[username] = page.context
            page.close()
        return kept[username]

    yield context_of
    for context in kept.values():
        context.close()
