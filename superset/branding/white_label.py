"""The product's face on all that is served, each tenant's own: templates, logo, manifest, error pages and mail.

Superset's name is written in its templates, its error pages, its web manifest and its menu's About section; each of
these is replaced here.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from brand_drawings import spinner
from brand_mail import letterhead, mail_logo
from brand_style import style_sheet
from brands import Dressed
from faces import TENANT_OF_PAGE, Face, brand_of_request, branded, brands, face
from flask import (
    Blueprint,
    Flask,
    Response,
    jsonify,
    make_response,
    redirect,
    request,
)
from flask_login import current_user
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PackageLoader, PrefixLoader, StrictUndefined

FOLDER = Path(__file__).resolve().parent
PRODUCT_FILES = dict.fromkeys(("app.css", "form.css", "page.css"), "text/css") | {"app.js": "text/javascript"}
# Superset's own first page is about Superset: what was edited last, by whom.
HOME_PAGES = {"/", "/superset/welcome/", "/superset/welcome"}
ASSETS_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; form-action 'self'; "
    "frame-ancestors 'self'; base-uri 'none'"
)
CHARTS_OF_A_DASHBOARD = "DashboardRestApi.get_charts"

LOGO_ID = "logo@brand"


blueprint = Blueprint("brand", __name__)
log = logging.getLogger(__name__)


@blueprint.get("/brand/<key>/<digest>/<name>")
def brand_file(key: str, digest: str, name: str) -> Response:
    """A file of a brand, to whoever knows its address: the log-in page shows it too."""
    dressed = brands().of_address(key, digest)
    found = _content_of(dressed, name) if dressed else None
    if found is None:
        return message_page(404, *ERRORS[404])
    content, media_type = found
    # Private: beside the file, an answer may carry the session's cookie.
    kept = "private, max-age=31536000, immutable"
    return make_response(content, 200, {"Content-Type": media_type, "Cache-Control": kept})


# Read by the middleware that sets the policy of every page: an image opened by itself can do nothing.
brand_file.talisman_view_options = {"content_security_policy": ASSETS_POLICY, "content_security_policy_nonce_in": []}


def _content_of(dressed: Dressed, name: str) -> tuple[bytes, str] | None:
    if name in PRODUCT_FILES:
        return (FOLDER / name).read_bytes(), f"{PRODUCT_FILES[name]}; charset=utf-8"
    if name == "brand.css":
        return style_sheet(dressed).encode(), "text/css; charset=utf-8"
    if name == "manifest.json":
        return json.dumps(manifest(dressed)).encode(), "application/manifest+json"
    if name == "spinner.svg":
        first, second = dressed.brand.palettes.categorical[0], dressed.brand.palettes.categorical[2]
        return spinner(first, second).encode(), "image/svg+xml"
    return next(((file.content, file.media_type) for file in dressed.files.values() if file.name == name), None)


def manifest(dressed: Dressed) -> dict[str, Any]:
    """What a phone reads when the page is put on its home screen."""
    brand = dressed.brand
    icons = [{"src": one["href"], "type": one["type"], "sizes": one["sizes"]} for one in Face(dressed).icons]
    return {
        "name": brand.name,
        "short_name": brand.name,
        "description": brand.tagline,
        "start_url": "/superset/dashboard/fleet-pocket/",
        "scope": "/",
        "display": "standalone",
        "background_color": brand.colors.light.canvas,
        "theme_color": brand.colors.light.primary,
        "icons": icons,
    }


@blueprint.get("/static/assets/pwa-manifest.json")
def shipped_manifest() -> Response:
    """Superset's own would be here; our pages name their brand's, for browsers ask for it without a session."""
    answer = jsonify(manifest(brand_of_request()))
    answer.headers["Cache-Control"] = "no-store"
    return answer


@blueprint.get("/licences")
def licences() -> Response:
    """What the product is made with: the one page that names the machinery."""
    return make_response(_page("licences.html", face(), **_licence_texts()), 200)


licences.talisman_view_options = {"content_security_policy": PAGE_POLICY, "content_security_policy_nonce_in": []}


@cache
def _licence_texts() -> dict[str, str]:
    """Superset's notice and licence, as its package brings them."""
    files = {path.name: path for path in metadata.files("apache-superset") or [] if path.parent.name == "licenses"}
    return {"notice": files["NOTICE"].read_text(), "licence": files["LICENSE.txt"].read_text()}


def message_page(status: int, title: str, text: str) -> Response:
    """A page of the product that says one thing and leads back home."""
    try:
        shown = face()
    except Exception:
        # Whose page it is may be just what cannot be told; that something went wrong must be said all the same.
        log.exception("An error's page is shown in the host's brand")
        shown = Face(brands().of_host(request.host))
    return make_response(_page("message.html", shown, title=title, text=text), status, {"X-Branded": "1"})


def local_log_in_page(failed: bool, csrf_token: str) -> Response:
    """The form for those who may log in without the identity provider."""
    said = {"title": "Operator's log-in", "failed": failed, "csrf_token": csrf_token}
    return make_response(_page("local_log_in.html", face(), **said), 401 if failed else 200, {"X-Branded": "1"})


def _page(template: str, shown: Face, **said: Any) -> str:
    return _environment().get_template(template).render(brand=shown, **said)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(FOLDER / "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


ERRORS = {
    404: ("Page not found", "There is nothing at this address. It may have been mistyped, or the page has moved."),
    500: ("Something went wrong", "The page could not be shown. Try again; if it stays, tell your administrator."),
}


def install(app: Flask, tenant_of_page: Callable[[], str | None] = lambda: None) -> None:
    """Superset's FLASK_APP_MUTATOR: our templates, our error pages, our first page, each in the request's brand.

    `tenant_of_page` knows whose page is asked for where its address says so, before anybody has shown who they are.
    """
    app.extensions[TENANT_OF_PAGE] = tenant_of_page
    shipped, forms = app.jinja_loader, PackageLoader("flask_appbuilder")
    app.jinja_loader = ChoiceLoader(
        [FileSystemLoader(FOLDER / "templates"), shipped, PrefixLoader({"shipped": shipped, "forms": forms})]
    )
    app.context_processor(lambda: {"brand": face()})
    _brand_what_pages_are_told()
    _brand_forms()
    _brand_reports()
    _say_what_failed_without_a_name()

    @app.before_request
    def home_is_a_dashboard() -> Response | None:
        if request.path in HOME_PAGES and current_user.is_authenticated:
            return redirect(f"/superset/dashboard/{brand_of_request().brand.home_dashboard}/")
        return None

    @app.after_request
    def lines_of_figures(response: Response) -> Response:
        return _recolored(response) if request.endpoint == CHARTS_OF_A_DASHBOARD and response.is_json else response

    @app.after_request
    def branded_error(response: Response) -> Response:
        is_page = response.status_code in ERRORS and response.mimetype == "text/html"
        is_ours = response.headers.pop("X-Branded", None)
        if not is_page or is_ours:
            return response
        return message_page(response.status_code, *ERRORS[response.status_code])


def _say_what_failed_without_a_name() -> None:
    """Charts and SQL Lab explain some errors by these."""
    from superset import errors

    errors.ISSUE_CODES |= {1010: "A command failed unexpectedly.", 1011: "Something failed unexpectedly."}


def _recolored(response: Response) -> Response:
    """A dashboard's charts, the lines of their big figures in the brand's first colour.

    Of all charts these alone have a colour of their own; where somebody chose another than the product's, it stays.
    """
    answer = response.get_json()
    product, own = (_as_picked(color) for color in (_product_color(), brand_of_request().brand.palettes.categorical[0]))
    for chart in answer.get("result", []):
        if chart.get("form_data", {}).get("color_picker") == product:
            chart["form_data"]["color_picker"] = own
    response.set_data(json.dumps(answer))
    return response


def _product_color() -> str:
    """The colour that assets/chart_defaults.yml gives them."""
    return brands().of_tenant(None).brand.colors.light.primary


def _as_picked(color: str) -> dict[str, int]:
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return {"r": red, "g": green, "b": blue, "a": 1}


def _brand_what_pages_are_told() -> None:
    """Put the brand around Superset's cache of what pages are told, not into it.

    The cache is keyed by the user's number, which all guests and the anonymous share (none), and its own hook for
    changes (COMMON_BOOTSTRAP_OVERRIDES_FUNC) runs inside of it: whoever came first would lend the others its brand.
    """
    from superset.views import base

    shared = base.cached_common_bootstrap_data
    base.cached_common_bootstrap_data = lambda user_id, locale: branded(shared(user_id, locale))


def _brand_forms() -> None:
    """Pages that Flask-AppBuilder draws, such as that of a new password, ask it for a name and a logo."""
    from flask_appbuilder import AppBuilder

    AppBuilder.app_name = property(lambda builder: face().name)
    AppBuilder.app_icon = property(lambda builder: face().logo)


def _brand_reports() -> None:
    """Put the brand of whoever a report runs for around its mail; Superset's has no place for it."""
    from superset.reports.notifications.email import EmailContent, EmailNotification

    as_shipped = EmailNotification._get_content

    def in_brand(report: EmailNotification) -> EmailContent:
        content, dressed = as_shipped(report), brand_of_request()
        head, logo = letterhead(dressed, LOGO_ID), mail_logo(dressed)
        before, body, after = content.body.rpartition("<body>")
        images = {**(content.images or {}), **({LOGO_ID: logo.content} if logo else {})}
        return replace(content, body=f"{before}{body}{head}{after}", images=images)

    EmailNotification._get_content = in_brand
    EmailNotification._get_call_to_action = lambda report: f"Open in {face().name}"
