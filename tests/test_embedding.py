"""Dashboards inside other products: who gets a token, what it opens, and everything that it does not."""

import base64
import hmac
import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
import requests
from requests.adapters import HTTPAdapter

from tests.conftest import run_fleetmart
from tests.test_desk import Visitor

TENANT, OTHER = "la-haute-borne", "nyc-airports"
BOARD, OTHER_BOARD = "fleet-pocket", "device-explorer"
REFUSED = (400, 401, 403, 404, 405)


@pytest.fixture(scope="module")
def keys(fleetmart_home: Path) -> dict[str, str]:
    """A key of each of two tenants, as their operator makes them."""
    return {tenant: made_key(fleetmart_home, tenant) for tenant in (TENANT, OTHER)}


def made_key(home: Path, tenant: str) -> str:
    done = run_fleetmart(home, "embed-key", "--tenant", tenant, "--rotate", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["key"]


def asked_token(url: str, key: str | None, body: Any, client: Any = requests) -> requests.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return client.post(f"{url}/embed/token", json=body, headers=headers, timeout=30)


class Guest:
    """Whoever holds this token, as the framed page asks."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.session = url, requests.Session()
        self.session.headers["X-GuestToken"] = token

    def get(self, path: str, **more: Any) -> requests.Response:
        return self.session.get(self.url + path, timeout=60, allow_redirects=False, **more)

    def post(self, path: str, **more: Any) -> requests.Response:
        return self.session.post(self.url + path, timeout=60, allow_redirects=False, **more)

    def board(self, slug: str) -> dict[str, Any]:
        """Number and charts, by title, of the dashboard."""
        found, charts = self.get(f"/api/v1/dashboard/{slug}"), self.get(f"/api/v1/dashboard/{slug}/charts")
        assert found.status_code == charts.status_code == 200, found.text + charts.text
        metadata = json.loads(found.json()["result"]["json_metadata"])
        return {
            "id": found.json()["result"]["id"],
            "charts": {chart["slice_name"]: chart for chart in charts.json()["result"]},
            "filters": metadata["native_filter_configuration"],
        }

    def data(self, asked: dict[str, Any]) -> requests.Response:
        return self.post("/api/v1/chart/data", json=asked)


@pytest.fixture(scope="module")
def guest_of(superset_url: str, keys: dict[str, str]) -> Callable[..., Guest]:
    def make(tenant: str, slug: str = BOARD) -> Guest:
        answer = asked_token(superset_url, keys[tenant], {"dashboard": slug, "user": "ann"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["tenant"] == tenant and answer.headers["cache-control"] == "no-store"
        return Guest(superset_url, answer.json()["token"])

    return make


@pytest.fixture
def guest(guest_of: Callable[..., Guest]) -> Guest:
    return guest_of(TENANT)


@pytest.fixture(scope="module")
def board(guest_of: Callable[..., Guest]) -> dict[str, Any]:
    return guest_of(TENANT).board(BOARD)


def chart_query(board: dict[str, Any], title: str, **changed: Any) -> dict[str, Any]:
    """What the page asks for a table of raw rows, with changes to its one query."""
    form = board["charts"][title]["form_data"]
    conditions = [
        {"col": one["subject"], "op": one["operator"], "val": one["comparator"]} for one in form["adhoc_filters"]
    ]
    query = {
        "columns": form["all_columns"],
        "metrics": [],
        "filters": conditions,
        "orderby": [json.loads(one) for one in form["order_by_cols"]],
        "row_limit": 100,
    }
    return {
        "datasource": {"id": int(form["datasource"].split("__")[0]), "type": "table"},
        "form_data": {**form, "dashboardId": board["id"]},
        "queries": [{**query, **changed}],
        "result_format": "json",
        "result_type": "full",
    }


CHANGES = "Latest day against a week before"


def rows(answer: requests.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return answer.json()["result"][0]["data"]


def snapshot(home: Path, tenant: str, query: str) -> list[tuple]:
    file = (home / "serving" / tenant / "current").resolve()
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.execute(query).fetchall()


LATEST = "select site_name, completeness from cube_fleet_recent where days_before_latest = 0"


@pytest.mark.parametrize("tenant", [TENANT, OTHER])
def test_a_guest_sees_its_own_tenants_rows_as_its_snapshot_holds_them(
    guest_of: Callable[..., Guest], fleetmart_home: Path, tenant: str
) -> None:
    guest = guest_of(tenant)
    found = rows(guest.data(chart_query(guest.board(BOARD), CHANGES)))
    expected = dict(snapshot(fleetmart_home, tenant, LATEST))
    assert {row["site_name"]: row["completeness"] for row in found} == pytest.approx(expected)
    assert guest.get("/api/v1/me/roles/").json()["result"]["username"] == "guest:ann"


def test_the_command_line_mints_the_same(superset_url: str, fleetmart_home: Path) -> None:
    arguments = ("embed-token", "--tenant", TENANT, "--dashboard", BOARD, "--user", "ann")
    done = run_fleetmart(fleetmart_home, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    minted = json.loads(done.stdout)
    assert 0 < minted["expires_at"] - time.time() <= 300
    assert rows(
        Guest(superset_url, minted["token"]).data(
            chart_query(Guest(superset_url, minted["token"]).board(BOARD), CHANGES)
        )
    )


@pytest.mark.parametrize(
    ("tenant", "dashboard", "code"),
    [("nobody", BOARD, 2), (TENANT, "storage-and-price", 1), ("operator", BOARD, 2), (TENANT, "data-quality", 1)],
)
def test_the_command_line_says_what_cannot_be_embedded(
    fleetmart_home: Path, tenant: str, dashboard: str, code: int
) -> None:
    done = run_fleetmart(
        fleetmart_home, "embed-token", "--tenant", tenant, "--dashboard", dashboard, "--user", "ann", "--json"
    )
    assert done.returncode == code and not done.stdout
    assert ("Known are" if code == 2 else "Those that can") in done.stderr


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"dashboard": "storage-and-price", "user": "ann"}, 404),
        ({"dashboard": "data-quality", "user": "ann"}, 404),
        ({"dashboard": "no-such-page", "user": "ann"}, 404),
        ({"dashboard": BOARD}, 422),
        ({"dashboard": BOARD, "user": ""}, 422),
        ({"dashboard": BOARD, "user": "a\nb"}, 422),
        ({"dashboard": [BOARD], "user": "ann"}, 422),
        ({"dashboard": BOARD, "user": "ann", "tenant": OTHER}, 422),
        ({"dashboard": BOARD, "user": "ann", "rls": []}, 422),
        ([], 422),
    ],
)
def test_what_a_host_product_asks_wrongly_is_told(superset_url: str, keys: dict, body: Any, status: int) -> None:
    answer = asked_token(superset_url, keys[TENANT], body)
    assert answer.status_code == status and answer.json()["error"]


def test_a_key_that_is_missing_wrong_or_replaced_gets_nothing(
    superset_url: str, keys: dict, fleetmart_home: Path, credentials: dict
) -> None:
    body = {"dashboard": BOARD, "user": "ann"}
    old = made_key(fleetmart_home, TENANT)
    keys[TENANT] = made_key(fleetmart_home, TENANT)
    for wrong in (None, "embed_nobody", old, keys[TENANT][:-1], credentials["users"][0]["password"]):
        answer = asked_token(superset_url, wrong, body)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer", wrong
    assert asked_token(superset_url, keys[TENANT], body).status_code == 200
    kept = fleetmart_home / "embed-keys.json"
    assert kept.stat().st_mode & 0o777 == 0o600 and keys[TENANT] not in kept.read_text()
    done = run_fleetmart(fleetmart_home, "embed-key", "--tenant", TENANT)
    assert done.returncode == 1 and "--rotate" in done.stderr and not done.stdout


def test_whoever_tries_keys_is_slowed_down(superset_url: str) -> None:
    class From(HTTPAdapter):
        def init_poolmanager(self, *sizes: Any, **more: Any) -> None:
            super().init_poolmanager(*sizes, **more, source_address=("127.0.0.9", 0))

    with requests.Session() as client:
        client.mount("http://", From())
        found = {asked_token(superset_url, f"embed_{n}", {}, client).status_code for n in range(70)}
    assert found == {401, 429}


def parts_of(token: str) -> tuple[dict, dict]:
    header, claims, _ = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))
    return json.loads(header), json.loads(claims)


def signed(header: dict, claims: dict, secret: str, digest: str = "sha256") -> str:
    head = ".".join(_base64(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return f"{head}.{_base64(hmac.new(secret.encode(), head.encode(), digest).digest())}"


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def address(token: str) -> str:
    return parts_of(token)[1]["resources"][0]["id"]


def test_only_whole_tokens_of_ours_are_taken_and_only_for_five_minutes(
    superset_url: str, guest: Guest, guest_of: Callable[..., Guest], fleetmart_home: Path
) -> None:
    secrets = json.loads((fleetmart_home / "secrets.json").read_text())
    secret = secrets["guest_token_jwt_secret"]
    token = guest.session.headers["X-GuestToken"]
    header, claims = parts_of(token)
    other_claims = parts_of(guest_of(OTHER).session.headers["X-GuestToken"])[1]
    old = {"iat": claims["iat"] - 400, "exp": int(time.time()) - 1}
    both = claims["resources"] + other_claims["resources"]

    def status(value: str) -> int:
        return Guest(superset_url, value).get(f"/api/v1/dashboard/{BOARD}").status_code

    assert status(signed(header, claims, secret)) == 200
    forged = {
        "expired": signed(header, claims | old, secret),
        "good for an hour": signed(header, claims | {"exp": claims["iat"] + 3600}, secret),
        "from the future": signed(header, claims | {"iat": claims["iat"] + 100, "exp": claims["exp"] + 100}, secret),
        "signed with another key": signed(header, claims, "x" * 64),
        "signed with the sessions' key": signed(header, claims, secrets["superset_secret_key"]),
        "of no algorithm": signed({**header, "alg": "none"}, claims, secret).rsplit(".", 1)[0] + ".",
        "of another algorithm": signed({**header, "alg": "HS512"}, claims, secret, "sha512"),
        "of another key's name": signed({**header, "kid": "other"}, claims, secret),
        "another tenant under the old signature": token.split(".")[0]
        + "."
        + _base64(json.dumps(other_claims).encode())
        + "."
        + token.split(".")[2],
        "of another tenant by name": signed(header, claims | {"tenant": OTHER}, secret),
        "of another tenant by address": signed(header, claims | {"resources": other_claims["resources"]}, secret),
        "of two dashboards": signed(header, claims | {"resources": both}, secret),
        "of a dashboard's number": signed(header, claims | {"resources": [{"type": "dashboard", "id": "1"}]}, secret),
        "of no dashboard": signed(header, claims | {"resources": []}, secret),
        "of the operator": signed(header, claims | {"tenant": "operator"}, secret),
        "with rows of its own": signed(header, claims | {"rls_rules": [{"clause": "1 = 1"}]}, secret),
        "for others": signed(header, claims | {"aud": superset_url}, secret),
        "of another issuer": signed(header, claims | {"iss": "x"}, secret),
        "with more claims": signed(header, claims | {"roles": ["Admin"]}, secret),
        "with fewer claims": signed(header, {k: v for k, v in claims.items() if k != "exp"}, secret),
        "no token": "nothing",
        "empty": "",
    }
    taken = {name: found for name, value in forged.items() if (found := status(value)) != 401}
    assert not taken


def test_a_tenant_that_is_no_more_ends_its_tokens_at_once(
    guest: Guest, fleetmart_home: Path, superset_url: str, keys: dict
) -> None:
    def rename(old: str, new: str) -> None:
        with sqlite3.connect(fleetmart_home / "superset" / "superset.db", timeout=30) as records:
            assert records.execute("update ab_role set name = ? where name = ?", (new, old)).rowcount == 1

    assert guest.get(f"/api/v1/dashboard/{BOARD}").status_code == 200
    rename(f"tenant:{TENANT}", "aside")
    try:
        assert guest.get(f"/api/v1/dashboard/{BOARD}").status_code == 401
        assert asked_token(superset_url, keys[TENANT], {"dashboard": BOARD, "user": "ann"}).status_code == 403
    finally:
        rename("aside", f"tenant:{TENANT}")
    assert guest.get(f"/api/v1/dashboard/{BOARD}").status_code == 200


def test_a_token_opens_its_dashboard_and_no_other(guest: Guest, guest_of: Callable[..., Guest], board: dict) -> None:
    elsewhere = guest_of(TENANT, OTHER_BOARD).board(OTHER_BOARD)
    titles = elsewhere["charts"].keys() - board["charts"].keys()
    for path in ("", "/charts", "/datasets", "/tabs"):
        for name in (OTHER_BOARD, elsewhere["id"], "storage-and-price", "data-quality"):
            assert guest.get(f"/api/v1/dashboard/{name}{path}").status_code in (403, 404)
    assert titles
    for title in titles:
        form = elsewhere["charts"][title]["form_data"]
        for dashboard in (elsewhere["id"], board["id"]):
            asked = {
                "datasource": {"id": int(form["datasource"].split("__")[0]), "type": "table"},
                "form_data": {**form, "dashboardId": dashboard},
                "queries": [{"columns": [], "metrics": [], "row_limit": 1}],
            }
            assert guest.data(asked).status_code in (400, 403), title


SUM = {"expressionType": "SQL", "sqlExpression": "count(*)", "label": "n"}
OWN_SQL = {"sqlExpression": "current_setting('home_directory')", "label": "x", "expressionType": "SQL"}
CONDITION = {"col": "days_before_latest", "op": "==", "val": 0}
WIDENED = {
    "a column that is not shown": {"columns": ["site_name", "tenant_id"]},
    "a metric that is not shown": {"metrics": ["readings"]},
    "a metric of its own": {"metrics": [SUM]},
    "SQL as a column": {"columns": [OWN_SQL]},
    "SQL as a column with a grain": {"columns": [{**OWN_SQL, "columnType": "BASE_AXIS", "timeGrain": "P1D"}]},
    "SQL as a condition": {"extras": {"where": "1 = 1"}},
    "SQL as a condition on groups": {"extras": {"having": "count(*) > 0"}},
    "SQL in a filter": {"filters": [CONDITION, {"col": OWN_SQL, "op": "==", "val": 1}]},
    "a filter on what is not shown": {"filters": [CONDITION, {"col": "build_id", "op": "==", "val": 1}]},
    "without the chart's condition": {"filters": []},
    "with the chart's condition turned": {"filters": [{**CONDITION, "val": 3}]},
    "ordered by what is not shown": {"orderby": [["tenant_id", True]]},
    "ordered by SQL": {"orderby": [[SUM, True]]},
    "series of what is not shown": {"series_columns": ["tenant_id"], "series_limit": 3},
    "limited by what is not shown": {"series_limit_metric": SUM, "series_limit": 3},
    "a layer of another chart": {
        "annotation_layers": [
            {"annotationType": "EVENT", "sourceType": "table", "name": "x", "value": 1, "style": "solid", "show": True}
        ]
    },
    "samples of one query": {"result_type": "samples"},
}


@pytest.mark.parametrize("name", WIDENED)
def test_a_guests_query_is_the_charts_own(guest: Guest, board: dict, name: str) -> None:
    assert rows(guest.data(chart_query(board, CHANGES)))
    answer = guest.data(chart_query(board, CHANGES, **WIDENED[name]))
    assert answer.status_code in (400, 403) and "result" not in answer.json(), answer.text


@pytest.mark.parametrize(
    "changed",
    [
        *({"result_type": kind} for kind in ("samples", "drill_detail", "query", "columns", "timegrains")),
        *({"result_format": kind} for kind in ("csv", "xlsx")),
    ],
    ids=str,
)
def test_a_guest_gets_neither_raw_rows_nor_files(guest: Guest, board: dict, changed: dict) -> None:
    answer = guest.data(chart_query(board, CHANGES) | changed)
    assert answer.status_code in (400, 403), answer.text


def test_a_guest_neither_drills_nor_asks_a_filter_for_more(guest: Guest, board: dict) -> None:
    fair = chart_query(board, CHANGES)
    target = board["filters"][0]
    as_filter = {"dashboardId": board["id"], "type": "NATIVE_FILTER", "native_filter_id": target["id"]}
    source = {"id": target["targets"][0]["datasetId"], "type": "table"}
    column = target["targets"][0]["column"]["name"]

    def asked(form: dict, *columns: str, **more: Any) -> int:
        queries = [{"columns": [*columns], "metrics": [], "filters": [], "row_limit": 10, **more}]
        return guest.data({"datasource": source, "form_data": form, "queries": queries}).status_code

    assert asked(as_filter, column) == 200
    assert asked(as_filter, "site_name") == 403
    assert asked(as_filter, column, metrics=[SUM]) == 403
    assert asked({**as_filter, "native_filter_id": "NATIVE_FILTER-none"}, column) == 403
    assert asked({"dashboardId": board["id"]}, "tenant_id") == 403
    assert asked({"dashboardId": board["id"], "slice_id": 0, "chart_id": fair["form_data"]["slice_id"]}, column) == 403
    assert asked({}, column) == 403
    for kind in ("query", "saved_query"):
        assert guest.data(fair | {"datasource": {"id": 1, "type": kind}}).status_code in REFUSED
    assert guest.data({k: v for k, v in fair.items() if k != "form_data"}).status_code == 403


CLOSED = (
    "/api/v1/dashboard/",
    "/api/v1/dashboard/export/?q=!(1)",
    "/api/v1/dashboard/1/embedded",
    "/api/v1/chart/",
    "/api/v1/chart/1",
    "/api/v1/chart/1/data/",
    "/api/v1/chart/export/?q=!(1)",
    "/api/v1/dataset/",
    "/api/v1/dataset/1",
    "/api/v1/dataset/1/drill_info/?q=(dashboard_id:1)",
    "/api/v1/dataset/export/?q=!(1)",
    "/api/v1/datasource/table/1/column/site_name/values/",
    "/api/v1/database/",
    "/api/v1/database/1/tables/?q=(schema_name:main)",
    "/api/v1/explore/?slice_id=1",
    "/api/v1/query/",
    "/api/v1/saved_query/",
    "/api/v1/log/recent_activity/",
    "/api/v1/security/users/",
    "/api/v1/security/roles/",
    "/api/v1/menu/",
    "/explore/?slice_id=1",
    "/superset/dashboard/fleet-pocket/",
    "/superset/explore_json/",
    "/sqllab/",
    "/dashboard/list/",
    "/data-docs/",
    "/quality/",
    "/users/list/",
)


@pytest.mark.parametrize("path", CLOSED)
def test_everything_else_is_closed_to_guests(guest: Guest, path: str) -> None:
    assert guest.get(path).status_code in REFUSED


def test_a_guest_writes_nothing_and_runs_no_sql(guest: Guest) -> None:
    sql = {"database_id": 1, "sql": "select 1", "schema": "main", "runAsync": False, "client_id": "guest"}
    for path, body in (
        ("/api/v1/sqllab/execute/", sql),
        ("/api/v1/sqllab/estimate/", sql),
        ("/api/v1/dashboard/", {"dashboard_title": "x"}),
        ("/api/v1/chart/", {}),
        ("/api/v1/security/guest_token/", {}),
        ("/datasource/samples?datasource_type=table&datasource_id=1", {}),
        ("/superset/explore_json/", {}),
        ("/embed/token", {"dashboard": BOARD, "user": "ann"}),
    ):
        assert guest.post(path, json=body).status_code in REFUSED, path


def test_superset_mints_no_tokens_for_anybody(superset_url: str, credentials: dict, guest: Guest) -> None:
    body = {"user": {"username": "x"}, "resources": [{"type": "dashboard", "id": "1"}], "rls": []}
    body["resources"][0]["id"] = address(guest.session.headers["X-GuestToken"])
    for role in ("admin", "analyst", "executive", "steward"):
        user = next(one for one in credentials["users"] if one["role"] == role)
        answer = logged_in(superset_url, user).post(
            f"{superset_url}/api/v1/security/guest_token/", json=body, timeout=30
        )
        assert answer.status_code in (400, 403) and "token" not in answer.json(), role


def logged_in(url: str, user: dict[str, str]) -> requests.Session:
    session = requests.Session()
    answer = session.post(
        f"{url}/api/v1/security/login",
        json={"username": user["username"], "password": user["password"], "provider": "db", "refresh": False},
        timeout=30,
    )
    session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return session


@pytest.fixture
def beside(superset_url: str, credentials: dict) -> requests.Session:
    """A browser in which another tenant's analyst is logged in."""
    user = next(one for one in credentials["users"] if (one["role"], one["tenant"]) == ("analyst", OTHER))
    visitor = Visitor(superset_url)
    visitor.log_in(user["username"], user["password"])
    return visitor.session


def test_a_guest_is_never_whoever_is_logged_in_beside(
    superset_url: str, portal_port: int, guest: Guest, beside: requests.Session
) -> None:
    token = guest.session.headers["X-GuestToken"]
    me = f"{superset_url}/api/v1/me/roles/"
    as_guest = beside.get(me, headers={"X-GuestToken": token}, timeout=30)
    assert as_guest.json()["result"]["username"] == "guest:ann" and "set-cookie" not in as_guest.headers
    assert beside.get(me, headers={"X-GuestToken": "nothing"}, timeout=30).status_code == 401
    page = beside.get(
        f"{superset_url}/embedded/{address(token)}", headers={"Referer": f"http://127.0.0.1:{portal_port}/"}, timeout=30
    )
    assert page.status_code == 200 and "set-cookie" not in page.headers and "analyst" not in page.text
    beside.get(f"{superset_url}/dashboard/1/embedded", timeout=30)
    assert beside.get(me, timeout=30).json()["result"]["username"] == f"{OTHER}-analyst"


def test_only_the_tenants_hosts_frame_its_dashboards(superset_url: str, portal_port: int, guest: Guest) -> None:
    portal = [f"http://{host}:{portal_port}" for host in ("127.0.0.1", "localhost")]
    place = address(guest.session.headers["X-GuestToken"])

    def page(path: str, referrer: str | None) -> requests.Response:
        headers = {"Referer": referrer} if referrer else {}
        return requests.get(superset_url + path, headers=headers, timeout=30, allow_redirects=False)

    def ancestors(answer: requests.Response) -> list[str]:
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        return policy["frame-ancestors"].split()

    shown = page(f"/embedded/{place}", f"{portal[0]}/")
    assert shown.status_code == 200 and ancestors(shown) == portal
    assert "x-frame-options" not in shown.headers and "access-control-allow-origin" not in shown.headers
    assert "unsafe-eval" not in shown.headers["content-security-policy"]
    for other in (None, "https://evil.example/", superset_url, f"http://127.0.0.1:{portal_port}.evil.example/"):
        answer = page(f"/embedded/{place}", other)
        assert answer.status_code == 403 and ancestors(answer) == portal
    nobody = page("/embedded/00000000-0000-0000-0000-000000000000", f"{portal[0]}/")
    assert nobody.status_code == 403 and ancestors(nobody) == ["'none'"]
    for path in ("/login/", "/dashboard/1/embedded", "/health", "/embed/token"):
        assert page(path, f"{portal[0]}/").headers["x-frame-options"] == "SAMEORIGIN", path
    assert page("/dashboard/1/embedded", None).status_code == 404
    assert (
        guest.get("/api/v1/me/roles/", headers={"Origin": portal[0]}).headers.get("access-control-allow-origin") is None
    )


def test_a_frame_and_its_token_wear_the_tenants_brand(superset_url: str, portal_port: int, keys: dict) -> None:
    for tenant, other in ((TENANT, OTHER), (OTHER, TENANT), (TENANT, OTHER)):
        minted = asked_token(superset_url, keys[tenant], {"dashboard": BOARD, "user": "ann"}).json()
        tokens = minted["theme"]["token"]
        assert tokens["brandLogoUrl"].startswith(f"/brand/{tenant}/")
        assert requests.get(superset_url + tokens["brandLogoUrl"], timeout=30).ok
        portal = {"Referer": f"http://127.0.0.1:{portal_port}/"}
        page = requests.get(f"{superset_url}/embedded/{minted['id']}", headers=portal, timeout=60).text
        assert f"<title>{tokens['brandAppName']}</title>" in "".join(page.split("\n")).replace("  ", "")
        assert tokens["colorPrimary"] in page and f"/brand/{tenant}/" in page and f"/brand/{other}/" not in page
        charts = Guest(superset_url, minted["token"]).board(BOARD)["charts"].values()
        picked = [one["form_data"]["color_picker"] for one in charts if "color_picker" in one["form_data"]]
        lines = {(color["r"], color["g"], color["b"]) for color in picked}
        assert lines == {{TENANT: (29, 135, 99), OTHER: (185, 85, 43)}[tenant]}, "the brand's first colour"


def test_provisioning_gives_each_tenant_its_own_addresses_and_keeps_them(fleetmart_home: Path) -> None:
    with sqlite3.connect(f"file:{fleetmart_home / 'superset' / 'superset.db'}?mode=ro", uri=True) as records:
        found = records.execute(
            "select d.slug, count(*), count(distinct e.uuid) from embedded_dashboards e "
            "join dashboards d on d.id = e.dashboard_id group by d.slug"
        ).fetchall()
    slugs = ("device-explorer", "fleet-overview", "fleet-pocket", "reliability-and-cost")
    assert sorted(found) == [(slug, 3, 3) for slug in slugs]
