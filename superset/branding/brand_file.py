"""What a brand's file may say, and how it is read: completed by the product's own brand.yml, and proved key by key.

What a brand says is data: colours, font names and host names have a strict form, so that they can stand in a style
sheet; names are escaped wherever they are shown.
"""

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import yaml
from brand_images import SHAPES
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

FOLDER = Path(__file__).resolve().parent
DEFAULT = FOLDER / "brand.yml"
# The same form as tenancy.py's, which is not always on the path here.
TENANT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def _text(pattern: str, **limits: int) -> Any:
    return StringConstraints(pattern=pattern, strict=True, **limits)


Color = Annotated[str, _text(r"^#[0-9A-Fa-f]{6}$")]
Line = Annotated[str, _text(r'^[^\x00-\x1f\x7f-\x9f\u2028\u2029<>"\\]+$', max_length=80)]
Family = Annotated[str, _text(r"^[A-Za-z][A-Za-z0-9 -]{0,40}$")]
Slug = Annotated[str, _text(r"^[a-z0-9][a-z0-9-]*$", max_length=100)]
LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
Host = Annotated[str, _text(rf"^({LABEL}\.)*{LABEL}$", max_length=253)]
FileName = Annotated[str, _text(r"^[A-Za-z0-9][A-Za-z0-9_-]*\.(svg|png|woff2)$")]
Families = Annotated[list[Family], Field(min_length=1, max_length=10)]
Scale = Annotated[list[Color], Field(min_length=3, max_length=12)]


class _Strict(BaseModel):
    """A part of a brand: no key but these."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Colors(_Strict):
    """One theme's colours, by what they are for."""

    primary: Color = Field(description="Buttons, and whatever is chosen; white text stands on it.")
    link: Color = Field(description="Links and keyboard focus.")
    ink: Color = Field(description="Text.")
    muted: Color = Field(description="Text that matters less.")
    line: Color = Field(description="Borders between things.")
    canvas: Color = Field(description="The page behind the cards.")
    surface: Color = Field(description="Cards, menus and charts.")
    good: Color = Field(description="Confirmations.")
    warning: Color = Field(description="Warnings.")
    bad: Color = Field(description="Errors.")
    info: Color = Field(description="Hints.")


class Themes(_Strict):
    """The colours of both themes."""

    light: Colors
    dark: Colors


class Fonts(_Strict):
    """Families in order of preference, and files of those that people do not have."""

    text: Families
    code: Families
    files: dict[Family, FileName] = Field({}, description="WOFF2 files in the tenant's folder, by family.")


class Palettes(_Strict):
    """Charts' colours; every brand's go by the same three names, so that charts follow."""

    categorical: Annotated[list[Color], Field(min_length=8, max_length=24)]
    low_is_bad: Scale
    depth: Scale


class Images(_Strict):
    """Files beside the brand's file, in a folder of the tenant's name."""

    logo: FileName | None = None
    logo_dark: FileName | None = None
    favicon: FileName | None = None
    touch_icon: FileName | None = None
    mail_logo: FileName | None = None


class Brand(_Strict):
    """What a brand's file says, completed by the product's own."""

    name: Annotated[Line, Field(max_length=40)]
    tagline: Line
    home_dashboard: Slug
    hosts: list[Host] = Field([], description="Names under which people of the tenant come to log in.")
    images: Images
    colors: Themes
    fonts: Fonts
    palettes: Palettes


class BrandError(Exception):
    """Everything that is wrong with the brands, a problem a line."""


def brands_folder() -> Path:
    """Where tenants' brands lie; the same default as the command line's."""
    return Path(os.environ.get("FLEETMART_BRANDING") or FOLDER / "tenants").expanduser().absolute()


def brand_files(folder: Path) -> list[Path]:
    """The tenants' brands of a folder."""
    return sorted(folder.glob("*.yml"))


def read_brand(path: Path) -> Brand:
    """The brand of a file, completed.

    Raises BrandError with each key that is wrong.
    """
    own = mapping_of(path)
    whole = own if path == DEFAULT else _completed(own, mapping_of(DEFAULT))
    try:
        return Brand.model_validate(whole)
    except ValidationError as error:
        raise BrandError("\n".join(f"{path.name}: {_said(one)}" for one in error.errors())) from error


def mapping_of(path: Path) -> dict[str, Any]:
    """What the file itself says; raises BrandError when that is not even keys."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BrandError(f"{path.name}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise BrandError(f"{path.name}: holds no keys such as `name: …`.")
    return found


def _completed(own: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    """What the file says, and for the rest the product's brand; but never its images under another name.

    A brand of another name whose logo is left out gets its name as a logo.
    """
    rest = {key: value for key, value in default.items() if key != "hosts"}
    if own.get("name", default["name"]) != default["name"]:
        rest["images"] = {}
    return _overlaid(rest, own)


def _overlaid(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {key: _overlaid(below[key], above[key]) for key in below if _are_mappings(below, above, key)}
    return {**below, **above, **both}


def _are_mappings(below: dict[str, Any], above: dict[str, Any], key: str) -> bool:
    return isinstance(below.get(key), dict) and isinstance(above.get(key), dict)


def _said(error: Any) -> str:
    """One of pydantic's errors as an instruction."""
    place = [str(part) for part in error["loc"]]
    where = ".".join(place)
    if error["type"] == "extra_forbidden":
        known = _known_keys(place[:-1])
        near = get_close_matches(place[-1], known, n=1, cutoff=0)
        return f"{where} is not known; {near[0]} comes nearest, of {', '.join(known)}."
    if error["type"] == "string_pattern_mismatch":
        return f"{where} is {error['input']!r}, which is not of its form; docs/branding.md shows it."
    return f"{where}: {error['msg']}."


def _known_keys(place: list[str]) -> list[str]:
    model: type[BaseModel] = Brand
    for part in place:
        model = model.model_fields[part].annotation
    return list(model.model_fields)


def home_of(path: Path) -> Path:
    """Where the files lie that a brand's file names."""
    return FOLDER if path == DEFAULT else path.with_suffix("")


def images_of(brand: Brand) -> dict[str, str]:
    """A brand's images by their place."""
    return {place: name for place in SHAPES if (name := getattr(brand.images, place))}


def folder_of(path: Path, place: str) -> Path:
    """Where an image lies: with the file that names it."""
    is_own = path != DEFAULT and place in (mapping_of(path).get("images") or {})
    return home_of(path) if is_own else FOLDER


def own_font_files(path: Path, brand: Brand) -> dict[str, str]:
    """Font files that the brand's own file names; the product's file lies with the product."""
    named = (mapping_of(path).get("fonts") or {}).get("files") or {}
    return {family: name for family, name in brand.fonts.files.items() if family in named}
