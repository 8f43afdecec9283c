"""How a page is looked at: every chart of it seen, all its text read, nothing cut off."""

import re
import sys
import time
from pathlib import Path

import duckdb
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from orchestration.settings import ROOT
from tests.test_dashboards import ASSETS, MARTS, bundles

sys.path.insert(0, str(ROOT / "superset" / "branding"))
import brands

# Two cores that serve, draw and look at the same time may be slow: what is awaited is there or never.
PATIENCE_SECONDS = 60
expect.set_options(timeout=PATIENCE_SECONDS * 1000)
DESK, TABLET, PHONE = ({"width": w, "height": h} for w, h in ((1440, 900), (1024, 768), (390, 844)))
BOARDS = bundles.Bundle(ASSETS, MARTS).dashboards
CHARTS = bundles.Bundle(ASSETS, MARTS).charts
OPERATOR = "operator"
TENANTS = ("la-haute-borne", "nyc-airports", "nrel-pv")
BRANDS = brands.load_brands(ROOT / "superset" / "branding" / "tenants")
PRODUCT = BRANDS[brands.DEFAULT_KEY]
BRANDED = [dressed for key, dressed in BRANDS.items() if key != brands.DEFAULT_KEY]

# One chart, scrolled into view: empty while it still loads, else what a viewer would say of it.
JUDGE = """chart => {
  const text = chart.innerText;
  if (chart.querySelector('.loading, [aria-label="Loading"], [data-test="loading-indicator"]')) return '';
  if (chart.querySelector('[role="alert"], .ant-alert, [data-test="error-message"]')) return 'error: ' + text;
  const empty = chart.querySelector('[aria-label="empty"]');
  if (empty) {
    const said = getComputedStyle(empty.nextElementSibling, '::after').content;
    return said && said !== 'none' ? 'said: ' + said : 'empty: ' + text;
  }
  if (/No data|No results/.test(text)) return 'empty: ' + text;
  const canvas = chart.querySelector('.slice_container canvas');
  const shown = canvas ? canvas.width > 40 : chart.querySelector('.slice_container td, .slice_container .header-line');
  return shown ? 'shown' : '';
}"""


def logged_in(browser: Browser, url: str, username: str, password: str) -> Page:
    """A page of a new context, after a log-in through the page."""
    context = browser.new_context(viewport=DESK, base_url=url)
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    page = context.new_page()
    page.goto("/login/")
    page.locator("input#username, input[name=username]").first.fill(username)
    page.locator("input[type=password]").fill(password)
    page.locator("button[type=submit]").click()
    page.wait_for_url(f"{url}/superset/dashboard/**")
    assert context.request.get("/api/v1/me/").json()["result"]["username"] == username
    return page


def users_of(credentials: dict, *roles: str) -> list[dict[str, str]]:
    return [user for user in credentials["users"] if user["role"] in roles]


def visible_text(page: Page) -> str:
    return page.title() + "\n" + page.evaluate("document.body.innerText")


def look_at(context: BrowserContext, slug: str, size: dict[str, int]) -> str:
    """Open a dashboard, see every chart of it, and return all the text that was seen."""
    board = BOARDS[slug]
    page = context.new_page()
    page.set_viewport_size(size)
    try:
        page.goto(f"/superset/dashboard/{slug}/")
        charts = page.locator(".chart-slice")
        expect(charts).to_have_count(len(board.charts))
        seen = [visible_text(page)]
        for number in range(len(board.charts)):
            seen.append(see(page, charts.nth(number)))
        assert page.locator("[data-test='dashboard-component-chart-holder']").count() == sum(
            len(row["cells"]) for row in board.rows
        )
        assert page.locator(".ant-alert-error, [data-test='error-alert']").count() == 0
        seen.append(visible_text(page))
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= size["width"], f"{slug} scrolls sideways: {width} px"
        assert_no_machinery(page)
        return "\n".join(seen)
    finally:
        page.close()


def see(page: Page, chart: object) -> str:
    """Scroll to one chart, wait until it is there, and return its text."""
    name = chart.get_attribute("data-test-chart-name")
    chart.scroll_into_view_if_needed()
    deadline, judged = time.monotonic() + PATIENCE_SECONDS, ""
    while not judged and time.monotonic() < deadline:
        judged = chart.evaluate(JUDGE)
        if not judged:
            page.wait_for_timeout(100)
    assert judged == "shown" or judged.startswith("said: "), f"{name}: {judged or 'never finished loading'}"
    box = chart.bounding_box()
    assert box["x"] >= -1 and box["x"] + box["width"] <= page.viewport_size["width"] + 1, f"{name} is cut off"
    return f"{chart.inner_text()}\n{judged}"


def assert_no_machinery(page: Page) -> None:
    seen = visible_text(page).lower()
    assert "superset" not in seen, re.findall(r".*superset.*", seen)
    assert page.locator("img[src*='superset-logo'], img[alt*='Superset']").count() == 0


def names_in(home: Path, tenant: str) -> set[str]:
    """Names of a tenant, its sites and its devices."""
    queries = (
        "select tenant_name from dim_tenants",
        "select site_name from dim_sites",
        "select device_name from dim_devices",
    )
    return {row[0] for query in queries for row in ask(home, tenant, query)}


def ask(home: Path, tenant: str, query: str) -> list[tuple]:
    file = (home / "serving" / tenant / "current").resolve()
    with duckdb.connect(str(file), read_only=True, config={"enable_external_access": "false"}) as connection:
        return connection.execute(query).fetchall()


def dashboard_of(context: BrowserContext, slug: str, size: dict[str, int]) -> Page:
    """A dashboard, every chart of it seen once, so that all are there."""
    page = context.new_page()
    page.set_viewport_size(size)
    page.goto(f"/superset/dashboard/{slug}/")
    charts = page.locator(".chart-slice")
    expect(charts).to_have_count(len(BOARDS[slug].charts))
    for number in range(len(BOARDS[slug].charts)):
        see(page, charts.nth(number))
    return page


def assert_no_barrier(page: Page) -> None:
    """What axe-core calls serious or critical is not there."""
    results = Axe().run(page)
    assert results.response["passes"], "nothing was looked at"
    found = [one for one in results.response["violations"] if one["impact"] in ("serious", "critical")]
    said = [(one["id"], one["help"], [node["html"] for node in one["nodes"]][:3]) for one in found]
    assert not found, f"{page.url}: {said}"
