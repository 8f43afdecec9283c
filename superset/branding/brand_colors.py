"""How colours are measured: contrast as WCAG 2.2 defines it, difference as the eye sees it, darkening as Superset does.

https://www.w3.org/TR/WCAG22/#dfn-relative-luminance and #dfn-contrast-ratio; CIE 1976 L*a*b* with the D65 white.
"""

from itertools import combinations

Channels = tuple[float, float, float]

# Success criteria 1.4.3 (text) and 1.4.11 (graphical objects), level AA.
TEXT_CONTRAST, GRAPHIC_CONTRAST = 4.5, 3.0
# Two colours closer than this are taken for one in a legend.
LEAST_DIFFERENCE = 15.0
# Superset's dark theme (Ant Design's dark algorithm) draws a seed colour at 85 % over this.
DARK_UNDER, DARK_SHARE = "#141414", 0.85
# Superset draws text in the text colour at this opacity.
TEXT_OPACITY = {"light": 0.88, "dark": 0.85}


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours such as "#14213D": 1 of equal ones, 21 of black and white."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: str) -> float:
    """The relative luminance: 0 of black, 1 of white."""
    red, green, blue = _linear(color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def mixed(over: str, under: str, share: float) -> str:
    """`over` drawn on `under` with this opacity."""
    pairs = zip(_channels(over), _channels(under), strict=True)
    return "#" + "".join(f"{round(255 * (top * share + below * (1 - share))):02X}" for top, below in pairs)


def drawn_dark(color: str) -> str:
    """What Superset's dark theme makes of a primary or a link colour."""
    return mixed(color, DARK_UNDER, DARK_SHARE)


def alike(colors: list[str]) -> list[tuple[str, str]]:
    """Pairs of the colours that are hard to tell apart."""
    return [pair for pair in combinations(colors, 2) if difference(*pair) < LEAST_DIFFERENCE]


def difference(one: str, other: str) -> float:
    """The distance of two colours in L*a*b*; about 2 is the least that is seen."""
    return sum((a - b) ** 2 for a, b in zip(_lab(one), _lab(other), strict=True)) ** 0.5


def _channels(color: str) -> Channels:
    red, green, blue = (int(color[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return red, green, blue


def _linear(color: str) -> Channels:
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _channels(color))
    return red, green, blue


def _lab(color: str) -> Channels:
    red, green, blue = _linear(color)
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089
    fx, fy, fz = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)
