"""Each tenant's brand before and after log-in, in pages and in mail; the machinery is named nowhere."""

import html
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Browser, expect

from orchestration.settings import ROOT
from tests.browser.pages import BOARDS, BRANDED, BRANDS, DESK, PHONE, PRODUCT, assert_no_machinery, users_of
from tests.conftest import environment_of

sys.path.insert(0, str(ROOT / "superset" / "branding"))
import brand_colors
import brands

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
    assert logo.evaluate("image => image.decode().then(() => image.naturalWidth > 0)")
    page.goto("/no/such/page")
    expect(page.locator("a.button")).to_have_css("background-color", rgb(primary))
    expect(page.locator("body")).to_have_css("background-color", rgb(colors.canvas))
    context.close()


def rgb(color: str) -> str:
    """A colour as browsers say it."""
    return "rgb({}, {}, {})".format(*(int(color[place : place + 2], 16) for place in (1, 3, 5)))


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
