"""Every problem of the brands, all at once, each with what to do: for provisioning, and for checks without a server."""

from collections.abc import Iterator
from pathlib import Path

from brand_colors import GRAPHIC_CONTRAST, TEXT_CONTRAST, TEXT_OPACITY, alike, contrast, drawn_dark, luminance, mixed
from brand_file import (
    DEFAULT,
    FOLDER,
    TENANT_ID,
    Brand,
    BrandError,
    brand_files,
    folder_of,
    home_of,
    images_of,
    own_font_files,
    read_brand,
)
from brand_images import font_problems, image_problems

DASHBOARDS = FOLDER.parent / "assets" / "dashboards"
WHITE = "#FFFFFF"
# One theme's ground is light and the other's dark, or what is derived of them would not be readable.
LIGHT_FROM, DARK_UP_TO = 0.6, 0.15


def check_brands(folder: Path) -> list[str]:
    """Every problem of the product's brand and of the tenants' in the folder; nothing when all may be served."""
    problems = check_brand(DEFAULT)
    # What the product's own file has wrong would be told again for each tenant.
    if not problems:
        for path in brand_files(folder):
            problems += check_brand(path)
        problems += _strays(folder) + _shared_hosts(folder)
    return problems


def check_brand(path: Path) -> list[str]:
    """Every problem of one brand's file, each with the file's name and what to do; nothing when it may be served."""
    try:
        brand = read_brand(path)
    except BrandError as error:
        return str(error).splitlines()
    found = [
        *_name_problems(path),
        *_home_problems(brand),
        *_color_problems(brand),
        *_palette_problems(brand),
        *_file_problems(path, brand),
    ]
    return [f"{path.name}: {problem}" for problem in found]


def _name_problems(path: Path) -> Iterator[str]:
    if path != DEFAULT and not TENANT_ID.fullmatch(path.stem):
        yield "is not named after a tenant's key, which is of a-z, 0-9, - and _."


def _home_problems(brand: Brand) -> Iterator[str]:
    if not (DASHBOARDS / f"{brand.home_dashboard}.yml").is_file():
        known = ", ".join(sorted(path.stem for path in DASHBOARDS.glob("*.yml")))
        yield f"home_dashboard {brand.home_dashboard} is no dashboard; there are {known}."


def _color_problems(brand: Brand) -> Iterator[str]:
    for mode, colors in (("light", brand.colors.light), ("dark", brand.colors.dark)):
        drawn = drawn_dark if mode == "dark" else str
        for ground in ("canvas", "surface"):
            below = getattr(colors, ground)
            texts = {
                "ink": mixed(colors.ink, below, TEXT_OPACITY[mode]),
                "muted": colors.muted,
                "link": drawn(colors.link),
            }
            for name, text in texts.items():
                yield from _too_low(f"colors.{mode}.{name} on {ground}", text, below)
            is_fit = luminance(below) >= LIGHT_FROM if mode == "light" else luminance(below) <= DARK_UP_TO
            if not is_fit:
                yield f"colors.{mode}.{ground} {below} is too {'dark' if mode == 'light' else 'light'} for this theme."
        yield from _too_low(f"White on colors.{mode}.primary, as buttons are,", WHITE, drawn(colors.primary))


def _too_low(what: str, text: str, ground: str) -> Iterator[str]:
    ratio = contrast(text, ground)
    if ratio < TEXT_CONTRAST:
        yield f"{what} has a contrast of {ratio:.2f} ({text} on {ground}); text needs {TEXT_CONTRAST} (WCAG AA)."


def _palette_problems(brand: Brand) -> Iterator[str]:
    for color in brand.palettes.categorical:
        for mode, ground in (("light", brand.colors.light.surface), ("dark", brand.colors.dark.surface)):
            ratio = contrast(color, ground)
            if ratio < GRAPHIC_CONTRAST:
                yield (
                    f"palettes.categorical {color} has a contrast of {ratio:.2f} with the {mode} surface {ground}; "
                    f"what is drawn needs {GRAPHIC_CONTRAST} (WCAG AA)."
                )
    for one, other in alike(brand.palettes.categorical):
        yield f"palettes.categorical {one} and {other} are hard to tell apart."


def _file_problems(path: Path, brand: Brand) -> Iterator[str]:
    home = home_of(path)
    for place, name in images_of(brand).items():
        if folder_of(path, place) == home:
            yield from (f"images.{place}: {problem}" for problem in image_problems(place, home / name))
    for family, name in own_font_files(path, brand).items():
        yield from (f"fonts.files.{family}: {problem}" for problem in font_problems(home / name))


def _strays(folder: Path) -> list[str]:
    """Files and folders that nobody would find: misnamed, they would be left out without a word."""
    named = {path.stem for path in brand_files(folder)}
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    if not folder.is_dir() and folder != FOLDER / "tenants":
        return [f"{folder} is no folder; FLEETMART_BRANDING names the folder of the tenants' brands."]
    return [
        f"{path.name}: belongs to no brand; a brand is <tenant>.yml with its files in <tenant>/."
        for path in found
        if path.suffix != ".yml" and not (path.is_dir() and path.name in named) and not path.name.startswith(".")
    ]


def _shared_hosts(folder: Path) -> list[str]:
    owners: dict[str, str] = {}
    problems = []
    for path in [DEFAULT, *brand_files(folder)]:
        for host in _hosts_of(path):
            if host in owners:
                problems.append(f"{path.name}: hosts: {host} is {owners[host]}'s already.")
            owners.setdefault(host, path.name)
    return problems


def _hosts_of(path: Path) -> list[str]:
    try:
        return read_brand(path).hosts
    except BrandError:
        return []
