"""A brand as a style sheet: variables that every page of ours is styled with, light and dark, and its own fonts.

Each value has the strict form that brands.py demands, so none can say more here than it stands for.
"""

from brand_colors import drawn_dark, mixed
from brand_file import Brand, Colors
from brands import Dressed

GENERIC = {"serif", "sans-serif", "monospace", "system-ui", "ui-sans-serif", "ui-serif", "ui-monospace", "cursive"}


def style_sheet(dressed: Dressed) -> str:
    """The sheet; the fonts' addresses are relative to its own."""
    brand = dressed.brand
    faces = "".join(
        f"@font-face {{ font-family: '{family}'; src: url('{dressed.files[f'font {family}'].name}') format('woff2'); "
        "font-display: swap; }\n"
        for family in brand.fonts.files
    )
    light, dark = _variables(brand.colors.light), _variables(dark_as_drawn(brand))
    both = {name: f"light-dark({color}, {dark[name]})" for name, color in light.items()}
    fonts = {"font": families(brand.fonts.text), "font-code": families(brand.fonts.code)}
    # The scheme by `html`, as Superset's pages then say which their user chose; older browsers show the light one.
    return (
        f"{faces}html {{ color-scheme: light dark; }}\n:root {{ {_declared(fonts)} {_declared(light)} }}\n"
        f"@supports (color: light-dark(#000, #fff)) {{ :root {{ {_declared(both)} }} }}\n"
    )


def families(names: list[str]) -> str:
    """Font families as CSS lists them."""
    return ", ".join(name if name in GENERIC else f"'{name}'" for name in names)


def dark_as_drawn(brand: Brand) -> Colors:
    """The dark theme's colours as Superset draws them, so that our pages beside its own look the same."""
    dark = brand.colors.dark
    return dark.model_copy(update={"primary": drawn_dark(dark.primary), "link": drawn_dark(dark.link)})


def _variables(colors: Colors) -> dict[str, str]:
    return {**colors.model_dump(), "edge": mixed(colors.muted, colors.surface, 0.85)}


def _declared(variables: dict[str, str]) -> str:
    return " ".join(f"--{name}: {value};" for name, value in variables.items())
