"""The path of each persona through the product, as it would be gone by a person."""

import base64
import re
import struct
import time
from itertools import pairwise
from pathlib import Path
from zlib import crc32

import pytest
from playwright.sync_api import Browser, expect

from orchestration.people import read_credentials
from orchestration.settings import Settings
from tests.browser.pages import (
    CHARTS,
    DESK,
    OPERATOR,
    PHONE,
    TABLET,
    assert_no_machinery,
    dashboard_of,
    logged_in,
    see,
    users_of,
)
from tests.conftest import served
from tests.test_gate_and_publish import METER, take_in
from tests.test_steward import publish_built, spoiled


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


# Its items, which may still show from the time before, are menu items as well.
SUBMENU = "[role=menuitem][aria-haspopup=true]:visible"


def test_an_executive_takes_the_fleet_along_as_a_pdf_a_picture_and_workbooks(browser: Browser, log_in) -> None:
    page = dashboard_of(log_in("la-haute-borne-executive"), "fleet-overview", DESK)
    for item in ("Download as Image", "Export to PDF"):
        page.locator("[data-test='actions-trigger']").click()
        # The menu still moves while it opens, so a mouse may be over another item of it.
        page.locator(SUBMENU, has_text="Download").dispatch_event("mouseover")
        page.get_by_role("menuitem", name=item).wait_for()
        of_files = page.locator("[data-menu-id$='-export-yaml']")
        assert of_files.count() and not any(one.is_visible() for one in of_files.all())
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
        page.locator(SUBMENU, has_text="Download").dispatch_event("mouseover")
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
