"""What an image or a font of a brand may be, told from its content: its name is only what somebody called it.

A drawing may draw, and nothing else: what could run, load or lead elsewhere is refused element by element. It is
served with a policy that would stop it all the same.
"""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

SVG, PNG, WOFF2 = "image/svg+xml", "image/png", "font/woff2"
PNG_SIGNATURE, WOFF2_SIGNATURE = b"\x89PNG\r\n\x1a\n", b"wOF2"
MOST_BYTES = {SVG: 64_000, PNG: 256_000, WOFF2: 400_000}

NAMESPACE = "{http://www.w3.org/2000/svg}"
DRAWS = {
    *("svg", "g", "defs", "title", "desc", "style", "use", "symbol", "clipPath", "mask", "pattern"),
    *("path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text", "tspan"),
    *("linearGradient", "radialGradient", "stop"),
}
LOADS = re.compile(r"url\((?!\s*[\"']?#)|@import|javascript:|expression\(|\\", re.IGNORECASE)


@dataclass(frozen=True)
class Shape:
    """What a place on the page asks of its image: heights in pixels, and whether it is as wide as high."""

    types: tuple[str, ...]
    least: int
    most: int
    is_square: bool = False


SHAPES = {
    "logo": Shape((SVG, PNG), 20, 600),
    "logo_dark": Shape((SVG, PNG), 20, 600),
    "favicon": Shape((SVG, PNG), 16, 512, is_square=True),
    # Phones draw no SVG on the home screen, and mail programs none at all.
    "touch_icon": Shape((PNG,), 180, 512, is_square=True),
    "mail_logo": Shape((PNG,), 24, 200),
}


def type_of(content: bytes) -> str | None:
    """The media type that the content is of; None when it is of none that a brand may have."""
    if content.startswith(PNG_SIGNATURE):
        return PNG
    if content.startswith(WOFF2_SIGNATURE):
        return WOFF2
    return SVG if re.match(rb"\s*(<\?xml[^>]*\?>)?\s*(<!--.*?-->\s*)*<svg[\s>]", content, re.DOTALL) else None


def png_size(content: bytes) -> tuple[int, int]:
    """Width and height of a PNG, from its header chunk, which comes first (PNG specification, 11.2.1)."""
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def image_problems(place: str, path: Path) -> list[str]:
    """What is wrong with the image at this place (a key of SHAPES); nothing when it may be shown."""
    shape = SHAPES[place]
    return list(_file_problems(path, shape.types, lambda content: _shape_problems(content, shape)))


def font_problems(path: Path) -> list[str]:
    """What is wrong with a font's file."""
    return list(_file_problems(path, (WOFF2,), lambda content: iter(())))


def _file_problems(path: Path, types: tuple[str, ...], further: Callable[[bytes], Iterator[str]]) -> Iterator[str]:
    if path.is_symlink() or not path.is_file():
        yield f"{path.name} is no file in {path.parent}."
        return
    content = path.read_bytes()
    kind = type_of(content)
    if kind not in types:
        names = " or ".join(one.split("/")[1].removesuffix("+xml").upper() for one in types)
        yield f"{path.name} is not {names} by its content."
    elif len(content) > MOST_BYTES[kind]:
        yield f"{path.name} has {len(content):,} bytes; at most {MOST_BYTES[kind]:,} are served."
    else:
        yield from (f"{path.name} {problem}" for problem in further(content))


def _shape_problems(content: bytes, shape: Shape) -> Iterator[str]:
    if type_of(content) == SVG:
        yield from _drawing_problems(content, shape)
        return
    if len(content) < 24 or content[12:16] != b"IHDR":
        yield "is a broken PNG."
        return
    width, height = png_size(content)
    if not shape.least <= height <= shape.most:
        yield f"is {height} pixels high; {shape.least} to {shape.most} are needed."
    if shape.is_square and width != height:
        yield f"is {width} by {height} pixels, and has to be square."


def _drawing_problems(content: bytes, shape: Shape) -> Iterator[str]:
    # Entities could grow without end while they are read, or fetch a file.
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        yield "declares a document type; save it without."
        return
    try:
        drawing = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        yield f"is no well-formed SVG ({error})."
        return
    box = re.fullmatch(r"[-\d.]+[\s,]+[-\d.]+[\s,]+([\d.]+)[\s,]+([\d.]+)", drawing.get("viewBox", "").strip())
    if box is None:
        yield 'needs a viewBox="0 0 WIDTH HEIGHT", or it cannot be scaled.'
    elif shape.is_square and box[1] != box[2]:
        yield f"is {box[1]} by {box[2]}, and has to be square."
    found = {problem for element in drawing.iter() for problem in _element_problems(element)}
    yield from sorted(found)


def _element_problems(element: ElementTree.Element) -> Iterator[str]:
    if not isinstance(element.tag, str):
        return
    name = element.tag.removeprefix(NAMESPACE)
    if name not in DRAWS or not element.tag.startswith(NAMESPACE):
        yield f"holds <{name.rpartition('}')[2]}>, which is not among what a logo is drawn with."
    if name == "style" and LOADS.search(element.text or ""):
        yield "has a style that loads something or hides what it says."
    for key, value in element.attrib.items():
        attribute = key.rpartition("}")[2].lower()
        if attribute.startswith("on"):
            yield f"has the event handler {attribute}."
        elif attribute in ("href", "src") and not value.startswith("#"):
            yield f"refers to something outside of itself ({attribute})."
        elif LOADS.search(value):
            yield f"has a {attribute} that loads something or hides what it says."
