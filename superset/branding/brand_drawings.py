"""What is drawn of a brand's name and colours: a logo and an icon where it has none, and the sign of waiting."""

from html import escape

SANS = "'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
BAR = (
    '<path d="{0}" stroke="{1}">'
    '<animate attributeName="d" dur="1.1s" begin="{2}s" repeatCount="indefinite" values="{3}"/></path>'
)


def wordmark(name: str, color: str) -> str:
    """The name as an SVG logo."""
    # An SVG does not know how wide its text will be: a little more than letters are on average.
    width = 12 + 25 * len(name)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} 72" role="img" aria-label="{escape(name)}">'
        f'<text x="2" y="51" font-family="{SANS}" font-size="42" font-weight="600" fill="{color}">{escape(name)}</text>'
        "</svg>"
    )


def initial(name: str, color: str) -> str:
    """The name's first letter as an SVG icon."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72" role="img" aria-label="{escape(name)}">'
        f'<rect x="2" y="2" width="68" height="68" rx="18" fill="{color}"/>'
        f'<text x="36" y="51" text-anchor="middle" font-family="{SANS}" font-size="42" font-weight="600" fill="#fff">'
        f"{escape(name[0].upper())}</text></svg>"
    )


def spinner(first: str, second: str) -> str:
    """Three bars that move, in two colours."""
    bars = (
        BAR.format("M18 54V46", first, "0", "M18 54V46;M18 54V22;M18 54V46"),
        BAR.format("M36 54V38", first, ".15", "M36 54V38;M36 54V18;M36 54V38"),
        BAR.format("M54 54V28", second, ".3", "M54 54V28;M54 54V48;M54 54V28"),
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72" role="img" aria-label="Loading">'
        f'<g stroke-linecap="round" stroke-width="9" fill="none">{"".join(bars)}</g></svg>'
    )
