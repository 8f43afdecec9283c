"""A brand as mail wears it: its logo or name, its colours and fonts, in the plain HTML that mail programs draw.

Of the light theme alone: mail programs make a dark one of it themselves.
"""

from html import escape

from brand_style import families
from brands import Dressed, File

LOGO_HEIGHT = 32


def mail_logo(dressed: Dressed) -> File | None:
    """The image that goes with the mail; None where the brand has none, and its name stands for it."""
    return dressed.files.get("mail_logo")


def letterhead(dressed: Dressed, logo_id: str) -> str:
    """The top of a mail: the logo that is attached under this Content-ID, or the name."""
    brand, colors = dressed.brand, dressed.brand.colors.light
    name = escape(brand.name)
    shown = f'<img src="cid:{logo_id}" alt="{name}" height="{LOGO_HEIGHT}">' if mail_logo(dressed) else name
    return (
        f'<div style="padding:0 0 16px;margin:0 0 20px;border-bottom:3px solid {colors.primary};color:{colors.ink};'
        f'font:600 20px/1.3 {families(brand.fonts.text)}">{shown}</div>'
    )


def letter(dressed: Dressed, logo_id: str, paragraphs: list[str], emphasis: str, link: str, does: str) -> str:
    """A whole mail: paragraphs of text, one of them as `emphasis` between the first and the rest, and a button."""
    brand, colors = dressed.brand, dressed.brand.colors.light
    first, *rest = (f'<p style="margin:0 0 14px">{escape(text)}</p>' for text in paragraphs)
    return f"""\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{escape(brand.name)}</title></head>
<body style="margin:0;padding:24px;background:{colors.canvas}">
<div style="max-width:560px;margin:0 auto;padding:28px 32px;background:{colors.surface};color:{colors.ink};\
border:1px solid {colors.line};border-radius:12px;font:15px/1.55 {families(brand.fonts.text)}">
{letterhead(dressed, logo_id)}
{first}
<p style="margin:0 0 14px;padding:10px 14px;border-left:4px solid {colors.bad};background:{colors.canvas};\
font-weight:600">{escape(emphasis)}</p>
{"".join(rest)}
<p style="margin:22px 0 0"><a href="{escape(link)}" style="display:inline-block;padding:11px 20px;border-radius:8px;\
background:{colors.primary};color:#ffffff;text-decoration:none;font-weight:600">{escape(does)}</a></p>
</div>
</body>
</html>
"""
