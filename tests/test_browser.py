"""What people see: a real browser logs in as each of them and looks at every page it may open.

A Chromium on this machine is used, else Playwright's own; without either these tests are skipped, and in CI fail.
"""

import base64
import html
import http.client
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zlib import crc32

import duckdb
import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from orchestration.people import read_credentials
from orchestration.settings import ROOT, Settings
from tests.conftest import FLEETMART, environment_of, run_fleetmart, served, wait_for
from tests.test_dashboards import ASSETS, MARTS, bundles
from tests.test_gate_and_publish import METER, take_in
from tests.test_steward import publish_built, spoiled

sys.path.insert(0, str(ROOT / "superset" / "branding"))
import brand_colors
import brands

# Two cores that serve, draw and look at the same time may be slow: what is awaited is there or never.
PATIENCE_SECONDS = 60
expect.set_options(timeout=PATIENCE_SECONDS * 1000)
DESK, TABLET, PHONE = ({"width": w, "height": h} for w, h in ((1440, 900), (1024, 768), (390, 844)))
BOARDS = bundles.Bundle(ASSETS, MARTS).dashboards
CHARTS = bundles.Bundle(ASSETS, MARTS).charts
OPERATOR = "operator"
TENANTS = ("la-haute-borne", "nyc-airports", "nrel-pv")
OPERATORS_BOARDS = {"storage-and-price"}

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


@pytest.mark.parametrize("slug", sorted(BOARDS))
@pytest.mark.parametrize(
    ("role", "size"),
    [("admin", DESK), ("executive", DESK), ("executive", PHONE), ("analyst", DESK), ("steward", DESK)],
    ids=["admin-desk", "executive-desk", "executive-phone", "analyst-desk", "steward-desk"],
)
def test_each_role_sees_each_dashboard_whole(log_in, credentials, role: str, slug: str, size: dict) -> None:
    operator = next(user for user in users_of(credentials, role) if user["tenant"] == OPERATOR)
    look_at(log_in(operator["username"]), slug, size)


# Labels drawn on a canvas are not among these; an empty cell of a table shows a dash instead of its text.
TOO_SMALL = """
  () => [...document.querySelectorAll('.chart-slice *:not(.dt-is-null)')]
    .filter(part => [...part.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()))
    .filter(part => part.getClientRects().length && !part.closest('.filter-counts'))
    .filter(part => parseFloat(getComputedStyle(part).fontSize) < 14)
    .map(part => part.textContent)
"""
CUT_OFF = """
  () => [...document.querySelectorAll('.big_number')]
    .filter(tile => {
      const lines = [...tile.querySelectorAll('.header-line, .subheader-line')]
        .map(line => line.getBoundingClientRect());
      const box = tile.getBoundingClientRect(), trend = tile.querySelector('canvas')?.getBoundingClientRect();
      // a figure's line is a little higher than its digits
      return lines[0].top < box.top - 3 || lines.at(-1).bottom > (trend?.top ?? box.bottom) + 1;
    })
    .map(tile => tile.textContent)
"""


@pytest.mark.parametrize(("slug", "size"), [("fleet-overview", DESK), ("fleet-pocket", PHONE)], ids=["desk", "phone"])
def test_big_figures_and_what_they_say_are_whole(log_in, slug: str, size: dict[str, int]) -> None:
    page = dashboard_of(log_in("nyc-airports-executive"), slug, size)
    assert page.evaluate(CUT_OFF) == []
    assert size is not PHONE or page.evaluate(TOO_SMALL) == []
    page.close()


def test_everybody_lands_on_the_fleet_overview(log_in, credentials) -> None:
    for user in credentials["users"]:
        answer = log_in(user["username"]).request.get("/")
        assert answer.url.endswith("/superset/dashboard/fleet-overview/")
        assert answer.status == 200


@pytest.mark.parametrize("slug", sorted(OPERATORS_BOARDS))
def test_a_tenants_people_do_not_open_what_is_the_operators(log_in, credentials, slug: str) -> None:
    for user in users_of(credentials, "executive", "analyst", "steward"):
        request = log_in(user["username"]).request
        listed = {board["slug"] for board in request.get("/api/v1/dashboard/?q=(page_size:100)").json()["result"]}
        assert (slug in listed) == (user["tenant"] == OPERATOR), user["username"]
        opened = request.get(f"/api/v1/dashboard/{slug}").status
        assert (opened == 200) == (user["tenant"] == OPERATOR), user["username"]


@pytest.mark.parametrize("slug", sorted(BOARDS.keys() - OPERATORS_BOARDS))
def test_a_tenants_executive_sees_its_own_devices_only(log_in, credentials, fleetmart_home: Path, slug: str) -> None:
    executives = [user for user in users_of(credentials, "executive") if user["tenant"] != OPERATOR]
    names = {user["tenant"]: names_in(fleetmart_home, user["tenant"]) for user in executives}
    for user in executives:
        tenant = user["tenant"]
        size = PHONE if slug == "fleet-pocket" else DESK
        text = look_at(log_in(user["username"]), slug, size)
        others = set().union(*(names[other] for other in names if other != tenant)) - names[tenant]
        assert not {name for name in others if name in text}
        assert any(name in text for name in names[tenant])


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


@pytest.fixture(scope="session")
def dataset_ids(log_in) -> dict[str, int]:
    """Superset's own numbers of the datasets, by name."""
    listed = log_in("admin").request.get("/api/v1/dataset/?q=(page_size:100)").json()["result"]
    return {item["table_name"]: item["id"] for item in listed}


def chart_data(context: BrowserContext, dataset_id: int, columns: list[str], metrics: list[str]) -> tuple[int, dict]:
    """What the charts' own interface answers to this caller."""
    token = context.request.get("/api/v1/security/csrf_token/").json()["result"]
    answer = context.request.post(
        "/api/v1/chart/data",
        headers={"X-CSRFToken": token, "Referer": "http://127.0.0.1/"},
        data={
            "datasource": {"id": dataset_id, "type": "table"},
            "queries": [{"columns": columns, "metrics": metrics, "filters": [], "row_limit": 10000}],
            "result_format": "json",
            "result_type": "full",
        },
    )
    return answer.status, answer.json()


def test_chart_data_are_the_callers_own_rows_and_equal_its_snapshot(
    log_in, credentials, dataset_ids, fleetmart_home: Path
) -> None:
    cube = dataset_ids["cube_readings_daily"]
    for user in users_of(credentials, "executive"):
        context = log_in(user["username"])
        status, answer = chart_data(context, cube, ["tenant_id", "metric"], ["readings", "average"])
        assert status == 200
        got = {(row["tenant_id"], row["metric"]): row for row in answer["result"][0]["data"]}
        expected = ask(
            fleetmart_home,
            user["tenant"],
            "select tenant_id, metric, sum(reading_count), sum(value_sum) / nullif(sum(valid_count), 0) "
            "from cube_readings_daily group by all",
        )
        assert got.keys() == {(tenant, metric) for tenant, metric, *_ in expected}
        for tenant, metric, readings, average in expected:
            assert got[tenant, metric]["readings"] == readings
            assert got[tenant, metric]["average"] == pytest.approx(average, rel=1e-9)
        if user["tenant"] != OPERATOR:
            assert {tenant for tenant, _ in got} == {user["tenant"]}


def test_the_analyst_runs_sql_in_the_page(log_in, credentials) -> None:
    analyst = next(user for user in users_of(credentials, "analyst") if user["tenant"] != OPERATOR)
    page = log_in(analyst["username"]).new_page()
    page.goto("/sqllab/")
    page.get_by_text("Add a new tab").first.click()
    page.locator(".ace_content").first.click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text("select tenant_id, count(*) as readings_counted from fct_readings group by tenant_id")
    page.locator("[data-test='run-query-action']").first.click()
    expect(page.get_by_text("readings_counted", exact=True).first).to_be_visible()
    expect(
        page.get_by_role("gridcell", name=analyst["tenant"]).or_(page.get_by_text(analyst["tenant"], exact=True)).first
    ).to_be_visible()
    assert_no_machinery(page)
    page.close()


ESCAPES = (
    "select * from read_text('/etc/passwd')",
    "attach '{other}' as other",
    "select * from '{other}'",
    "copy dim_sites to '{home}/stolen.csv'",
    "set enable_external_access = true",
    "install httpfs",
    "insert into dim_tenants values ('x', 'x', 'x')",
)


@pytest.mark.parametrize("statement", ESCAPES)
def test_no_sql_leads_out_of_the_tenants_file(log_in, credentials, fleetmart_home: Path, statement: str) -> None:
    analyst = next(user for user in users_of(credentials, "analyst") if user["tenant"] != OPERATOR)
    other = (fleetmart_home / "serving" / OPERATOR / "current").resolve()
    status, answer = run_sql(log_in(analyst["username"]), statement.format(other=other, home=fleetmart_home))
    assert status >= 400 and answer["errors"], answer
    assert not (fleetmart_home / "stolen.csv").exists()


def run_sql(context: BrowserContext, statement: str) -> tuple[int, dict]:
    token = context.request.get("/api/v1/security/csrf_token/").json()["result"]
    answer = context.request.post(
        "/api/v1/sqllab/execute/",
        headers={"X-CSRFToken": token, "Referer": "http://127.0.0.1/"},
        data={"database_id": 1, "sql": statement, "schema": "main", "runAsync": False, "client_id": "test"},
    )
    return answer.status, answer.json()


@pytest.mark.parametrize("role", ["executive", "steward"])
def test_sql_is_for_analysts(log_in, credentials, role: str) -> None:
    for user in users_of(credentials, role):
        context = log_in(user["username"])
        assert context.request.get("/sqllab/").status in (401, 403)
        assert run_sql(context, "select 1")[0] in (401, 403)


def test_people_of_other_tenants_stay_unnamed(log_in, credentials) -> None:
    tenants = {user["tenant"] for user in credentials["users"]} - {OPERATOR}
    for user in users_of(credentials, "executive", "analyst", "steward"):
        context = log_in(user["username"])
        for kind in ("dashboard", "chart", "dataset"):
            for relation in ("owners", "changed_by"):
                listed = context.request.get(f"/api/v1/{kind}/related/{relation}").text()
                assert not {other for other in tenants - {user["tenant"]} if other.replace("-", " ").title() in listed}
        assert context.request.get("/api/v1/security/users/").status == 403


def test_nobody_but_administrators_changes_what_is_shared(log_in, credentials) -> None:
    for user in users_of(credentials, "executive", "analyst", "steward"):
        context = log_in(user["username"])
        token = context.request.get("/api/v1/security/csrf_token/").json()["result"]
        headers = {"X-CSRFToken": token, "Referer": "http://127.0.0.1/"}
        for path in ("/api/v1/chart/1", "/api/v1/dashboard/1", "/api/v1/dataset/1"):
            assert context.request.put(path, headers=headers, data={}).status in (401, 403), path


def test_a_log_in_without_a_tenant_gets_an_error_and_no_rows(log_in, dataset_ids) -> None:
    admin = log_in("admin")
    token = admin.request.get("/api/v1/security/csrf_token/").json()["result"]
    headers = {"X-CSRFToken": token, "Referer": "http://127.0.0.1/"}
    roles = admin.request.get("/api/v1/security/roles/?q=(page_size:100)").json()["result"]
    role = next(item["id"] for item in roles if item["name"] == "executive")
    name, password = f"nobody{time.time_ns()}", "No-Tenant-At-All-1"
    person = {"username": name, "first_name": "No", "last_name": "Body", "email": f"{name}@example.invalid"}
    made = admin.request.post(
        "/api/v1/security/users/",
        headers=headers,
        data={**person, "password": password, "active": True, "roles": [role]},
    )
    assert made.ok, made.text()
    try:
        context = log_in(name, password)
        status, answer = chart_data(context, dataset_ids["cube_readings_daily"], ["tenant_id"], ["readings"])
        assert status >= 400
        assert "does not belong to exactly one tenant" in str(answer)
    finally:
        admin.request.delete(f"/api/v1/security/users/{made.json()['id']}", headers=headers)


def test_data_docs_are_for_stewards_and_administrators_of_the_tenant(log_in, credentials, superset_url: str) -> None:
    for user in credentials["users"]:
        answer = log_in(user["username"]).request.get("/data-docs/")
        if user["role"] in ("steward", "admin"):
            named = {name for name in TENANTS if name in answer.text()}
            assert answer.status == 200
            assert named == (set(TENANTS) if user["tenant"] == OPERATOR else {user["tenant"]})
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "script-src" not in answer.headers["content-security-policy"]
        else:
            assert answer.status == 403
    steward = next(user for user in users_of(credentials, "steward") if user["tenant"] != OPERATOR)
    session = log_in(steward["username"])
    assert session.request.get("/data-docs/nothing-here.html").status == 404
    cookie = "; ".join(f"{item['name']}={item['value']}" for item in session.cookies())
    for path in (
        "/data-docs/../../credentials.json",
        "/data-docs/..%2f..%2f..%2fcredentials.json",
        "/data-docs//etc/passwd",
    ):
        assert raw_status(superset_url, path, cookie) in (400, 403, 404, 308), path
    assert raw_status(superset_url, "/data-docs/", "") == 302


def test_the_page_about_the_models_is_for_everybody_with_a_tenant_and_knows_no_log_in(
    log_in, credentials, superset_url: str
) -> None:
    for user in credentials["users"]:
        answer = log_in(user["username"]).request.get("/data-docs/models/")
        assert answer.status == 200
        policy = answer.headers["content-security-policy"]
        assert "sandbox allow-scripts" in policy and "allow-same-origin" not in policy and "http" not in policy
    assert raw_status(superset_url, "/data-docs/models/", "") == 302
    page = log_in(users_of(credentials, "analyst")[0]["username"]).new_page()
    page.goto("/data-docs/models/#!/model/model.fleetmart.cube_readings_hourly")
    page.get_by_text("Average over time of the valid values").first.wait_for()
    page.close()


def test_a_late_refusal_does_not_take_the_place_of_a_log_in(browser: Browser, superset_url: str) -> None:
    """What the log-in page reports of itself may be answered after the log-in: with no cookie then."""
    context = browser.new_context(viewport=DESK, base_url=superset_url)
    page = context.new_page()
    with page.expect_response("**/superset/log/**") as report:
        page.goto("/login/")
    assert report.value.status == 401 and report.value.header_value("set-cookie") is None
    context.close()
    visitor = requests.Session()
    page = visitor.get(f"{superset_url}/login/")
    assert page.ok and "session" in visitor.cookies
    refused = (
        visitor.post(f"{superset_url}/superset/log/?explode=events", data={"events": "[]"}, allow_redirects=False),
        visitor.get(f"{superset_url}/superset/dashboard/fleet-overview/", allow_redirects=False),
        visitor.get(f"{superset_url}/api/v1/dashboard/", allow_redirects=False),
    )
    for answer in refused:
        assert answer.status_code == 401 or "/login" in answer.headers["location"], answer.url
        assert "set-cookie" not in answer.headers, answer.url


def test_a_wrong_password_is_told(browser: Browser, superset_url: str) -> None:
    context = browser.new_context(viewport=DESK, base_url=superset_url)
    page = context.new_page()
    page.goto("/login/")
    page.locator("input#username, input[name=username]").first.fill("admin")
    page.locator("input[type=password]").fill("not the password")
    page.locator("button[type=submit]").click()
    expect(page.get_by_text("Invalid username or password")).to_be_visible()
    context.close()


def raw_status(url: str, path: str, cookie: str) -> int:
    """The status of a path that a browser would tidy up first."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request("GET", path, headers={"Cookie": cookie})
        return connection.getresponse().status
    finally:
        connection.close()


PAGES = ("/login/", "/dashboard/list/", "/user_info/", "/no/such/page")


def test_the_machinery_is_named_nowhere(browser: Browser, log_in, credentials, superset_url: str) -> None:
    fresh = browser.new_context(viewport=DESK, base_url=superset_url)
    contexts = {fresh: ["/login/", "/no/such/page"], log_in("admin"): [*PAGES, "/databaseview/list/", "/users/"]}
    analyst = next(user for user in users_of(credentials, "analyst"))
    contexts[log_in(analyst["username"])] = [
        *PAGES,
        "/chart/list/",
        "/tablemodelview/list/",
        "/sqllab/",
        "/savedqueryview/list/",
    ]
    for context, paths in contexts.items():
        page = context.new_page()
        for path in paths:
            page.goto(path)
            page.wait_for_load_state("networkidle")
            menu = page.locator("header .ant-menu-submenu-title", has_text="Settings")
            if menu.count():
                menu.first.hover()
                page.wait_for_timeout(400)
            assert_no_machinery(page)
            assert "Fleetmart" in page.title() or page.title() == BOARDS["fleet-overview"].title
        page.close()
    fresh.close()


# Decoded as a browser does it: how many colours a picture has tells whether there is anything on it.
COLOURS = """async ([type, encoded]) => {
  const picture = new Image();
  picture.src = `data:image/${type};base64,${encoded}`;
  await picture.decode();
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [picture.width, picture.height];
  const drawn = canvas.getContext('2d');
  drawn.drawImage(picture, 0, 0);
  const points = drawn.getImageData(0, 0, canvas.width, canvas.height).data;
  const seen = new Set();
  for (let at = 0; at < points.length; at += 4 * 97) seen.add(`${points[at]},${points[at + 1]},${points[at + 2]}`);
  return [seen.size, picture.width, picture.height];
}"""


def colours_of(browser: Browser, content: bytes) -> list[int]:
    """Colours, width and height of a JPEG or PNG."""
    page = browser.new_page()
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    found = page.evaluate(COLOURS, [kind, base64.b64encode(content).decode()])
    page.close()
    return found


PICTURE = re.compile(
    rb"/Width (\d+)\n/Height (\d+)\n.*?/Predictor 1\d .*?/Length (\d+)\n/Filter /FlateDecode\n>>\nstream\n", re.DOTALL
)


def first_picture(pdf: bytes) -> bytes:
    """The first picture of a PDF, which holds the rows of a PNG, as a PNG."""
    found = PICTURE.search(pdf)
    width, height, length = map(int, found.groups())
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", pdf[found.end() : found.end() + length]), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc32(name + data)) for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


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


def test_an_executive_takes_the_fleet_along_as_a_pdf_a_picture_and_workbooks(browser: Browser, log_in) -> None:
    page = dashboard_of(log_in("la-haute-borne-executive"), "fleet-overview", DESK)
    for item in ("Download as Image", "Export to PDF"):
        page.locator("[data-test='actions-trigger']").click()
        # The menu still moves while it opens, so a mouse may be over another item of it.
        page.get_by_role("menuitem", name="Download").dispatch_event("mouseover")
        with page.expect_download() as download:
            # By itself: where the mouse passes over another part of the page, the menu closes.
            page.get_by_role("menuitem", name=item).evaluate("item => item.click()")
        content = Path(download.value.path()).read_bytes()
        if "PDF" in item:
            assert content.startswith(b"%PDF")
            content = first_picture(content)
        colours, width, height = colours_of(browser, content)
        assert colours > 40 and width > 1000 and height > 1000, item
    chart = page.locator(".chart-slice", has_text=CHARTS["overview-headlines"].title).first
    for kind, begin in (("Excel", b"PK"), ("Parquet", b"PAR1")):
        chart.get_by_label("More Options").click()
        page.get_by_role("menuitem", name="Download").dispatch_event("mouseover")
        with page.expect_download() as download:
            page.get_by_role("menuitem", name=f"Export to {kind}").evaluate("item => item.click()")
        assert Path(download.value.path()).read_bytes().startswith(begin), kind
    page.close()


def test_an_executive_filters_the_page_by_a_click_and_drills(log_in) -> None:
    page = dashboard_of(log_in("nyc-airports-executive"), "fleet-overview", DESK)
    site = page.locator(".chart-slice", has_text=CHARTS["overview-sites"].title).locator("td").first
    name = site.inner_text()
    site.scroll_into_view_if_needed()
    for _ in range(20):
        # A chart that is drawn anew takes its open menu along.
        site.click(button="right")
        page.wait_for_timeout(1000)
        if page.get_by_role("menuitem", name="Drill to detail", exact=True).is_visible():
            break
    expect(page.get_by_role("menuitem", name="Drill by")).to_be_enabled()
    page.get_by_role("menuitem", name="Drill to detail", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("Drill to detail")
    page.get_by_role("dialog").get_by_label("Close").first.click()
    with page.expect_request(lambda asked: "chart/data" in asked.url and name in (asked.post_data or "")):
        site.click()
    page.close()


def test_an_engineer_makes_a_chart_without_sql_and_a_colleague_finds_it(log_in) -> None:
    context, name = log_in("la-haute-borne-engineer"), f"Days of {time.time_ns()}"
    page = context.new_page()
    page.set_viewport_size(DESK)
    listed = context.request.get("/api/v1/chart/?q=(page_size:200)").json()["result"]
    shipped = next(one for one in listed if one["slice_name"] == CHARTS["explorer-band"].title)
    page.goto(f"/explore/?slice_id={shipped['id']}")
    expect(page.locator("[data-test='chart-container'] canvas").first).to_be_visible()
    page.locator("[data-test='query-save-button']").click()
    expect(page.get_by_role("radio", name="Save (Overwrite)")).to_be_disabled()
    page.locator("[data-test='new-chart-name']").fill(name)
    page.locator("[data-test='btn-modal-save']").click()
    expect(page.locator("[data-test='save-modal-body']")).to_have_count(0)
    found = {
        user: [one["id"] for one in rows if one["slice_name"] == name]
        for user in ("la-haute-borne-analyst", "nyc-airports-engineer")
        for rows in [log_in(user).request.get("/api/v1/chart/?q=(page_size:200)").json()["result"]]
    }
    assert len(found["la-haute-borne-analyst"]) == 1 and not found["nyc-airports-engineer"]
    token = context.request.get("/api/v1/security/csrf_token/").json()["result"]
    told = {"X-CSRFToken": token, "Referer": page.url}
    assert context.request.delete(f"/api/v1/chart/{found['la-haute-borne-analyst'][0]}", headers=told).ok
    page.close()


def test_an_engineer_compares_metrics_of_devices_on_a_tablet_with_gaps_and_invalid_readings_as_such(log_in) -> None:
    page = dashboard_of(log_in("la-haute-borne-engineer"), "device-explorer", TABLET)
    metrics = page.locator("[data-test='form-item-value']").nth(1)
    metrics.locator(".ant-select").click()
    page.keyboard.type("Outdoor")
    page.locator(".ant-select-item-option", has_text="Outdoor temperature").click()
    hourly = page.locator(".chart-slice", has_text=CHARTS["explorer-hourly"].title)
    points = page.locator(".chart-slice", has_text=CHARTS["explorer-points"].title)
    page.locator("[data-test='filter-bar__apply-button']").click()
    answers = {}
    for slug, chart in (("explorer-hourly", hourly), ("explorer-points", points)):
        with page.expect_response(lambda answer: "chart/data" in answer.url and "force=true" in answer.url) as asked:
            chart.get_by_label("More Options").click()
            page.get_by_role("menuitem", name="Force refresh").click()
        answers[slug] = asked.value.json()["result"][0]
        see(page, chart)
    series = [name for name in answers["explorer-hourly"]["colnames"] if name != "hour_start"]
    assert {name.split(", ")[0] for name in series} == {"Net energy", "Outdoor temperature"}
    assert len({name.split(", ")[1] for name in series}) > 2, "several devices are compared"
    hours = [row["hour_start"] for row in answers["explorer-hourly"]["data"]]
    assert {later - sooner for sooner, later in pairwise(hours)} == {3_600_000}, "a gap is closed"
    assert any(row[name] is None for row in answers["explorer-hourly"]["data"] for name in series)
    shown = {name.split(", ")[0] for name in answers["explorer-points"]["colnames"]}
    assert shown == {"measured_at", "Valid value", "Invalid value"}
    assert page.evaluate("document.documentElement.scrollWidth") <= TABLET["width"]
    page.close()


def test_an_analyst_learns_from_an_example_and_takes_its_result_along(log_in) -> None:
    context = log_in("nyc-airports-analyst")
    page = context.new_page()
    page.goto("/savedqueryview/list/")
    example = "Completeness of each site, week by week"
    expect(page.get_by_text(example)).to_be_visible()
    listed = context.request.get("/api/v1/saved_query/?q=(page_size:100)").json()["result"]
    page.goto(f"/sqllab/?savedQueryId={next(one['id'] for one in listed if one['label'] == example)}")
    expect(page.locator(".ace_content").first).to_contain_text("cube_fleet_recent")
    page.locator("[data-test='run-query-action']").first.click()
    for kind, begin in (("parquet", b"PAR1"), ("xlsx", b"PK")):
        with page.expect_download() as download:
            page.locator(f"[data-test='export-{kind}-button']").click()
        assert Path(download.value.path()).read_bytes().startswith(begin)
    assert_no_machinery(page)
    page.close()


def test_a_tables_meaning_stands_beside_it_in_sql_lab(log_in, fleetmart_home: Path) -> None:
    context = log_in("nyc-airports-analyst")
    asked = "/api/v1/database/1/table_metadata/?name=cube_readings_daily&schema=main"
    told = context.request.get(asked).json()
    assert told["comment"].startswith("One row per tenant, site, device, metric and day")
    assert all(column["comment"] for column in told["columns"])


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_tenant_admin_looks_after_people_at_the_desk_and_on_the_phone(log_in, size: dict[str, int]) -> None:
    page = log_in("nyc-airports-tenant-admin").new_page()
    page.goto("/superset/dashboard/fleet-overview/")
    for name in ("People", "Audit record"):
        expect(page.get_by_role("menuitem", name=name)).to_be_visible()
    page.set_viewport_size(size)
    page.goto("/people/")
    expect(page.get_by_role("heading", name="People")).to_be_visible()
    page.get_by_role("link", name="nyc-airports-executive").click()
    page.locator("summary").filter(has_text="Give a new password").click()
    page.get_by_label("New password").fill("nyc-airports-executive")
    page.get_by_role("button", name="Give").click()
    expect(page.get_by_role("alert")).to_contain_text("must not contain the name")
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert_no_machinery(page)
    page.close()


def test_a_steward_goes_from_the_red_tile_to_the_case_and_lets_the_executives_page_move_on(
    browser: Browser, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path / "home", settle_seconds=0)
    settings.prepare_home()
    take_in(settings, "lhb_meter", METER[0])
    publish_built(settings)
    take_in(settings, "lhb_meter", spoiled(METER[1], tmp_path), METER[1])
    publish_built(settings)
    with served(settings.home) as url:
        passwords = {user["username"]: user["password"] for user in read_credentials(settings)}
        names = (f"la-haute-borne-{role}" for role in ("executive", "steward"))
        executive, steward = (logged_in(browser, url, name, passwords[name]) for name in names)
        executive.goto("/superset/dashboard/fleet-overview/")
        for shown in ("01 Apr 2014", "Newer data is under review"):
            expect(executive.locator(".dashboard")).to_contain_text(shown)

        steward.goto("/superset/dashboard/data-quality/")
        expect(steward.locator(".dashboard")).to_contain_text("Newer data is under review")
        steward.get_by_role("link", name="Work on cases").click()
        steward.get_by_role("row").filter(has_text="Critical").get_by_role("link").first.click()
        expect(steward.locator("h1")).to_contain_text("Each load's values are taken in")
        case = steward.url
        steward.get_by_role("link", name="See the report of build 2").click()
        expect(steward.locator("body")).to_contain_text("Each load's values are taken in")
        steward.goto(case)
        steward.locator("summary").filter(has_text="Waive").click()
        steward.get_by_label("Why may it be waived?").fill("The exporter wrote words; the right file came with it.")
        steward.get_by_label("for build 2 only").check()
        steward.get_by_role("button", name="Waive").click()
        expect(steward.locator("body")).to_contain_text("Waived by la-haute-borne-steward")

        executive.reload()
        for shown in ("01 May 2014", "Passed with a waiver"):
            expect(executive.locator(".dashboard")).to_contain_text(shown)


BRANDS = brands.load_brands(ROOT / "superset" / "branding" / "tenants")
PRODUCT = BRANDS[brands.DEFAULT_KEY]
BRANDED = [dressed for key, dressed in BRANDS.items() if key != brands.DEFAULT_KEY]


def brand_of(user: dict[str, str]) -> brands.Dressed:
    return BRANDS.get(user["tenant"], PRODUCT)


def told(page: str) -> dict[str, Any]:
    """What a page of Superset is told at its start."""
    return json.loads(html.unescape(re.search(r'data-bootstrap="([^"]*)"', page)[1]))["common"]


def assert_wears(page: str, dressed: brands.Dressed) -> None:
    """A page's source is this brand's in every place, and nowhere another's."""
    common, brand, address = told(page), dressed.brand, f"/brand/{dressed.key}/{dressed.digest}/"
    tokens = [common["theme"][mode]["token"] for mode in ("default", "dark")]
    assert [one["brandAppName"] for one in tokens] == [brand.name] * 2
    assert [one["colorPrimary"] for one in tokens] == [brand.colors.light.primary, brand.colors.dark.primary]
    assert [one["brandLogoUrl"] for one in tokens] == [f"{address}logo.svg", f"{address}logo-dark.svg"]
    menu = common["menu_data"]["brand"]
    assert (menu["alt"], menu["tooltip"], menu["icon"]) == (brand.name, brand.name, f"{address}logo.svg")
    (categorical,) = common["extra_categorical_color_schemes"]
    assert (categorical["id"], categorical["colors"]) == ("fleetmart", brand.palettes.categorical)
    sequential = {one["id"]: one["colors"] for one in common["extra_sequential_color_schemes"]}
    assert sequential["fleetmart_depth"] == brand.palettes.depth
    for name in ("favicon.svg", "touch-icon.png", "manifest.json", "brand.css"):
        assert f'href="{address}{name}"' in page, name
    for other in BRANDS.values():
        if other is not dressed:
            assert other.digest not in page and other.brand.tagline not in page
            assert other.brand.colors.light.primary not in page, other.key


def test_each_tenants_people_see_their_own_brand_and_nothing_of_anothers(log_in, credentials) -> None:
    # Twice, so that whatever was kept of one person's page would show in the next one's.
    for user in [*credentials["users"], *credentials["users"]]:
        answer = log_in(user["username"]).request.get("/superset/dashboard/fleet-overview/")
        assert_wears(answer.text(), brand_of(user))
        charts = log_in(user["username"]).request.get("/api/v1/dashboard/fleet-overview/charts").json()["result"]
        picked = [chart["form_data"]["color_picker"] for chart in charts if "color_picker" in chart["form_data"]]
        lines = {rgb("#{r:02X}{g:02X}{b:02X}".format(**color)) for color in picked}
        assert lines == {rgb(brand_of(user).brand.palettes.categorical[0])}
    wearing = {brand_of(user).key for user in credentials["users"]}
    assert wearing == BRANDS.keys(), "two tenants have a brand of their own, the others the product's"


def test_before_log_in_the_host_name_says_whose_brand_it_is(superset_url: str, log_in, credentials) -> None:
    hosts = {host: dressed for dressed in BRANDED for host in dressed.brand.hosts}
    assert len(hosts) >= 2
    for host, dressed in [*hosts.items(), ("elsewhere.example", PRODUCT), *hosts.items()]:
        answer = requests.get(f"{superset_url}/login/", headers={"Host": host}, timeout=60)
        assert_wears(answer.text, dressed)
        error = requests.get(f"{superset_url}/no/such/page", headers={"Host": host}, timeout=60)
        assert error.status_code == 404 and f"/brand/{dressed.key}/{dressed.digest}/logo.svg" in error.text
        assert dressed.brand.name in error.text
        manifest = requests.get(f"{superset_url}/static/assets/pwa-manifest.json", headers={"Host": host}, timeout=60)
        assert manifest.json()["name"] == dressed.brand.name
    weather = next(user for user in users_of(credentials, "executive") if user["tenant"] == "nyc-airports")
    wind_host = BRANDS["la-haute-borne"].brand.hosts[0]
    cookies = {cookie["name"]: cookie["value"] for cookie in log_in(weather["username"]).cookies()}
    page = f"{superset_url}/superset/dashboard/fleet-overview/"
    answer = requests.get(page, headers={"Host": wind_host}, cookies=cookies, timeout=60)
    assert_wears(answer.text, BRANDS["nyc-airports"])


def test_a_brands_files_are_its_own_and_can_do_nothing(superset_url: str) -> None:
    for dressed in BRANDS.values():
        address = f"{superset_url}/brand/{dressed.key}/{dressed.digest}"
        for file in dressed.files.values():
            answer = requests.get(f"{address}/{file.name}", timeout=60)
            assert answer.content == file.content and answer.headers["content-type"].startswith(file.media_type)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy and "sandbox" in policy and "script" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "immutable" in answer.headers["cache-control"] and "set-cookie" not in answer.headers
        manifest = requests.get(f"{address}/manifest.json", timeout=60).json()
        assert manifest["name"] == dressed.brand.name and dressed.digest in manifest["icons"][0]["src"]
        assert dressed.brand.colors.light.primary in requests.get(f"{address}/brand.css", timeout=60).text
        for wrong in ("other.svg", "..%2f..%2fbrand.yml", "faces.py"):
            assert requests.get(f"{address}/{wrong}", timeout=60).status_code == 404
    one, other = BRANDED[:2]
    assert requests.get(f"{superset_url}/brand/{one.key}/{other.digest}/logo.svg", timeout=60).status_code == 404


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("dressed", BRANDS.values(), ids=BRANDS)
def test_colours_are_drawn_as_they_were_checked(
    browser: Browser, superset_url: str, dressed: brands.Dressed, mode: str
) -> None:
    host = (dressed.brand.hosts or ["elsewhere.example"])[0]
    url = f"http://{host}:{urlsplit(superset_url).port}"
    context = browser.new_context(viewport=PHONE, base_url=url, color_scheme=mode)
    page = context.new_page()
    page.goto("/login/")
    button = page.locator("button[type=submit]")
    expect(button).to_be_visible()
    colors = getattr(dressed.brand.colors, mode)
    primary = brand_colors.drawn_dark(colors.primary) if mode == "dark" else colors.primary
    expect(button).to_have_css("background-color", rgb(primary))
    expect(button).to_have_css("color", "rgb(255, 255, 255)")
    assert page.title() == dressed.brand.name
    logo = page.locator("#main-menu img, header img, nav img").first
    expect(logo).to_have_attribute("src", re.compile(f"^/brand/{dressed.key}/{dressed.digest}/logo"))
    assert logo.evaluate("image => image.complete && image.naturalWidth > 0")
    page.goto("/no/such/page")
    expect(page.locator("a.button")).to_have_css("background-color", rgb(primary))
    expect(page.locator("body")).to_have_css("background-color", rgb(colors.canvas))
    context.close()


def rgb(color: str) -> str:
    """A colour as browsers say it."""
    return "rgb({}, {}, {})".format(*(int(color[place : place + 2], 16) for place in (1, 3, 5)))


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("tenant", ["la-haute-borne", "nyc-airports", "nrel-pv"])
def test_our_pages_have_no_serious_barrier(browser: Browser, log_in, superset_url: str, tenant: str, mode: str) -> None:
    def page_of(role: str, path: str) -> Page:
        state = log_in(f"{tenant}-{role}").storage_state()
        fresh = browser.new_context(
            viewport=DESK, base_url=superset_url, color_scheme=mode, bypass_csp=True, storage_state=state
        )
        fresh.set_default_timeout(PATIENCE_SECONDS * 1000)
        page = fresh.new_page()
        page.goto(path)
        return page

    steward, administrator = page_of("steward", "/quality/"), page_of("tenant-admin", "/people/")
    case = steward.locator("a[href*='/quality/cases/']").first
    cases = [case.get_attribute("href")] if case.count() else []
    person = administrator.get_by_role("link", name=f"{tenant}-executive").get_attribute("href")
    look_around(steward, "/quality/", *cases, "/licences", "/no/such/page", "/data-docs/", "/data-docs/builds.html")
    look_around(administrator, "/people/", person, "/audit/")
    for page in (steward, administrator):
        page.context.close()


def look_around(page: Page, *paths: str) -> None:
    """Each of the pages has its style, and no barrier."""
    for path in paths:
        page.goto(path)
        sheets = page.evaluate(
            "[...document.querySelectorAll('link[rel=stylesheet]')].map(one => [one.href, !!one.sheet])"
        )
        assert all(is_there for _, is_there in sheets), f"{page.url}: {sheets}"
        assert_no_barrier(page)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_log_in_page_has_no_serious_barrier(browser: Browser, superset_url: str, mode: str) -> None:
    for dressed in BRANDED:
        url = f"http://{dressed.brand.hosts[0]}:{urlsplit(superset_url).port}"
        fresh = browser.new_context(viewport=PHONE, base_url=url, color_scheme=mode, bypass_csp=True)
        page = fresh.new_page()
        page.goto("/login/")
        expect(page.locator("button[type=submit]")).to_be_visible()
        assert_no_barrier(page)
        fresh.close()


def assert_no_barrier(page: Page) -> None:
    """What axe-core calls serious or critical is not there."""
    results = Axe().run(page)
    assert results.response["passes"], "nothing was looked at"
    found = [one for one in results.response["violations"] if one["impact"] in ("serious", "critical")]
    said = [(one["id"], one["help"], [node["html"] for node in one["nodes"]][:3]) for one in found]
    assert not found, f"{page.url}: {said}"


def test_log_in_and_desk_go_by_keyboard(browser: Browser, credentials, superset_url: str) -> None:
    steward = next(user for user in users_of(credentials, "steward") if user["tenant"] == "la-haute-borne")
    context = browser.new_context(viewport=DESK, base_url=superset_url)
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    page = context.new_page()
    page.goto("/login/")
    expect(page.locator("button[type=submit]")).to_be_visible()
    tab_to(page, "input[name=username], input#username")
    page.keyboard.type(steward["username"])
    tab_to(page, "input[type=password]")
    page.keyboard.type(steward["password"])
    tab_to(page, "button[type=submit]")
    page.keyboard.press("Enter")
    page.wait_for_url("**/superset/dashboard/**")
    page.goto("/quality/")
    page.keyboard.press("Tab")
    expect(page.locator("a.skip")).to_be_focused()
    tab_to(page, "summary")
    page.keyboard.press("Enter")
    tab_to(page, "details[open] textarea")
    page.keyboard.type("By keyboard")
    tab_to(page, "details[open] button")
    context.close()


# What is drawn around or on an element, or the box that it fills, with or without the focus.
LOOK = """e => [e, e.parentElement].map(box => {
  const style = getComputedStyle(box);
  return [style.outline, style.boxShadow, style.borderColor, style.backgroundColor];
}).join()"""


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the first such element has the focus, and see that it shows."""
    wanted = page.locator(selector).first
    for _ in range(60):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            break
    expect(wanted).to_be_focused()
    focused = settled(page, wanted)
    wanted.evaluate("element => element.blur()")
    assert focused != settled(page, wanted), f"nobody sees that {selector} has the focus"
    wanted.focus()


def settled(page: Page, element: Locator) -> str:
    """How an element looks once its transitions are over; where no script may run there is no event to wait for."""
    page.wait_for_timeout(500)
    return element.evaluate(LOOK)


def test_only_the_licence_page_names_the_machinery(browser: Browser, log_in, superset_url: str) -> None:
    page = log_in("la-haute-borne-executive").new_page()
    page.goto("/superset/dashboard/fleet-overview/")
    link = page.locator("a[href='/licences']")
    expect(link).to_have_attribute("title", "Licences")
    page.goto(link.get_attribute("href"))
    for said in ("Apache Superset", "The Apache Software Foundation", "Apache License", "La Haute Borne"):
        expect(page.locator("body")).to_contain_text(said)
    page.goto("/no/such/page")
    assert_no_machinery(page)
    page.close()
    assert requests.get(f"{superset_url}/licences", timeout=60).ok, "whoever may look at it need not log in"


REPORT = """
import json, sys
from superset.app import create_app
app = create_app()
with app.app_context():
    from flask import g
    from superset import security_manager
    from superset.reports.models import ReportRecipients
    from superset.reports.notifications.base import NotificationContent
    from superset.reports.notifications.email import EmailNotification
    mails = {}
    for name in sys.argv[1:]:
        # whoever the last one ran for knows nobody of another tenant
        g.user = None
        g.user = security_manager.find_user(name)
        content = NotificationContent(name="Weekly", header_data={}, url="http://127.0.0.1/x")
        report = EmailNotification(ReportRecipients(recipient_config_json='{"target": "a@example.com"}'), content)
        mail = report._get_content()
        mails[name] = {"body": mail.body, "logo": next(iter(mail.images.values())).hex()}
    print(json.dumps(mails))
"""


def test_a_report_by_mail_wears_the_brand_of_whom_it_runs_for(fleetmart_home: Path, superset_url: str) -> None:
    names = ("la-haute-borne-executive", "nyc-airports-executive", "operator-executive")
    done = subprocess.run(
        [ROOT / ".venv-superset" / "bin" / "python", "-c", REPORT, *names],
        env=environment_of(fleetmart_home) | {"SUPERSET_CONFIG_PATH": str(ROOT / "superset" / "superset_config.py")},
        cwd=fleetmart_home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    mails = json.loads(done.stdout.splitlines()[-1])
    for name in names:
        dressed = BRANDS.get(name.removesuffix("-executive"), PRODUCT)
        body = mails[name]["body"]
        assert f"Open in {dressed.brand.name}" in body and dressed.brand.colors.light.primary in body
        assert bytes.fromhex(mails[name]["logo"]) == dressed.files["mail_logo"].content
        assert not [other.key for other in BRANDS.values() if other is not dressed and other.brand.name in body]


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
    for slug in [first, *({"fleet-overview", "fleet-pocket", "device-explorer"} - {first})]:
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
