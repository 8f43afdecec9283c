"""The portal: dashboards inside a customer's product."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.pages import BOARDS, DESK, PATIENCE_SECONDS, PHONE, TENANTS, assert_no_barrier, names_in, see
from tests.conftest import FLEETMART, environment_of, run_fleetmart, wait_for


@pytest.fixture
def portal(superset_url: str, portal_port: int, fleetmart_home: Path, browser: Browser) -> Iterator[str]:
    """`fleetmart portal` of a wind farm, as its operator starts it."""
    tenant = TENANTS[0]
    made = run_fleetmart(fleetmart_home, "embed-key", "--tenant", tenant, "--rotate")
    ports = {"FLEETMART_PORTAL_PORT": str(portal_port), "FLEETMART_PUBLIC_URL": superset_url}
    environment = environment_of(fleetmart_home) | ports | {"FLEETMART_EMBED_KEY": made.stdout.strip()}
    log = fleetmart_home / "portal.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [FLEETMART, "portal", "--tenant", tenant], env=environment, stdout=output, stderr=output
        )
    try:
        wait_for(f"http://127.0.0.1:{portal_port}/", server, log)
        yield f"http://127.0.0.1:{portal_port}"
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=30) == 0


@pytest.mark.parametrize(("size", "first"), [(DESK, "fleet-overview"), (PHONE, "fleet-pocket")], ids=["desk", "phone"])
def test_a_customers_product_shows_its_dashboards(
    browser: Browser, portal: str, fleetmart_home: Path, size: dict, first: str
) -> None:
    context = browser.new_context(viewport=size)
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(portal)
    slugs = [first, *sorted({"fleet-overview", "fleet-pocket", "device-explorer"} - {first})]
    # Whoever clicks on and on is shown what was clicked last.
    for slug in [*slugs, *slugs]:
        page.locator(f"[data-dashboard={slug}]").click()
    for slug in slugs:
        tab = page.locator(f"[data-dashboard={slug}]")
        tab.click()
        expect(tab).to_have_attribute("aria-current", "page")
        frame = page.frame_locator(f"main iframe[title='{tab.inner_text()}']")
        charts = frame.locator(".chart-slice")
        expect(charts).to_have_count(len(BOARDS[slug].charts))
        seen = " ".join(see(page, charts.nth(number)) for number in range(len(BOARDS[slug].charts)))
        assert any(name in seen for name in names_in(fleetmart_home, TENANTS[0]))
        assert not any(name in seen for name in names_in(fleetmart_home, TENANTS[1]))
        assert frame.locator(".ant-alert-error, [data-test=error-alert], .dashboard-markdown a:visible").count() == 0
        for place in (page.locator("html"), frame.locator("html")):
            assert place.evaluate("place => place.scrollWidth") <= size["width"], f"{slug} scrolls sideways"
    assert {urlsplit(url).hostname for url in asked if url.startswith("http")} == {"127.0.0.1"}
    assert not context.cookies()
    assert_no_barrier(page)
    context.close()
