"""What a guest tries whose token is good: for one dashboard of one tenant, inside a host product's page."""
# A list to be read down, one attempt a line.
# ruff: noqa: E501

from collections.abc import Callable

import requests

from orchestration.cli import main
from tests.attacks.attempts import EMPTY_QUERY, GUEST, ROWS, Allowed, Attempt, part, read_part, try_path
from tests.attacks.caller import Caller
from tests.attacks.prey import VICTIM, Prey

BOARD = "fleet-overview"
REFUSED, NOTHING = Allowed.REFUSED, Allowed.NOTHING


def _asks(name: str, ask: Callable[[Caller, Prey], requests.Response]) -> Attempt:
    return Attempt(f"Guest: {name}", GUEST, ask, REFUSED)


def _with_form(prey: Prey, **form: object) -> dict:
    return {"form_data": {"dashboardId": prey.boards[BOARD]["id"], **form}}


def _bent(token: str, **claims: object) -> str:
    """The token with other claims, and its signature as it was."""
    head, body, signature = token.split(".")
    return ".".join([head, part(read_part(body) | claims), signature])


def _with_bent_token(**claims: object) -> Callable[[Caller, Prey], requests.Response]:
    def ask(caller: Caller, prey: Prey) -> requests.Response:
        token = _bent(caller.session.headers["X-GuestToken"], **claims)
        return caller.get(f"/api/v1/dashboard/{prey.boards[BOARD]['id']}", headers={"X-GuestToken": token})

    return ask


GUESTS = [
    try_path("Guest: its own dashboard", GUEST, NOTHING, "GET", f"/api/v1/dashboard/{BOARD}"),
    *(
        try_path(f"Guest: {path}", GUEST, REFUSED, "GET", path)
        for path in (
            "/api/v1/dashboard/<board>", "/api/v1/dashboard/<board_uuid>", "/api/v1/dashboard/data-quality",
            "/api/v1/dashboard/", "/api/v1/chart/", "/api/v1/chart/<chart>", "/api/v1/dataset/<dataset>",
            "/api/v1/database/1", "/api/v1/saved_query/<saved_query>", "/api/v1/query/", "/api/v1/log/",
            "/api/v1/security/users/", "/api/v1/dashboard/permalink/<board_link>", "/api/v1/dashboard/related/owners",
            "/api/v1/dashboard/export/?q=!(<overview>)", "/api/v1/chart/<chart>/data/", "/superset/dashboard/data-quality/",
            "/sqllab/", "/quality/", "/audit/", "/data-docs/",
        )
    ),
    _asks("a dataset by itself", lambda caller, prey: caller.chart(prey.cube, ROWS)),
    _asks("a dataset as its dashboard's", lambda caller, prey: caller.chart(prey.cube, ROWS, **_with_form(prey))),
    _asks("an export", lambda caller, prey: caller.chart(prey.cube, ROWS, result_format="csv")),
    _asks("a chart's rows", lambda caller, prey: caller.chart(prey.cube, EMPTY_QUERY, result_type="drill_detail", **_with_form(prey))),
    _asks("a condition in SQL", lambda caller, prey: caller.chart(prey.cube, {**ROWS, "extras": {"where": "1 = 1"}}, **_with_form(prey, slice_id=min(prey.charts.values())))),
    _asks("SQL", lambda caller, prey: caller.sql("select device_name from dim_devices")),
    _asks("a token with another tenant", _with_bent_token(tenant=VICTIM)),
    _asks("a token that lasts longer", _with_bent_token(exp=4_000_000_000)),
    _asks("a token without its rules", _with_bent_token(rls_rules=[], resources=[])),
    _asks("another token by its own", lambda caller, prey: caller.post("/embed/token", json={"dashboard": BOARD, "user": "x"}, headers={"Authorization": f"Bearer {caller.session.headers['X-GuestToken']}"})),
    _asks("another token for any tenant", lambda caller, prey: caller.post("/embed/token", json={"dashboard": BOARD, "user": "x", "tenant": VICTIM}, headers={"Authorization": "Bearer embed_x"})),
]  # fmt: skip

# Where dashboards cannot be embedded there are no guests.
GUESTS = GUESTS if "embed-token" in main.commands else []
