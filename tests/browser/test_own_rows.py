"""What a log-in gives and what it does not: rows, SQL, other people, documents; and the log-in itself."""

import http.client
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, expect

from tests.browser.pages import DESK, OPERATOR, TENANTS, ask, users_of


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
