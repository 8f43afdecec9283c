"""Each role sees each dashboard whole, at its own screen, and of its own tenant only."""

from pathlib import Path

import pytest

from tests.browser.pages import BOARDS, DESK, OPERATOR, PHONE, dashboard_of, look_at, names_in, users_of

OPERATORS_BOARDS = {"storage-and-price"}


@pytest.mark.parametrize("slug", sorted(BOARDS))
@pytest.mark.parametrize(
    ("role", "size"), [("admin", DESK), ("executive", PHONE)], ids=["admin-desk", "executive-phone"]
)
def test_each_dashboard_is_seen_whole(log_in, credentials, role: str, slug: str, size: dict) -> None:
    operator = next(user for user in users_of(credentials, role) if user["tenant"] == OPERATOR)
    look_at(log_in(operator["username"]), slug, size)


@pytest.mark.parametrize(
    ("role", "slug"),
    [("executive", "storage-and-price"), ("analyst", "device-explorer"), ("analyst", "reliability-and-cost"),
     ("steward", "data-quality"), ("steward", "fleet-overview"), ("engineer", "device-explorer")],
)  # fmt: skip
def test_each_role_sees_what_it_works_with_whole(log_in, credentials, role: str, slug: str) -> None:
    operator = next(user for user in users_of(credentials, role) if user["tenant"] == OPERATOR)
    look_at(log_in(operator["username"]), slug, DESK)


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
