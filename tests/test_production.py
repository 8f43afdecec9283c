"""The production profile against a real PostgreSQL and a real Redis, by settings alone; and log-in through a provider.

The tests go on from each other: one server, provisioned once and started twice.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import requests
import sqlalchemy

from orchestration.people import read_credentials
from orchestration.settings import ROOT
from orchestration.tenants import remove_tenant
from tests.attacks.siege import ALL, Siege
from tests.conftest import environment_of, free_port
from tests.identity_provider import CLIENT_ID, CLIENT_SECRET, FORGERIES, IdentityProvider, identity_provider
from tests.in_superset import CACHES, SUPERSET_PYTHON, require_success
from tests.production import Production
from tests.test_desk import Visitor, token_of
from tests.test_tenancy import tenancy

NORTH, SOUTH = "la-haute-borne", "nyc-airports"
GUESSES = 8

IN_REDIS = """
import redis
client = redis.from_url(sys.argv[1])
results = tenant_cache.RedisResults(client, key_prefix="results")
state = tenant_cache.RedisState(client, key_prefix="filters")
for cache in (results, state):
    caller = ("north", "v1")
    cache.set("question", "northern")
    caller = ("south", "v1")
    assert cache.get_many("question") == [None] and not cache.unlink("question")
    require_apart(
        cache, cache is state, lambda: cache.clear(), lambda: cache.get_many("question"),
        lambda: cache.set_many({"question": 1}), lambda: cache.delete_many("question"),
        lambda: cache.unlink("question"), lambda: cache.inc("n"),
    )
    caller = ("south", "v1")
    cache.clear()
    assert cache.get("question") is None
    caller = ("north", "v1")
    assert cache.get("question") == "northern", "another tenant's clearing reached further"
    assert cache.delete("question") and cache.get("question") is None
assert not client.keys("*"), client.keys("*")
"""


def test_redis_keeps_results_by_tenant_and_snapshot_and_choices_by_tenant(empty_redis: str) -> None:
    require_success(CACHES + IN_REDIS, empty_redis)


def test_the_records_are_in_postgresql_and_nowhere_else(production: Production) -> None:
    assert any("starting Superset" in line for line in production.said), production.said
    with sqlalchemy.create_engine(production.database).connect() as connection:
        assert connection.execute("select count(*) from dashboards").scalar() >= 6
    assert not list((production.settings.home / "superset").glob("superset.db*"))


def test_what_is_unchanged_is_not_provisioned_again(production: Production) -> None:
    assert not any("starting Superset" in line for line in production.provision())


def test_each_tenants_results_are_kept_in_redis_under_tenant_and_snapshot(production: Production) -> None:
    answers = {}
    for attempt in ("asked", "kept"):
        for tenant_id in (NORTH, SOUTH):
            answer = production.charts(tenant_id).ask("cube_fleet_daily", ["site_name"], ["readings"])
            assert answer.status_code == 200, answer.text
            (result,) = answer.json()["result"]
            assert bool(result["is_cached"]) == (attempt == "kept")
            answers[attempt, tenant_id] = {row["site_name"]: row["readings"] for row in result["data"]}
    assert answers["asked", NORTH] and not answers["asked", NORTH].keys() & answers["asked", SOUTH].keys()
    for tenant_id in (NORTH, SOUTH):
        assert answers["kept", tenant_id] == answers["asked", tenant_id]
        version = tenancy.snapshot_of(production.settings.home, tenant_id).version
        assert [
            key for key in production.keys("results") if key.startswith(f"fleetmart.results.{tenant_id}.{version}.")
        ]
    assert all(key.split(".")[2] in (NORTH, SOUTH) for key in production.keys("results"))
    assert all(production.redis.ttl(key) > 0 for key in production.keys("results"))


def test_a_new_snapshot_is_not_answered_from_the_old_one(production: Production) -> None:
    charts = production.charts(NORTH)
    before = charts.ask("cube_fleet_daily", ["day"], ["readings"]).json()["result"][0]["data"]
    link = production.settings.serving / NORTH / "current"
    made = link.with_name("v999.duckdb")
    shutil.copy(link.resolve(), made)
    made.chmod(0o640)
    with duckdb.connect(str(made)) as connection:
        connection.execute("delete from cube_fleet_daily where day = (select max(day) from cube_fleet_daily)")
    link.with_name("next").symlink_to(made.name)
    os.replace(link.with_name("next"), link)
    (result,) = charts.ask("cube_fleet_daily", ["day"], ["readings"]).json()["result"]
    assert not result["is_cached"] and len(result["data"]) == len(before) - 1


def test_what_is_chosen_on_a_page_is_kept_within_its_tenant(production: Production) -> None:
    north, south = production.visitor(NORTH), production.visitor(SOUTH)
    page = north.get("/superset/dashboard/fleet-overview/").text
    number = north.get("/api/v1/dashboard/fleet-overview").json()["result"]["id"]
    path = f"/api/v1/dashboard/{number}/filter_state"
    headers = {"X-CSRFToken": token_of(page), "Referer": north.url}
    made = north.session.post(f"{north.url}{path}?tab_id=1", json={"value": '{"device": "R80711"}'}, headers=headers)
    assert made.status_code == 201, made.text
    key = made.json()["key"]
    assert "R80711" in north.get(f"{path}/{key}").json()["value"]
    answer = south.get(f"{path}/{key}")
    assert answer.status_code == 404 and "R80711" not in answer.text
    kept = production.keys("filters")
    assert kept and all(name.startswith(f"fleetmart.filters.{NORTH}.") for name in kept)


def test_a_restart_keeps_records_log_ins_and_results(production: Production) -> None:
    north = production.visitor(NORTH)
    production.charts(NORTH).ask("cube_fleet_daily", ["metric"], [])
    production.stop()
    assert not any("starting Superset" in line for line in production.provision())
    production.serve()
    assert north.get("/api/v1/me/").json()["result"]["username"] == f"{NORTH}-analyst"
    (result,) = production.charts(NORTH).ask("cube_fleet_daily", ["site_name"], ["readings"]).json()["result"]
    assert result["data"]


def test_attempts_are_counted_for_all_processes_together(production: Production) -> None:
    visitor = Visitor(production.serve())
    form = {"username": "admin", "password": "guessed", "csrf_token": token_of(visitor.get("/login/").text)}
    production.redis.delete(*production.redis.keys("LIMITS*"), "none")
    for _ in range(GUESSES):
        # Each by a connection of its own, which either process may take.
        requests.post(f"{visitor.url}/login/", data=form, cookies=visitor.session.cookies.get_dict(), timeout=30)
    counts = [int(production.redis.get(key) or 0) for key in production.redis.keys("LIMITS*")]
    assert GUESSES in counts


@pytest.mark.parametrize(
    ("variable", "address", "says"),
    [
        (
            "FLEETMART_SUPERSET_DATABASE",
            "postgresql://me:hunter2@127.0.0.1:1/records",
            "127.0.0.1:1/records does not",
        ),
        ("FLEETMART_SUPERSET_DATABASE", "mysql://127.0.0.1/records", "no address such as postgresql://"),
        ("FLEETMART_REDIS_URL", "redis://:hunter2@127.0.0.1:1/0", "127.0.0.1:1/0 does not serve"),
        ("FLEETMART_REDIS_URL", "localhost", "no address such as redis://"),
    ],
)
def test_a_service_that_does_not_serve_is_told(variable: str, address: str, says: str, fleetmart_home: Path) -> None:
    environment = environment_of(fleetmart_home) | {variable: address}
    gunicorn = [str(SUPERSET_PYTHON.with_name("gunicorn")), "--config", str(ROOT / "superset" / "gunicorn.conf.py")]
    provisioning = [str(SUPERSET_PYTHON), str(ROOT / "superset" / "provision.py")]
    for command in (provisioning, [*gunicorn, "--bind", f"127.0.0.1:{free_port()}", "superset.app:create_app()"]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1 and f"error: {variable}" in done.stderr and says in done.stderr, done.stderr
        assert "hunter2" not in done.stderr and "Traceback" not in done.stderr


def test_nothing_of_another_tenant_comes_back(production: Production) -> None:
    """All attempts of tests/attacks but those that run for long: what ends them is the same everywhere."""
    people = {"users": read_credentials(production.settings)}
    siege = Siege(production.serve(), production.settings.home, people)
    try:
        outcomes = [siege.outcome(attempt) for attempt in ALL]
    finally:
        siege.end()
    assert not [f"{one.attempt.name}: {one.complaint}" for one in outcomes if one.complaint]


@pytest.fixture(scope="module")
def provider(production: Production) -> Iterator[IdentityProvider]:
    """The same records served anew, with log-in through a provider."""
    with identity_provider() as provider, pytest.MonkeyPatch.context() as patch:
        production.stop()
        patch.setenv("FLEETMART_OIDC_ISSUER", provider.url)
        patch.setenv("FLEETMART_OIDC_CLIENT_ID", CLIENT_ID)
        patch.setenv("FLEETMART_OIDC_CLIENT_SECRET", CLIENT_SECRET)
        patch.setenv("FLEETMART_OIDC_LOCAL_LOG_IN", "operator")
        # The provider speaks http here, as nowhere else.
        patch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
        production.serve()
        yield provider
        production.stop()


def start_of(production: Production) -> str:
    return f"{production.url}/login/your company account?next=/superset/dashboard/device-explorer/"


def test_who_comes_from_the_provider_sees_its_tenant(production: Production, provider: IdentityProvider) -> None:
    provider.person("ada", tenant=NORTH, roles=["analyst", "crm-user"], given_name="Ada", family_name="Byron")
    browser = requests.Session()
    arrived = browser.get(provider.log_in(browser, start_of(production), "ada"), allow_redirects=False, timeout=30)
    assert arrived.status_code == 302 and arrived.headers["location"] == "/superset/dashboard/device-explorer/"
    me = browser.get(f"{production.url}/api/v1/me/roles/", timeout=30).json()["result"]
    assert (me["firstName"], set(me["roles"])) == ("Ada", {"analyst", f"tenant:{NORTH}"})
    # Whoever is promoted or moved is so from the next log-in on, with the same account.
    provider.person("ada", tenant=SOUTH, roles=["executive"])
    again = requests.Session()
    again.get(provider.log_in(again, start_of(production), "ada"), timeout=30)
    moved = again.get(f"{production.url}/api/v1/me/roles/", timeout=30).json()["result"]
    assert set(moved["roles"]) == {"executive", f"tenant:{SOUTH}"} and moved["userId"] == me["userId"]


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"tenant": "elsewhere", "roles": ["analyst"]}, "is not served here"),
        ({"tenant": [NORTH, SOUTH], "roles": ["analyst"]}, "more than one tenant"),
        ({"tenant": NORTH, "roles": []}, "has none"),
        ({"tenant": "operator", "roles": ["admin"]}, "Nobody becomes administrator"),
    ],
)
def test_who_has_no_one_place_here_is_told(
    claims: dict, says: str, production: Production, provider: IdentityProvider
) -> None:
    provider.person("mallory", **claims)
    browser = requests.Session()
    refused = browser.get(provider.log_in(browser, start_of(production), "mallory"), timeout=30)
    assert refused.status_code == 403 and says in refused.text
    assert browser.get(f"{production.url}/api/v1/me/", timeout=30).status_code == 401


@pytest.mark.parametrize("kind", ["with a key of somebody else", *FORGERIES])
def test_what_is_forged_logs_nobody_in(kind: str, production: Production, provider: IdentityProvider) -> None:
    provider.person("ada", tenant=NORTH, roles=["analyst"])
    browser = requests.Session()
    back = provider.log_in(browser, start_of(production), "ada")
    provider.forge, provider.forge_is_trusted = FORGERIES.get(kind, lambda claims: claims), kind in FORGERIES
    try:
        refused = browser.get(back, timeout=30)
    finally:
        provider.forge, provider.forge_is_trusted = None, False
    assert refused.status_code == 403 and "could not be proved" in refused.text
    assert browser.get(f"{production.url}/api/v1/me/", timeout=30).status_code == 401


def test_an_answer_counts_once_and_in_its_own_browser(production: Production, provider: IdentityProvider) -> None:
    provider.person("ada", tenant=NORTH, roles=["analyst"])
    browser, thief = requests.Session(), requests.Session()
    back = provider.log_in(browser, start_of(production), "ada")
    assert thief.get(back, timeout=30).status_code == 403
    assert thief.get(f"{production.url}/api/v1/me/", timeout=30).status_code == 401
    assert browser.get(back, allow_redirects=False, timeout=30).status_code == 302
    assert requests.Session().get(back, timeout=30).status_code == 403


def test_with_a_provider_passwords_are_for_the_operator_only(
    production: Production, provider: IdentityProvider
) -> None:
    users = {user["username"]: user["password"] for user in read_credentials(production.settings)}
    for username in (f"{NORTH}-analyst", "operator-analyst"):
        log_in = {"username": username, "password": users[username], "provider": "db"}
        answer = requests.post(f"{production.url}/api/v1/security/login", json=log_in, timeout=30)
        assert answer.status_code == 400 and "access_token" not in answer.text
    for username, status in ((f"{NORTH}-analyst", 401), ("operator-analyst", 302)):
        visitor = Visitor(production.url)
        form = {"username": username, "password": users[username]}
        form["csrf_token"] = token_of(visitor.get("/login/local").text)
        answer = visitor.session.post(f"{production.url}/login/local", data=form, allow_redirects=False, timeout=30)
        assert answer.status_code == status, username


def test_a_removed_tenant_leaves_no_trace(production: Production, provider: IdentityProvider, tmp_path: Path) -> None:
    """After all that the tests before did in its name: attacks, choices on dashboards, log-ins through the provider."""
    provider.person("eve", tenant=NORTH, roles=["analyst"])
    browser = requests.Session()
    page = browser.get(provider.log_in(browser, start_of(production), "eve"), timeout=30).text
    form = {"datasource_id": 1, "datasource_type": "table", "form_data": "{}"}
    headers = {"X-CSRFToken": token_of(page), "Referer": production.url}
    kept = browser.post(f"{production.url}/api/v1/explore/form_data", json=form, headers=headers, timeout=30)
    assert kept.status_code == 201, kept.text
    assert production.keys(f"explore.{NORTH}") and production.keys("results")
    others = production.keys(f"filters.{SOUTH}") | production.keys(f"explore.{SOUTH}")
    registry = Path(shutil.copytree(ROOT / "orchestration" / "registry", tmp_path / "registry"))
    for table in registry.iterdir():
        table.write_text("".join(line for line in table.open() if NORTH not in line))
    removed = remove_tenant(production.settings.model_copy(update={"registry": registry}), NORTH, lambda line: None)
    assert removed["people"] >= 6 and removed["mentions"] == []
    assert browser.get(f"{production.url}/api/v1/me/", timeout=30).status_code == 401
    assert production.keys("filters") | production.keys("explore") == others and not production.keys("results")
    with sqlalchemy.create_engine(production.database).connect() as connection:
        tables = sqlalchemy.inspect(connection).get_table_names()
        rows = {
            name: connection.execute(sqlalchemy.text(f'select t::text from "{name}" as t')).scalars() for name in tables
        }
        naming = [(name, row) for name, found in rows.items() for row in found if NORTH in row or "eve@" in row]
    assert len(tables) > 50 and not naming
