"""What people make in Superset: theirs, their tenant's to see, and to every other tenant as if it were not there."""

import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
import requests

from orchestration.settings import ROOT
from tests.test_desk import Visitor, token_of

WIND, WEATHER, SUN = "la-haute-borne", "nyc-airports", "nrel-pv"
TITLE = "Our own turbines, seen by us alone"
# Names that stay taken: a home may be looked at by more than one run.
RUN = secrets.token_hex(3)
MINE, TAKEN_ALONG, GRACE = f"mine{RUN}", f"pq{RUN}", f"grace-{RUN}"
PERSONAS = ("executive", "analyst", "engineer", "steward", "tenant-admin")
TABLES = """
import json
from superset.app import create_app
app = create_app()
with app.app_context():
    import own_records as own
    names = {model.__tablename__ for model in own._models()}
    sets = (own.BY_CREATOR, own.BY_USER, own.SPECIAL, own.SELDOM_BY_CREATOR, own.SELDOM_BY_USER, own.OPEN)
    print(json.dumps({"there": sorted(names), "listed": sorted(name for one in sets for name in one)}))
"""


class Person(Visitor):
    """Somebody's log-in, with the interface that the pages use."""

    def __init__(self, url: str, username: str, password: str) -> None:
        super().__init__(url)
        self.username = username
        self.log_in(username, password)
        self.session.headers["Referer"] = url
        self.session.headers["X-CSRFToken"] = self.ask("/api/v1/security/csrf_token/").json()["result"]
        self.id = self.ask("/api/v1/me/").json()["result"]["id"]

    def ask(self, path: str, method: str = "get", **body: object) -> requests.Response:
        return self.session.request(method, self.url + path, json=body or None, timeout=60)

    def make(self, kind: str, **properties: object) -> int:
        made = self.ask(f"/api/v1/{kind}/", "post", **properties)
        assert made.status_code == 201, made.text
        return made.json()["id"]

    def dataset(self, name: str) -> int:
        listed = self.ask("/api/v1/dataset/?q=(page_size:100)").json()["result"]
        return next(one["id"] for one in listed if one["table_name"] == name)

    def run_sql(self, statement: str, client_id: str) -> requests.Response:
        wanted = {"database_id": 1, "sql": statement, "schema": "main", "runAsync": False, "client_id": client_id}
        return self.ask("/api/v1/sqllab/execute/", "post", **wanted)


@pytest.fixture(scope="module")
def person(superset_url: str, credentials: dict) -> Callable[[str], Person]:
    """Who has this log-in; each logs in once."""
    passwords = {user["username"]: user["password"] for user in credentials["users"]}
    known: dict[str, Person] = {}

    def person_of(username: str) -> Person:
        if username not in known:
            known[username] = Person(superset_url, username, passwords[username])
        return known[username]

    return person_of


@pytest.fixture(scope="module")
def work(person: Callable[[str], Person]) -> Iterator[dict[str, int]]:
    """A chart, a dashboard and a query that the wind farm's analyst saved; removed by whoever made them."""
    analyst = person(f"{WIND}-analyst")
    params = json.dumps({"viz_type": "big_number_total", "metric": "readings"})
    dataset = analyst.dataset("cube_readings_daily")
    dashboard = analyst.make("dashboard", dashboard_title=TITLE, published=True)
    chart = analyst.make(
        "chart",
        slice_name=TITLE,
        viz_type="big_number_total",
        datasource_id=dataset,
        datasource_type="table",
        params=params,
        dashboards=[dashboard],
    )
    query = analyst.make("saved_query", label=TITLE, db_id=1, schema="main", sql=f"select 1 -- {TITLE}")
    assert analyst.run_sql(f"select '{TITLE}' as mine", MINE).ok
    yield {"dashboard": dashboard, "chart": chart, "saved_query": query, "dataset": dataset}
    for kind, number in (("chart", chart), ("dashboard", dashboard), ("saved_query", query)):
        assert analyst.ask(f"/api/v1/{kind}/{number}", "delete").ok


def test_every_table_of_supersets_records_is_limited_or_open_for_a_reason(fleetmart_home: Path) -> None:
    config = {"SUPERSET_CONFIG_PATH": str(ROOT / "superset" / "superset_config.py")}
    done = subprocess.run(
        [ROOT / ".venv-superset" / "bin" / "python", "-c", TABLES],
        env=os.environ | config | {"FLEETMART_HOME": str(fleetmart_home)},
        cwd=fleetmart_home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["listed"] == found["there"]


def test_own_work_shows_to_ones_own_tenant(person, work: dict[str, int]) -> None:
    for persona in PERSONAS:
        colleague = person(f"{WIND}-{persona}")
        for kind in ("chart", "dashboard"):
            assert TITLE in colleague.ask(f"/api/v1/{kind}/{work[kind]}").text, persona
            assert TITLE in colleague.ask(f"/api/v1/{kind}/?q=(page_size:100)").text, persona
    assert TITLE in person("admin").ask(f"/api/v1/chart/{work['chart']}").text


def test_own_work_is_nothing_to_another_tenant(person, work: dict[str, int]) -> None:
    for other in (f"{WEATHER}-{persona}" for persona in PERSONAS):
        stranger = person(other)
        for kind in ("chart", "dashboard"):
            listed = stranger.ask(f"/api/v1/{kind}/?q=(page_size:100)").json()
            assert TITLE not in json.dumps(listed), other
            assert listed["count"] == len(listed["result"]), other
        paths = [
            f"/api/v1/chart/{work['chart']}",
            f"/api/v1/chart/{work['chart']}/data/",
            f"/api/v1/dashboard/{work['dashboard']}",
            f"/api/v1/dashboard/{work['dashboard']}/charts",
            f"/api/v1/dashboard/{work['dashboard']}/datasets",
            f"/api/v1/explore/?slice_id={work['chart']}",
            f"/superset/dashboard/{work['dashboard']}/",
            f"/api/v1/chart/favorite_status/?q=!({work['chart']})",
            "/api/v1/log/recent_activity/?q=(page_size:100)",
            "/api/v1/saved_query/?q=(page_size:100)",
            "/api/v1/query/?q=(page_size:100)",
        ]
        for path in paths:
            assert TITLE not in stranger.ask(path).text, (other, path)
        for path in paths[:5]:
            assert stranger.ask(path).status_code in (403, 404), (other, path)


def test_what_one_asked_in_sql_is_nothing_to_another_tenants_analyst(person, work: dict[str, int]) -> None:
    owner, stranger = person(f"{WIND}-analyst"), person(f"{WEATHER}-analyst")
    assert TITLE in owner.ask("/api/v1/query/?q=(page_size:100)").text
    assert TITLE in owner.ask(f"/api/v1/sqllab/export/{MINE}/").text
    for path in (
        f"/api/v1/sqllab/export/{MINE}/",
        f"/export/sql/{MINE}.xlsx",
        f"/export/sql/{MINE}.parquet",
        f"/api/v1/saved_query/{work['saved_query']}",
    ):
        answer = stranger.ask(path)
        assert answer.status_code in (403, 404) and TITLE not in answer.text, path


def test_nobody_hands_work_to_another_tenant(person, work: dict[str, int]) -> None:
    analyst, stranger = person(f"{WIND}-analyst"), person(f"{WEATHER}-executive")
    for kind in ("chart", "dashboard"):
        answer = analyst.ask(f"/api/v1/{kind}/{work[kind]}", "put", owners=[analyst.id, stranger.id])
        assert answer.status_code == 422, answer.text
        related = analyst.ask(f"/api/v1/{kind}/related/owners?q=(page_size:100)").json()["result"]
        assert stranger.id not in {one["value"] for one in related}
    roles = person("admin").ask("/api/v1/security/roles/?q=(page_size:100)").json()["result"]
    foreign = next(one["id"] for one in roles if one["name"] == f"tenant:{WEATHER}")
    answer = analyst.ask(f"/api/v1/dashboard/{work['dashboard']}", "put", roles=[foreign])
    assert answer.status_code == 422, answer.text


def test_what_the_product_brought_stays_as_it_is(person, work: dict[str, int]) -> None:
    admin = person("admin")
    board = admin.ask("/api/v1/dashboard/fleet-overview").json()["result"]["id"]
    charts = admin.ask("/api/v1/dashboard/fleet-overview/charts").json()["result"]
    chart, dataset = charts[0]["id"], work["dataset"]
    paths = (f"/api/v1/dashboard/{board}", f"/api/v1/chart/{chart}", f"/api/v1/dataset/{dataset}")
    before = [as_it_is(admin, path) for path in paths]
    query = next(
        one["id"]
        for one in admin.ask("/api/v1/saved_query/?q=(page_size:100)").json()["result"]
        if one["label"].startswith("How current")
    )
    for persona in PERSONAS:
        someone = person(f"{WIND}-{persona}")
        tries = [
            someone.ask(f"/api/v1/dashboard/{board}", "put", dashboard_title="Mine"),
            someone.ask(f"/api/v1/chart/{chart}", "put", slice_name="Mine"),
            someone.ask(f"/api/v1/chart/{chart}", "put", query_context="{}", query_context_generation=True),
            someone.ask(f"/api/v1/chart/{chart}", "delete"),
            someone.ask(f"/api/v1/chart/?q=!({chart})", "delete"),
            someone.ask(f"/api/v1/dataset/{dataset}", "put", description="Mine"),
            someone.ask("/api/v1/dataset/", "post", database=1, table_name="mine", schema="main", sql="select 1"),
            someone.ask(f"/api/v1/saved_query/{query}", "put", label="Mine"),
            someone.ask(f"/api/v1/saved_query/{query}", "delete"),
            someone.ask("/api/v1/dashboard/import/", "post"),
        ]
        assert {answer.status_code for answer in tries} <= {401, 403, 404}, [answer.text for answer in tries]
        # Before it asks whose the dashboard is, Superset names the alerts that lead to it: one's own tenant's alone.
        deleted = someone.ask(f"/api/v1/dashboard/{board}", "delete")
        assert deleted.status_code in (403, 422) and SUN not in deleted.text, deleted.text
    own = person(f"{WIND}-analyst")
    joined = own.ask(f"/api/v1/chart/{work['chart']}", "put", dashboards=[work["dashboard"], board])
    assert joined.status_code == 403, joined.text
    assert [as_it_is(admin, path) for path in paths] == before


def as_it_is(admin: Person, path: str) -> dict:
    """What there is, without how long ago it was changed."""
    return {name: value for name, value in admin.ask(path).json()["result"].items() if "humanized" not in name}


def test_ones_own_dashboard_takes_no_address(person, work: dict[str, int]) -> None:
    analyst = person(f"{WIND}-analyst")
    taken = analyst.ask("/api/v1/dashboard/", "post", dashboard_title="Mine", slug="our-wind")
    assert taken.status_code == 422 and "address of their own" in taken.text
    changed = analyst.ask(f"/api/v1/dashboard/{work['dashboard']}", "put", slug="our-wind")
    assert changed.status_code == 422 and "address of their own" in changed.text


def test_colleagues_look_at_ones_work_and_do_not_change_it(person, work: dict[str, int]) -> None:
    colleague = person(f"{WIND}-engineer")
    for kind, changed in (("chart", {"slice_name": "Mine"}), ("dashboard", {"dashboard_title": "Mine"})):
        assert colleague.ask(f"/api/v1/{kind}/{work[kind]}", "put", **changed).status_code == 403
        assert colleague.ask(f"/api/v1/{kind}/{work[kind]}", "delete").status_code == 403


def test_examples_are_every_analysts_and_run(person, fleetmart_home: Path) -> None:
    for place, tenant in enumerate((WIND, WEATHER, SUN)):
        analyst = person(f"{tenant}-analyst")
        listed = analyst.ask("/api/v1/saved_query/?q=(page_size:100)").json()["result"]
        examples = [one for one in listed if one["label"] != TITLE]
        assert len(examples) >= 12 and all(one["description"] for one in examples)
        empty = []
        for number, example in enumerate(examples):
            ran = analyst.run_sql(example["sql"], f"{RUN}{place}{number:02}")
            assert ran.ok, (example["label"], ran.text)
            if not ran.json()["data"]:
                empty.append(example["label"])
        # What is perfect has neither invalid nor refused rows to show.
        assert len(empty) <= 2, empty


def test_results_come_as_parquet_and_xlsx_and_hold_the_snapshots_rows(person, fleetmart_home: Path, tmp_path) -> None:
    analyst = person(f"{WIND}-analyst")
    statement = "select device_name, count(*) as readings, max(measured_at) as last_at from fct_readings group by 1"
    assert analyst.run_sql(f"{statement} order by 1", TAKEN_ALONG).ok
    written = analyst.ask(f"/export/sql/{TAKEN_ALONG}.parquet")
    assert written.ok and "attachment" in written.headers["content-disposition"]
    file = tmp_path / "results.parquet"
    file.write_bytes(written.content)
    snapshot = (fleetmart_home / "serving" / WIND / "current").resolve()
    with duckdb.connect(str(snapshot), read_only=True) as connection:
        expected = connection.execute(f"{statement} order by 1").fetchall()
        assert connection.execute(f"from read_parquet('{file}')").fetchall() == expected
    workbook = analyst.ask(f"/export/sql/{TAKEN_ALONG}.xlsx")
    assert workbook.ok and workbook.content.startswith(b"PK")
    question = {
        "datasource": {"id": analyst.dataset("cube_readings_daily"), "type": "table"},
        "queries": [{"columns": ["device_name"], "metrics": ["readings"], "row_limit": 1000, "orderby": []}],
    }
    chart = analyst.ask("/export/chart.parquet", "post", **question)
    assert chart.ok, chart.text
    file.write_bytes(chart.content)
    with duckdb.connect() as connection:
        shown = connection.execute(f"select * from read_parquet('{file}') order by 1").fetchall()
    assert {name for name, _ in shown} == {name for name, *_ in expected}
    assert analyst.ask("/export/chart.parquet", "post", queries=[]).status_code == 400
    for persona in ("executive", "steward"):
        assert person(f"{WIND}-{persona}").ask(f"/export/sql/{TAKEN_ALONG}.parquet").status_code == 403
    nobody = requests.get(f"{analyst.url}/export/sql/{TAKEN_ALONG}.parquet", allow_redirects=False, timeout=30)
    assert nobody.status_code == 302 and "/login" in nobody.headers["location"]


class Admin(Person):
    """A tenant admin at the page of people."""

    def fill_in(self, path: str, **form: str) -> requests.Response:
        """Send a form of the page; the page that follows it."""
        form["csrf_token"] = token_of(self.get("/people/").text)
        answer = self.session.post(self.url + path, data=form, allow_redirects=False, timeout=60)
        return self.get(answer.headers["location"]) if answer.status_code == 303 else answer


@pytest.fixture(scope="module")
def tenant_admin(superset_url: str, credentials: dict) -> Admin:
    user = next(user for user in credentials["users"] if user["username"] == f"{SUN}-tenant-admin")
    return Admin(superset_url, user["username"], user["password"])


PASSWORD = "quite-a-long-secret"
NEW = {"name": GRACE, "first": "Grace", "last": "Solar", "persona": "engineer", "password": PASSWORD}


def test_the_page_of_people_is_the_tenant_admins_alone(person, tenant_admin: Admin, superset_url: str) -> None:
    page = tenant_admin.get("/people/")
    assert page.status_code == 200 and "script-src" not in page.headers["content-security-policy"]
    for persona in PERSONAS:
        assert f"{SUN}-{persona}" in page.text
    assert WIND not in page.text and WEATHER not in page.text and ">admin<" not in page.text
    for persona in ("executive", "analyst", "engineer", "steward"):
        assert person(f"{SUN}-{persona}").get("/people/").status_code == 403
        assert person(f"{SUN}-{persona}").get("/api/v1/security/users/").status_code == 403
    assert requests.get(f"{superset_url}/people/", allow_redirects=False, timeout=30).status_code == 302
    assert tenant_admin.get("/api/v1/security/users/").status_code == 403
    assert tenant_admin.get("/users/").status_code in (302, 403)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"password": "too short"}, "at least 12 characters"),
        ({"password": f"this-is-{GRACE}"}, "name of its log-in"),
        ({"persona": "Admin"}, "Choose one of"),
        ({"persona": f"tenant:{WIND}"}, "Choose one of"),
        ({"name": f"{GRACE}@la-haute-borne"}, "small letters"),
        ({"first": " "}, "first and a last name"),
    ],
)
def test_a_log_in_that_is_wrong_is_not_made(tenant_admin: Admin, changed: dict[str, str], said: str) -> None:
    answer = tenant_admin.fill_in("/people/", **NEW | changed)
    assert answer.status_code == 400 and said in answer.text
    assert f"{GRACE}@{SUN}" not in tenant_admin.get("/people/").text


def test_a_tenant_admins_people_live_and_end_as_it_says(
    person, tenant_admin: Admin, fleetmart_home, superset_url
) -> None:
    username = f"{GRACE}@{SUN}"
    assert f"{username} is added" in tenant_admin.fill_in("/people/", **NEW).text
    assert "There is a log-in" in tenant_admin.fill_in("/people/", **NEW).text
    grace = Person(superset_url, username, PASSWORD)
    assert grace.get("/superset/dashboard/device-explorer/").status_code == 200
    assert grace.get("/sqllab/").status_code in (302, 403)
    own = f"/people/{grace.id}"

    assert "is analyst now" in tenant_admin.fill_in(f"{own}/persona", persona="analyst").text
    assert grace.run_sql("select 1", f"g1{RUN}").ok
    assert tenant_admin.fill_in(f"{own}/persona", persona="Admin").status_code == 400

    provisioned = subprocess.run(
        [ROOT / ".venv-superset" / "bin" / "python", "-P", ROOT / "superset" / "provision.py", "push", "--force"],
        env=os.environ | {"FLEETMART_HOME": str(fleetmart_home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert provisioned.returncode == 0, provisioned.stderr[-2000:]
    assert grace.run_sql("select 1", f"g2{RUN}").ok, "provisioning took away what the tenant admin gave"

    assert "is disabled" in tenant_admin.fill_in(f"{own}/disable").text
    assert grace.get("/api/v1/me/").status_code == 401
    assert grace.get("/superset/dashboard/device-explorer/").status_code in (302, 401)
    with pytest.raises(AssertionError):
        Person(superset_url, username, PASSWORD)
    assert "may log in again" in tenant_admin.fill_in(f"{own}/enable").text
    assert "has a new password" in tenant_admin.fill_in(f"{own}/password", password="another-good-secret").text
    Person(superset_url, username, "another-good-secret")
    with pytest.raises(AssertionError):
        Person(superset_url, username, PASSWORD)

    record = tenant_admin.get("/people/").text.split("Who did what")[1]
    for what in ("Added as engineer", "Made analyst", "Disabled", "Enabled", "Given a new password"):
        assert what in record
    assert username not in person(f"{WIND}-tenant-admin").get("/people/").text
    tenant_admin.fill_in(f"{own}/disable")


def test_a_tenant_admin_reaches_nobody_elses_people(person, tenant_admin: Admin) -> None:
    for username in (f"{WIND}-executive", "admin", "operator-analyst"):
        other = person(username)
        for act, form in (("disable", {}), ("password", {"password": PASSWORD}), ("persona", {"persona": "steward"})):
            assert tenant_admin.fill_in(f"/people/{other.id}/{act}", **form).status_code == 404, username
        assert tenant_admin.get(f"/people/{other.id}").status_code == 404
        assert other.get("/api/v1/me/").status_code == 200


def test_the_last_tenant_admin_cannot_lock_itself_out(tenant_admin: Admin) -> None:
    for act, form in (("disable", {}), ("persona", {"persona": "executive"})):
        answer = tenant_admin.fill_in(f"/people/{tenant_admin.id}/{act}", **form)
        assert answer.status_code == 400 and "your own log-in" in answer.text
    assert tenant_admin.get("/people/").status_code == 200
