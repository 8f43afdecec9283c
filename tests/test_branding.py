"""A brand's file says what may be shown, or all that is wrong with it; and nobody is shown another's."""

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration.settings import ROOT

sys.path.insert(0, str(ROOT / "superset" / "branding"))
import brand_colors
import brand_file
import brand_images
import brand_mail
import brand_style
import brands
from brand_checks import check_brand, check_brands

TENANTS = ROOT / "superset" / "branding" / "tenants"
OWN = {"name": "Acme", "hosts": ["fleet.acme.example"], "images": {"logo": "logo.svg"}}
LOGO = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 72"><path d="M0 0H9V9Z" fill="#123456"/>{}</svg>'
Write = Callable[..., Path]


def png(width: int, height: int) -> bytes:
    """A PNG of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + b"\x80" * width for _ in range(height)))
    return brand_images.PNG_SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a brand's file and its files, OWN with what is said of its keys."""

    def written(tenant_id: str = "acme", files: dict[str, bytes] | None = None, **keys: Any) -> Path:
        path = tmp_path / f"{tenant_id}.yml"
        path.write_text(yaml.safe_dump({**deepcopy(OWN), **keys}))
        path.with_suffix("").mkdir(exist_ok=True)
        for name, content in {"logo.svg": LOGO.format("").encode(), **(files or {})}.items():
            path.with_suffix("").joinpath(name).write_bytes(content)
        return path

    return written


def test_the_brands_that_come_with_the_product_may_be_shown() -> None:
    assert check_brands(TENANTS) == []
    dressed = brands.load_brands(TENANTS)
    assert dressed.keys() == {brands.DEFAULT_KEY, *(path.stem for path in TENANTS.glob("*.yml"))}
    for one in dressed.values():
        assert set(one.files) == set(brand_images.SHAPES), one.key
    assert len({one.brand.name for one in dressed.values()}) == len(dressed)


def test_what_a_brand_leaves_out_is_the_products_but_never_its_logo_under_another_name(write: Write) -> None:
    acme = brands.brand_or_default(write(images={}).parent, "acme")
    product = brands.brand_or_default(write().parent, "nobody")
    assert acme.brand.colors == product.brand.colors and acme.brand.fonts == product.brand.fonts
    assert set(acme.files) == {"logo", "logo_dark", "favicon"}
    assert b">Acme</text>" in acme.files["logo"].content and b">A</text>" in acme.files["favicon"].content
    renamed_in_nothing = brands.brand_or_default(write("twin", name=product.brand.name, images={}).parent, "twin")
    assert renamed_in_nothing.files == product.files


def test_a_key_that_is_not_known_is_told_with_the_nearest(write: Write) -> None:
    path = write(nam="Acme", colors={"light": {"primry": "#3451D1"}})
    problems = check_brand(path)
    assert len(problems) == 2
    assert any("colors.light.primry is not known; primary comes nearest" in problem for problem in problems)
    assert any("nam is not known; name comes nearest" in problem for problem in problems)


def test_contrast_is_measured_as_wcag_measures_it() -> None:
    assert brand_colors.contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert brand_colors.contrast("#FFFFFF", "#FFFFFF") == 1
    # Known of WCAG's own examples: the lightest grey that is text on white.
    assert brand_colors.contrast("#767676", "#FFFFFF") == pytest.approx(4.54, abs=0.01)
    assert brand_colors.contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize(
    ("colors", "told"),
    [
        ({"light": {"ink": "#9A9A9A"}}, "colors.light.ink on canvas"),
        ({"light": {"muted": "#8A8A8A"}}, "colors.light.muted on surface"),
        ({"light": {"link": "#5F9BFF"}}, "colors.light.link on surface"),
        ({"light": {"primary": "#F2B705"}}, "White on colors.light.primary"),
        ({"dark": {"ink": "#555555"}}, "colors.dark.ink on surface"),
        ({"dark": {"muted": "#50586A"}}, "colors.dark.muted on canvas"),
        ({"dark": {"link": "#3451D1"}}, "colors.dark.link on surface"),
        ({"dark": {"primary": "#A5B8FF"}}, "White on colors.dark.primary"),
        ({"light": {"canvas": "#101010"}}, "is too dark for this theme"),
        ({"dark": {"surface": "#FFFFFF"}}, "is too light for this theme"),
    ],
)
def test_text_that_could_not_be_read_is_told(write: Write, colors: dict, told: str) -> None:
    assert any(told in problem for problem in check_brand(write(colors=colors)))


def test_a_palette_has_colours_that_are_seen_and_told_apart(write: Write) -> None:
    good = list(brands.brand_or_default(TENANTS, "").brand.palettes.categorical)
    for palette, told in (
        (["#F3E27A", *good], "#F3E27A has a contrast of 1."),
        (["#22252B", *good], "with the dark surface"),
        ([*good, "#4B64E1"], "#4A63E0 and #4B64E1 are hard to tell apart"),
        (good[:5], "palettes.categorical: List should have at least 8 items"),
    ):
        assert any(told in problem for problem in check_brand(write(palettes={"categorical": palette}))), told


@pytest.mark.parametrize(
    "keys",
    [
        {"colors": {"light": {"ink": "red;} body { display: none"}}},
        {"colors": {"light": {"ink": "#14213D\n"}}},
        {"fonts": {"text": ["Inter'; } body { background: url(//evil.example)"]}},
        {"fonts": {"files": {"Inter": "../../../etc/passwd"}}},
        {"name": "Acme</title><script>alert(1)</script>"},
        {"name": 'Acme" <evil@example.com>'},
        {"name": "Acme\r\nBcc: evil@example.com"},
        {"home_dashboard": "//evil.example"},
        {"images": {"logo": "../acme.yml"}},
        {"images": {"logo": "/etc/passwd"}},
        {"hosts": ["fleet.acme.example/x"]},
        {"hosts": ["Fleet.Acme.example"]},
        {"hosts": ["*.acme.example"]},
    ],
    ids=str,
)
def test_what_could_say_more_in_a_page_than_it_stands_for_is_refused(write: Write, keys: dict) -> None:
    assert check_brand(write(**keys))


@pytest.mark.parametrize(
    "inside",
    [
        "<script>alert(1)</script>",
        '<path d="M0 0" onload="alert(1)"/>',
        '<a href="javascript:alert(1)"><path d="M0 0"/></a>',
        '<image href="https://evil.example/x.png"/>',
        '<use href="https://evil.example/x.svg#a"/>',
        '<use href="data:image/svg+xml;base64,AAAA"/>',
        "<style>@import url(https://evil.example/x.css);</style>",
        '<path d="M0 0" fill="url(https://evil.example/x)"/>',
        '<path d="M0 0" style="fill: u\\72l(//evil.example)"/>',
        '<foreignObject><div xmlns="http://www.w3.org/1999/xhtml"/></foreignObject>',
        '<set attributeName="href" to="javascript:alert(1)"/>',
        '<script xmlns="http://www.w3.org/1999/xhtml">alert(1)</script>',
    ],
)
def test_a_drawing_that_could_do_more_than_draw_is_refused(write: Write, inside: str) -> None:
    assert check_brand(write()) == []
    assert check_brand(write(files={"logo.svg": LOGO.format(inside).encode()}))


def test_a_drawing_may_use_what_it_brings_itself(write: Write) -> None:
    inside = '<linearGradient id="a"/><path d="M0 0" fill="url(#a)"/><use href="#a"/><!-- drawn by hand -->'
    assert check_brand(write(files={"logo.svg": LOGO.format(inside).encode()})) == []


@pytest.mark.parametrize(
    ("place", "name", "content", "told"),
    [
        ("logo", "logo.svg", b'<!DOCTYPE svg [<!ENTITY a "b">]><svg/>', "not SVG or PNG by its content"),
        ("logo", "logo.svg", b"<svg><!DOCTYPE svg></svg>", "declares a document type"),
        ("logo", "logo.svg", b"<svg", "not SVG or PNG"),
        ("logo", "logo.svg", b"<svg >", "no well-formed SVG"),
        ("logo", "logo.svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>', "needs a viewBox"),
        ("logo", "logo.svg", LOGO.format("<g/>" * 20_000).encode(), "at most 64,000 are served"),
        ("logo", "logo.png", b"GIF89a" + bytes(40), "not SVG or PNG"),
        ("logo", "logo.png", png(100, 10), "10 pixels high; 20 to 600"),
        ("logo", "logo.png", brand_images.PNG_SIGNATURE, "broken PNG"),
        ("favicon", "icon.png", png(64, 32), "has to be square"),
        ("favicon", "icon.svg", LOGO.format("").encode(), "has to be square"),
        ("touch_icon", "touch.png", png(64, 64), "180 to 512 are needed"),
        ("touch_icon", "touch.svg", LOGO.format("").encode(), "is not PNG by its content"),
        ("mail_logo", "mail.png", png(300, 300), "24 to 200 are needed"),
    ],
)
def test_images_are_what_their_content_says(write: Write, place: str, name: str, content: bytes, told: str) -> None:
    problems = check_brand(write(images={place: name}, files={name: content}))
    assert any(told in problem for problem in problems), problems


def test_an_image_that_is_missing_or_lies_elsewhere_is_told(write: Write, tmp_path: Path) -> None:
    path = write(images={"logo": "gone.svg"})
    assert any("gone.svg is no file" in problem for problem in check_brand(path))
    (path.with_suffix("") / "gone.svg").symlink_to(tmp_path / "acme" / "logo.svg")
    assert any("gone.svg is no file" in problem for problem in check_brand(path))


def test_a_host_is_one_tenants(write: Write) -> None:
    write()
    folder = write("other", name="Other", hosts=["fleet.acme.example"]).parent
    assert check_brands(folder) == ["other.yml: hosts: fleet.acme.example is acme.yml's already."]


def test_files_that_nobody_would_find_are_told(write: Write) -> None:
    folder = write().parent
    (folder / "lost.yaml").write_text("name: Lost")
    (folder / "nobody").mkdir()
    write("Not A Key", hosts=[])
    told = check_brands(folder)
    assert [line.split(":")[0] for line in told] == ["Not A Key.yml", "lost.yaml", "nobody"]
    assert check_brands(folder / "missing")


def test_every_problem_is_told_at_once(write: Write) -> None:
    write(colors={"light": {"primary": "#F2B705", "ink": "#9A9A9A"}})
    folder = write("other", name="Other", hosts=[], images={"logo": "gone.svg"}).parent
    with pytest.raises(brand_file.BrandError) as refused:
        brands.load_brands(folder)
    told = str(refused.value)
    assert "acme.yml: White on colors.light.primary" in told and "acme.yml: colors.light.ink" in told
    assert "other.yml: images.logo: gone.svg" in told


def test_people_land_on_a_dashboard_that_there_is(write: Write) -> None:
    assert check_brand(write(home_dashboard="fleet-pocket")) == []
    (problem,) = check_brand(write(home_dashboard="fleet-poket"))
    assert "fleet-poket is no dashboard; there are" in problem and "fleet-pocket" in problem


@pytest.mark.parametrize("text", ["", "3: x", "- a list", "name: [", "\x80", "colors: 3"])
def test_a_file_that_is_no_brand_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "acme.yml"
    path.write_bytes(text.encode("latin-1"))
    assert check_brand(path)


def test_who_is_not_known_gets_the_products_brand(write: Write) -> None:
    shown = brands.Brands(write().parent)
    for host in ("fleet.acme.example", "FLEET.acme.example:8088", "fleet.acme.example."):
        assert shown.of_host(host).key == "acme"
    for host in ("acme.example", "x.fleet.acme.example", "", "127.0.0.1:8088", "[::1]:80"):
        assert shown.of_host(host).key == brands.DEFAULT_KEY
    assert shown.of_tenant("acme").key == "acme"
    for tenant_id in (None, "other", "../acme"):
        assert shown.of_tenant(tenant_id).key == brands.DEFAULT_KEY
    acme = shown.of_tenant("acme")
    assert shown.of_address("acme", acme.digest) is acme
    assert shown.of_address("acme", shown.of_tenant(None).digest) is None
    assert shown.of_address("other", acme.digest) is None


def test_a_running_server_takes_a_changed_brand_and_keeps_the_last_good_one(
    write: Write, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(brands, "SECONDS_BETWEEN_LOOKS", 0)
    shown = brands.Brands(write().parent)
    before = shown.of_tenant("acme").digest
    write(tagline="Now with more wheels")
    after = shown.of_tenant("acme")
    assert after.brand.tagline == "Now with more wheels" and after.digest != before
    write(colors={"light": {"primary": "#F2B705"}})
    assert shown.of_tenant("acme") == after
    assert "White on colors.light.primary" in caplog.text
    write(files={"logo.svg": LOGO.format("<g/>").encode()})
    assert shown.of_tenant("acme").digest not in (before, after.digest)


def test_provisioning_refuses_wrong_brands_and_says_all_that_is_wrong(write: Write, tmp_path: Path) -> None:
    folder = write(colors={"light": {"primary": "#F2B705"}}).parent
    write("other", hosts=[], nam="Other")
    home = tmp_path / "home"
    home.mkdir()
    user = {"username": "admin", "password": "x", "role": "admin", "tenant": "operator"}
    (home / "credentials.json").write_text(json.dumps({"users": [user]}))
    done = subprocess.run(
        [ROOT / ".venv-superset" / "bin" / "python", ROOT / "superset" / "provision.py"],
        env={"FLEETMART_HOME": str(home), "FLEETMART_BRANDING": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    for told in ("acme.yml: White on colors.light.primary", "other.yml: nam is not known; name", "home: belongs to no"):
        assert told in done.stderr
    assert not (home / "superset").exists()


def test_a_brand_of_its_own_font_brings_it(write: Write) -> None:
    fonts = {"text": ["Acme Sans", "sans-serif"], "files": {"Acme Sans": "acme.woff2"}}
    assert any("is not WOFF2" in one for one in check_brand(write(fonts=fonts, files={"acme.woff2": b"OTTO"})))
    folder = write(fonts=fonts, files={"acme.woff2": b"wOF2" + bytes(20)}).parent
    acme = brands.load_brands(folder)["acme"]
    sheet = brand_style.style_sheet(acme)
    assert "src: url('font-acme-sans.woff2')" in sheet and "--font: 'Acme Sans', sans-serif;" in sheet
    assert acme.files["font Acme Sans"].media_type == "font/woff2"


def test_mail_wears_the_brand_and_escapes_what_it_says(write: Write) -> None:
    acme = brands.brand_or_default(write(images={}, colors={"light": {"primary": "#7A1F5C"}}).parent, "acme")
    said = brand_mail.letter(acme, "id", ["Of <b>", "More"], "A & B", "https://x.example/?a=1&b=2", "Open")
    assert "#7A1F5C" in said and ">Acme</div>" in said and "cid:" not in said
    assert "Of &lt;b&gt;" in said and "A &amp; B" in said and "a=1&amp;b=2" in said
    product = brands.brand_or_default(TENANTS, "nobody")
    assert 'src="cid:id"' in brand_mail.letterhead(product, "id")
