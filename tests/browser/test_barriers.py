"""What people with a keyboard, a screen reader or weak eyes need of our own pages."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.pages import BRANDED, DESK, PATIENCE_SECONDS, PHONE, assert_no_barrier, users_of


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("tenant", ["la-haute-borne", "nyc-airports", "nrel-pv"])
def test_our_pages_have_no_serious_barrier(browser: Browser, log_in, superset_url: str, tenant: str, mode: str) -> None:
    def page_of(role: str, path: str) -> Page:
        state = log_in(f"{tenant}-{role}").storage_state()
        fresh = browser.new_context(
            viewport=DESK, base_url=superset_url, color_scheme=mode, bypass_csp=True, storage_state=state
        )
        fresh.set_default_timeout(PATIENCE_SECONDS * 1000)
        page = fresh.new_page()
        page.goto(path)
        return page

    steward, administrator = page_of("steward", "/quality/"), page_of("tenant-admin", "/people/")
    case = steward.locator("a[href*='/quality/cases/']").first
    cases = [case.get_attribute("href")] if case.count() else []
    person = administrator.get_by_role("link", name=f"{tenant}-executive").get_attribute("href")
    look_around(steward, "/quality/", *cases, "/licences", "/no/such/page", "/data-docs/", "/data-docs/builds.html")
    look_around(administrator, "/people/", person, "/audit/")
    for page in (steward, administrator):
        page.context.close()


def look_around(page: Page, *paths: str) -> None:
    """Each of the pages has its style, and no barrier."""
    for path in paths:
        page.goto(path)
        sheets = page.evaluate(
            "[...document.querySelectorAll('link[rel=stylesheet]')].map(one => [one.href, !!one.sheet])"
        )
        assert all(is_there for _, is_there in sheets), f"{page.url}: {sheets}"
        assert_no_barrier(page)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_log_in_page_has_no_serious_barrier(browser: Browser, superset_url: str, mode: str) -> None:
    for dressed in BRANDED:
        url = f"http://{dressed.brand.hosts[0]}:{urlsplit(superset_url).port}"
        fresh = browser.new_context(viewport=PHONE, base_url=url, color_scheme=mode, bypass_csp=True)
        page = fresh.new_page()
        page.goto("/login/")
        expect(page.locator("button[type=submit]")).to_be_visible()
        assert_no_barrier(page)
        fresh.close()


def test_log_in_and_desk_go_by_keyboard(browser: Browser, credentials, superset_url: str) -> None:
    steward = next(user for user in users_of(credentials, "steward") if user["tenant"] == "la-haute-borne")
    context = browser.new_context(viewport=DESK, base_url=superset_url)
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    page = context.new_page()
    page.goto("/login/")
    expect(page.locator("button[type=submit]")).to_be_visible()
    tab_to(page, "input[name=username], input#username")
    page.keyboard.type(steward["username"])
    tab_to(page, "input[type=password]")
    page.keyboard.type(steward["password"])
    tab_to(page, "button[type=submit]")
    page.keyboard.press("Enter")
    page.wait_for_url("**/superset/dashboard/**")
    page.goto("/quality/")
    page.keyboard.press("Tab")
    expect(page.locator("a.skip")).to_be_focused()
    tab_to(page, "summary")
    page.keyboard.press("Enter")
    tab_to(page, "details[open] textarea")
    page.keyboard.type("By keyboard")
    tab_to(page, "details[open] button")
    context.close()


# What is drawn around or on an element, or the box that it fills, with or without the focus.
LOOK = """e => [e, e.parentElement].map(box => {
  const style = getComputedStyle(box);
  return [style.outline, style.boxShadow, style.borderColor, style.backgroundColor];
}).join()"""


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the first such element has the focus, and see that it shows."""
    wanted = page.locator(selector).first
    for _ in range(60):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            break
    expect(wanted).to_be_focused()
    focused = settled(page, wanted)
    wanted.evaluate("element => element.blur()")
    assert focused != settled(page, wanted), f"nobody sees that {selector} has the focus"
    wanted.focus()


def settled(page: Page, element: Locator) -> str:
    """How an element looks once its transitions are over; where no script may run there is no event to wait for."""
    page.wait_for_timeout(500)
    return element.evaluate(LOOK)
