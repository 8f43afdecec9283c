"""What the server's answers carry and refuse: headers, cookies, forged forms, guessed passwords, copied sessions."""

import json
import re
import secrets
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from orchestration.settings import ROOT
from tests.attacks.caller import Caller
from tests.conftest import LISTED_SITE, environment_of
from tests.in_superset import SECURITY, SUPERSET_PYTHON, in_superset, require_success

PASSWORD, NEW_PASSWORD = "Nine-Quiet-Turbines", "Ten-Quiet-Turbines"


AT_FIRST = """
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from tenancy import __file__ as file
sys.path.append(file.rsplit("/", 2)[0])
from superset_session import superset_started
with superset_started():
    from superset.extensions import celery_app
    assert celery_app.finalized
    from superset.errors import ISSUE_CODES
    from superset.sql_lab import get_sql_results
    together = Barrier(16)
    def ask(number):
        together.wait()
        get_sql_results.push_request()
    with ThreadPoolExecutor(16) as people:
        list(people.map(ask, range(16)))
    assert not [said for said in ISSUE_CODES.values() if "Superset" in str(said)]
"""


def test_a_new_process_answers_those_who_ask_first_at_once(fleetmart_home: Path) -> None:
    require_success(AT_FIRST, FLEETMART_HOME=fleetmart_home)


@pytest.fixture(scope="module")
def admin(superset_url: str, credentials: dict) -> Caller:
    password = next(user["password"] for user in credentials["users"] if user["username"] == "admin")
    return Caller(superset_url).log_in("admin", password)


@pytest.fixture
def person(admin: Caller) -> Iterator[tuple[str, int]]:
    """Name and number of a tenant's analyst who is there for one test."""
    roles = admin.get("/api/v1/security/roles/?q=(page_size:100)").json()["result"]
    wanted = [role["id"] for role in roles if role["name"] in ("analyst", "tenant:nyc-airports")]
    name = f"visitor-{secrets.token_hex(4)}"
    about = {"username": name, "first_name": "V", "last_name": "V", "email": f"{name}@example.invalid"}
    made = admin.post("/api/v1/security/users/", json=about | {"password": PASSWORD, "active": True, "roles": wanted})
    assert made.ok, made.text
    yield name, made.json()["id"]
    admin.delete(f"/api/v1/security/users/{made.json()['id']}")


@pytest.mark.parametrize(
    "path", ["/login/", "/health", "/no/such/page", "/api/v1/dashboard/", "/static/service-worker.js"]
)
def test_answers_say_nothing_of_what_serves_them_and_may_not_be_framed(superset_url: str, path: str) -> None:
    answer = requests.get(superset_url + path, timeout=30, headers={"Origin": "https://elsewhere.example"})
    headers = {name.lower(): value for name, value in answer.headers.items()}
    assert headers["server"] == "web" and "x-powered-by" not in headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["referrer-policy"] == "strict-origin-when-cross-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert "access-control-allow-origin" not in headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert "unsafe-inline" not in policy["script-src"] and "unsafe-eval" not in policy["script-src"]
    assert policy["frame-ancestors"] == policy["form-action"] == "'self'" and policy["object-src"] == "'none'"
    assert "strict-transport-security" not in headers
    assert "6.1.0" not in answer.text


@pytest.mark.parametrize(
    ("site", "path", "may_read"),
    [
        (LISTED_SITE, "/api/v1/me/", True),
        (LISTED_SITE, "/login/", False),
        ("https://elsewhere.example", "/api/v1/me/", False),
        (f"{LISTED_SITE}.elsewhere.example", "/api/v1/me/", False),
        ("null", "/api/v1/me/", False),
    ],
)
def test_scripts_of_listed_sites_alone_read_the_interface_and_without_cookies(
    superset_url: str, site: str, path: str, may_read: bool
) -> None:
    for method in ("GET", "OPTIONS"):
        asked = {"Origin": site, "Access-Control-Request-Method": "GET"}
        headers = requests.request(method, superset_url + path, timeout=30, headers=asked).headers
        assert headers.get("Access-Control-Allow-Origin") == (site if may_read else None), method
        assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.parametrize("listed", ["*", "https://*.example", "portal.example", "https://portal.example/path"])
def test_what_is_no_site_is_not_let_in(listed: str) -> None:
    path = f"{SECURITY}:{SECURITY.parent / 'embedding'}"
    done = in_superset("import other_sites; other_sites.options()", PYTHONPATH=path, FLEETMART_CORS_HOSTS=listed)
    assert done.returncode == 1 and f"FLEETMART_CORS_HOSTS: {listed!r} is no origin" in done.stderr


def test_each_page_has_a_nonce_of_its_own(superset_url: str) -> None:
    policies = [requests.get(f"{superset_url}/login/", timeout=30).headers["Content-Security-Policy"] for _ in range(2)]
    nonces = [re.search(r"'nonce-([^']+)'", policy)[1] for policy in policies]
    assert nonces[0] != nonces[1]


def test_health_tells_nothing(superset_url: str) -> None:
    assert requests.get(f"{superset_url}/health", timeout=30).text == "OK"


def test_a_sessions_cookie_is_a_random_number_for_this_site_and_no_script(superset_url: str) -> None:
    cookie = requests.get(f"{superset_url}/login/", timeout=30).headers["Set-Cookie"]
    assert re.match(r"session=[\w-]{43};", cookie)
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Secure" not in cookie


def test_a_form_that_another_site_sends_is_refused(superset_url: str, person: tuple[str, int]) -> None:
    caller = Caller(superset_url).log_in(person[0], PASSWORD)
    saved = {"db_id": 1, "schema": "main", "label": "x", "sql": "select 1"}
    assert caller.sql("select 1").status_code == 200
    made = caller.post("/api/v1/saved_query/", json=saved)
    assert made.status_code == 201
    caller.delete(f"/api/v1/saved_query/{made.json()['id']}")
    caller.token = ""
    assert caller.sql("select 1").status_code != 200
    assert caller.post("/api/v1/saved_query/", json=saved).status_code != 201
    caller.post("/resetmypassword/form", data={"password": NEW_PASSWORD, "conf_password": NEW_PASSWORD})
    Caller(superset_url).log_in(person[0], PASSWORD)


def test_a_log_out_ends_the_session_wherever_it_was_copied_to(superset_url: str, person: tuple[str, int]) -> None:
    caller, thief = Caller(superset_url).log_in(person[0], PASSWORD), Caller(superset_url)
    thief.session.cookies.update(caller.session.cookies)
    assert thief.get("/api/v1/me/").status_code == 200
    caller.get("/logout/")
    assert thief.get("/api/v1/me/").status_code == 401


def test_a_new_password_ends_other_sessions_and_tokens(superset_url: str, person: tuple[str, int]) -> None:
    here, there = (Caller(superset_url).log_in(person[0], PASSWORD) for _ in range(2))
    given = {"username": person[0], "password": PASSWORD, "provider": "db", "refresh": True}
    tokens = requests.post(f"{superset_url}/api/v1/security/login", json=given, timeout=30).json()
    with_token = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert requests.get(f"{superset_url}/api/v1/dashboard/", headers=with_token, timeout=30).status_code == 200
    form = {"password": NEW_PASSWORD, "conf_password": NEW_PASSWORD, "csrf_token": here.token}
    assert here.post("/resetmypassword/form", data=form).status_code == 302
    assert here.get("/api/v1/me/").status_code == 200
    assert there.get("/api/v1/me/").status_code == 401
    assert requests.get(f"{superset_url}/api/v1/dashboard/", headers=with_token, timeout=30).status_code in (401, 403)
    to_renew = {"Authorization": f"Bearer {tokens['refresh_token']}"}
    renewed = requests.post(f"{superset_url}/api/v1/security/refresh", headers=to_renew, timeout=30)
    assert renewed.status_code in (401, 403)


def test_whoever_is_disabled_is_out_at_once(superset_url: str, admin: Caller, person: tuple[str, int]) -> None:
    caller = Caller(superset_url).log_in(person[0], PASSWORD)
    assert admin.put(f"/api/v1/security/users/{person[1]}", json={"active": False}).ok
    assert caller.get("/api/v1/me/").status_code == 401


def test_what_one_person_chooses_twice_at_once_is_kept(superset_url: str, credentials: dict) -> None:
    passwords = {user["username"]: user["password"] for user in credentials["users"]}
    caller = Caller(superset_url).log_in("nyc-airports-executive", passwords["nyc-airports-executive"])
    number = caller.get("/api/v1/dashboard/fleet-overview").json()["result"]["id"]
    path, chosen = f"/api/v1/dashboard/{number}/filter_state", {"value": '{"device": "JFK"}'}
    with ThreadPoolExecutor(8) as at_once:
        for tab in (secrets.randbelow(10**9) for _ in range(6)):
            made = list(at_once.map(lambda page: caller.post(page, json=chosen), [f"{path}?tab_id={tab}"] * 8))
            assert {answer.status_code for answer in made} == {201}
            assert "JFK" in caller.get(f"{path}/{made[-1].json()['key']}").text


def test_passwords_are_not_to_be_guessed(superset_url: str, person: tuple[str, int]) -> None:
    """Each of the server's processes counts for itself, unless Redis does for all."""
    given = {"username": person[0], "password": "wrong", "provider": "db"}
    statuses = []
    while len(statuses) < 25 and 429 not in statuses:
        statuses.append(requests.post(f"{superset_url}/api/v1/security/login", json=given, timeout=30).status_code)
    assert statuses[0] == 401 and statuses[-1] == 429


BEHIND_TLS = """
import json, logging, warnings
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
from superset.app import create_app
client = create_app().test_client()
told = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"}
answer = client.get("/login/", headers=told, base_url="http://dashboards.example")
print(json.dumps(dict(answer.headers)))
"""


def test_behind_tls_cookies_and_pages_are_for_tls_only(fleetmart_home: Path) -> None:
    variables = {
        "FLEETMART_PUBLIC_URL": "https://dashboards.example",
        "SUPERSET_CONFIG_PATH": str(ROOT / "superset" / "superset_config.py"),
    }
    done = subprocess.run(
        [SUPERSET_PYTHON, "-c", BEHIND_TLS],
        env=environment_of(fleetmart_home) | variables,
        cwd=fleetmart_home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    headers = json.loads(done.stdout.splitlines()[-1])
    assert "Secure" in headers["Set-Cookie"]
    assert headers["Strict-Transport-Security"].startswith("max-age=31536000")
