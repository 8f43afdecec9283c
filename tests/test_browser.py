"""What people see: a real browser logs in as each of them and looks at every page it may open.

A Chromium on this machine is used, else Playwright's own; without either these tests are skipped, and in CI fail.
"""

import http.client
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from tests.test_dashboards import ASSETS, MARTS, bundles

# Two cores that serve, draw and look at the same time may be slow: what is awaited is there or never.
PATIENCE_SECONDS = 60
expect.set_options(timeout=PATIENCE_SECONDS * 1000)
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
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
            context = browser.new_context(viewport=DESK, base_url=superset_url)
            context.set_default_timeout(PATIENCE_SECONDS * 1000)
            page = context.new_page()
            page.goto("/login/")
            page.locator("input#username, input[name=username]").first.fill(username)
            page.locator("input[type=password]").fill(password or passwords[username])
            page.locator("button[type=submit]").click()
            page.wait_for_url("**/superset/dashboard/**")
            assert context.request.get("/api/v1/me/").json()["result"]["username"] == username
            page.close()
            kept[username] = context
        return kept[username]

    yield context_of
    for context in kept.values():
        context.close()


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


def test_a_late_refusal_does_not_take_the_place_of_a_log_in(superset_url: str) -> None:
    """What the log-in page reports of itself may be answered after the log-in: with no cookie then."""
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
