"""The product's own face: themes, palettes, logo, manifest and error pages from brand.yml.

Superset's name is written in its templates, its error pages, its web manifest and its menu's About section;
each of these is replaced here.
"""

from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import yaml
from flask import Blueprint, Flask, Response, jsonify, make_response, redirect, request, send_from_directory
from flask_login import current_user
from jinja2 import ChoiceLoader, FileSystemLoader

FOLDER = Path(__file__).resolve().parent
SERVED = {"logo.svg", "logo-dark.svg", "logo.png", "favicon.svg", "favicon.png", "spinner.svg", "app.css", "app.js"}

blueprint = Blueprint("brand", __name__)


@cache
def brand() -> dict[str, Any]:
    """What brand.yml says."""
    return yaml.safe_load((FOLDER / "brand.yml").read_text())


def theme(*, dark: bool) -> dict[str, Any]:
    """Tokens of the light or the dark theme."""
    colors = brand()["colors"]
    light_only = {
        "colorTextBase": colors["ink"],
        "colorBgLayout": colors["canvas"],
        "colorBorderSecondary": colors["line"],
    }
    return {
        "token": {
            "brandAppName": brand()["name"],
            "brandLogoAlt": brand()["name"],
            "brandLogoUrl": "/brand/logo-dark.svg" if dark else "/brand/logo.svg",
            "brandLogoMargin": "14px 0",
            "brandLogoHref": "/",
            "brandLogoHeight": "28px",
            "brandIconMaxWidth": 160,
            "brandSpinnerUrl": "/brand/spinner.svg",
            "brandSpinnerSvg": None,
            "colorPrimary": colors["primary"],
            "colorLink": colors["link"],
            "colorError": colors["bad"],
            "colorWarning": colors["warning"],
            "colorSuccess": colors["good"],
            "colorInfo": colors["info"],
            "fontUrls": [],
            "fontFamily": brand()["font"],
            "fontFamilyCode": brand()["font_code"],
            "borderRadius": 8,
            "transitionTiming": 0.2,
            "fontSizeXS": "8",
            "fontSizeXXL": "28",
            "fontWeightNormal": "400",
            "fontWeightLight": "300",
            "fontWeightStrong": "600",
            "fontWeightBold": "700",
            "colorEditorSelection": "#2B3A6B" if dark else "#DDE4FF",
            **({} if dark else light_only),
        },
        "algorithm": "dark" if dark else "default",
    }


def categorical_schemes() -> list[dict[str, Any]]:
    """Chart palettes for names; the first is the default."""
    return _schemes("categorical")


def sequential_schemes() -> list[dict[str, Any]]:
    """Chart palettes for amounts; the first is the default."""
    return [scheme | {"isDiverging": False} for scheme in _schemes("sequential")]


def _schemes(kind: str) -> list[dict[str, Any]]:
    return [
        {**palette, "description": palette["label"], "isDefault": rank == 0}
        for rank, palette in enumerate(brand()["palettes"][kind])
    ]


def bootstrap_overrides(data: dict[str, Any]) -> dict[str, Any]:
    """The menu without its About section, which names the machinery and its version."""
    menu = data["menu_data"]
    about = {"show_watermark": False, "version_string": "", "version_sha": "", "build_number": ""}
    return {"menu_data": {**menu, "navbar_right": {**menu["navbar_right"], **about}}}


@blueprint.get("/brand/<name>")
def brand_file(name: str) -> Response:
    """A file of the brand, to whoever asks: the log-in page shows it too."""
    if name not in SERVED:
        return message_page(404, "Page not found", "There is nothing at this address.")
    return send_from_directory(FOLDER, name, max_age=3600)


@blueprint.get("/static/assets/pwa-manifest.json")
def manifest() -> Response:
    """What a phone reads when the page is put on its home screen."""
    colors = brand()["colors"]
    return jsonify(
        name=brand()["name"],
        short_name=brand()["name"],
        description=brand()["tagline"],
        start_url="/superset/dashboard/fleet-pocket/",
        scope="/",
        display="standalone",
        background_color=colors["canvas"],
        theme_color=colors["primary"],
        icons=[{"src": "/brand/favicon.png", "sizes": "192x192", "type": "image/png", "purpose": "any"}],
    )


def message_page(status: int, title: str, text: str) -> Response:
    """A page of the product that says one thing and leads back home."""
    page = (FOLDER / "message.html").read_text()
    fields = {"title": title, "text": text, "name": brand()["name"], **brand()["colors"]}
    for field, value in fields.items():
        page = page.replace(f"[[{field}]]", escape(value))
    return make_response(page, status, {"X-Branded": "1"})


ERRORS = {
    404: ("Page not found", "There is nothing at this address. It may have been mistyped, or the page has moved."),
    500: ("Something went wrong", "The page could not be shown. Try again; if it stays, tell your administrator."),
}


# Superset's own first page is about Superset: what was edited last, by whom.
HOME_PAGES = {"/", "/superset/welcome/", "/superset/welcome"}


def install(app: Flask) -> None:
    """Superset's FLASK_APP_MUTATOR: our templates, our error pages, our first page."""
    app.jinja_loader = ChoiceLoader([FileSystemLoader(FOLDER / "templates"), app.jinja_loader])

    @app.before_request
    def home_is_a_dashboard() -> Response | None:
        if request.path in HOME_PAGES and current_user.is_authenticated:
            return redirect(f"/superset/dashboard/{brand()['home_dashboard']}/")
        return None

    @app.after_request
    def branded_error(response: Response) -> Response:
        is_page = response.status_code in ERRORS and response.mimetype == "text/html"
        is_ours = response.headers.pop("X-Branded", None)
        if not is_page or is_ours:
            return response
        return message_page(response.status_code, *ERRORS[response.status_code])
