"""How a brand shows: whose a request's pages wear, and its themes, palettes and pictures as Superset wants them told.

A request shows the brand of the tenant of whoever is logged in or embedded; before that, the one that names the host.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from brand_file import brands_folder
from brand_style import families
from brands import Brands, Dressed
from flask import current_app, g, has_app_context, has_request_context, request
from flask_login import current_user
from tenancy import UnknownCaller, tenant_of_user

# Where the application keeps what tells whose page is asked for, before anybody has shown who they are.
TENANT_OF_PAGE = "tenant_of_page"
# Charts name their palettes by these, whoever's colours they are then drawn in.
SCHEMES = {"categorical": "fleetmart", "low_is_bad": "fleetmart_low_is_bad", "depth": "fleetmart_depth"}
LABELS = {"categorical": "{}", "low_is_bad": "{}, low is bad", "depth": "{}, depth"}


@cache
def brands() -> Brands:
    """All brands; raises BrandError when one of them may not be shown."""
    return Brands(brands_folder())


def brand_of_request() -> Dressed:
    """The brand that this request's pages wear; outside of one, as in a report, that of whoever it runs for."""
    if not has_request_context():
        return brands().of_tenant(_tenant_of(getattr(g, "user", None)) if has_app_context() else None)
    tenant_id = current_app.extensions[TENANT_OF_PAGE]() or _tenant_of(current_user)
    return brands().of_tenant(tenant_id) if tenant_id else brands().of_host(request.host)


def _tenant_of(user: Any) -> str | None:
    try:
        return tenant_of_user(user)
    except UnknownCaller:
        return None


@dataclass(frozen=True)
class Face:
    """A brand as pages link to it: templates know it as `brand`."""

    dressed: Dressed

    @property
    def name(self) -> str:
        return self.dressed.brand.name

    @property
    def icons(self) -> list[dict[str, str]]:
        """What a page's head says of the icons."""
        kinds = (("favicon", "icon"), ("touch_icon", "apple-touch-icon"))
        files = self.dressed.files
        return [
            {
                "rel": rel,
                "type": files[place].media_type,
                "href": self.address(files[place].name),
                "sizes": files[place].sizes,
            }
            for place, rel in kinds
            if place in files
        ]

    @property
    def logo(self) -> str:
        return self.address(self.dressed.files["logo"].name)

    @property
    def logo_dark(self) -> str:
        return self.address(self.dressed.files["logo_dark"].name)

    def address(self, name: str) -> str:
        """Where a file of the brand is; it may be kept for ever, for another file has another address."""
        return f"/brand/{self.dressed.key}/{self.dressed.digest}/{name}"


def face() -> Face:
    """The face of this request's pages."""
    return Face(brand_of_request())


def theme(dressed: Dressed, *, dark: bool) -> dict[str, Any]:
    """Tokens of the light or the dark theme."""
    brand, shown = dressed.brand, Face(dressed)
    colors = brand.colors.dark if dark else brand.colors.light
    return {
        "token": {
            "brandAppName": brand.name,
            "brandLogoAlt": brand.name,
            "brandLogoUrl": shown.logo_dark if dark else shown.logo,
            "brandLogoMargin": "14px 0",
            "brandLogoHref": "/",
            "brandLogoHeight": "28px",
            "brandIconMaxWidth": 160,
            "brandSpinnerUrl": shown.address("spinner.svg"),
            "brandSpinnerSvg": None,
            "colorPrimary": colors.primary,
            "colorLink": colors.link,
            "colorError": colors.bad,
            "colorWarning": colors.warning,
            "colorSuccess": colors.good,
            "colorInfo": colors.info,
            "colorTextBase": colors.ink,
            # As shipped these are too pale to be read.
            "colorTextTertiary": colors.muted,
            "colorTextDescription": colors.muted,
            "colorTextPlaceholder": colors.muted,
            "colorBgLayout": colors.canvas,
            "colorBgContainer": colors.surface,
            "colorBorderSecondary": colors.line,
            "fontUrls": [],
            "fontFamily": families(brand.fonts.text),
            "fontFamilyCode": families(brand.fonts.code),
            "borderRadius": 8,
            "transitionTiming": 0.2,
            "fontSizeXS": "8",
            "fontSizeXXL": "28",
            "fontWeightNormal": "400",
            "fontWeightLight": "300",
            "fontWeightStrong": "600",
            "fontWeightBold": "700",
            "colorEditorSelection": "#2B3A6B" if dark else "#DDE4FF",
            **({"colorBgBase": colors.canvas} if dark else {}),
        },
        "algorithm": "dark" if dark else "default",
    }


def themes(dressed: Dressed) -> dict[str, Any]:
    """Both themes, as Superset's pages and the embedding SDK take them."""
    return {"default": theme(dressed, dark=False), "dark": theme(dressed, dark=True)}


def categorical_schemes(dressed: Dressed) -> list[dict[str, Any]]:
    """Chart palettes for names; the first is the default."""
    return [_scheme(dressed, "categorical", is_default=True)]


def sequential_schemes(dressed: Dressed) -> list[dict[str, Any]]:
    """Chart palettes for amounts; the first is the default."""
    kinds = ("low_is_bad", "depth")
    return [_scheme(dressed, kind, is_default=kind == kinds[0]) | {"isDiverging": False} for kind in kinds]


def _scheme(dressed: Dressed, kind: str, is_default: bool) -> dict[str, Any]:
    label = LABELS[kind].format(dressed.brand.name)
    colors = list(getattr(dressed.brand.palettes, kind))
    return {"id": SCHEMES[kind], "label": label, "description": label, "colors": colors, "isDefault": is_default}


def branded(data: dict[str, Any]) -> dict[str, Any]:
    """What Superset tells every page at its start, in this request's brand.

    Also without the menu's About section, which names the machinery and its version.
    """
    dressed, menu = brand_of_request(), data["menu_data"]
    name, logo = dressed.brand.name, Face(dressed).logo
    about = {"show_watermark": False, "version_string": "", "version_sha": "", "build_number": ""}
    return {
        **data,
        "menu_data": {
            **menu,
            "brand": {**menu["brand"], "icon": logo, "alt": name, "tooltip": name},
            "navbar_right": {**menu["navbar_right"], **about},
        },
        "extra_categorical_color_schemes": categorical_schemes(dressed),
        "extra_sequential_color_schemes": sequential_schemes(dressed),
        "theme": {**data["theme"], **themes(dressed)},
    }
