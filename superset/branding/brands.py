"""Tenants' brands with their files, ready to be shown: one checked file each, completed by the product's own.

Nothing here needs Superset or Flask: the same files dress its pages and the mail that the pipeline sends.
"""

import hashlib
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from brand_checks import check_brand, check_brands
from brand_drawings import initial, wordmark
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
from brand_images import PNG, SVG, png_size, type_of

# No tenant's key begins like this, so no tenant can be called so.
DEFAULT_KEY = "_default"
SECONDS_BETWEEN_LOOKS = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class File:
    """A file that pages show: an image or a font."""

    name: str
    media_type: str
    content: bytes

    @property
    def sizes(self) -> str:
        """An image's size as pages and manifests say it."""
        return "x".join(map(str, png_size(self.content))) if self.media_type == PNG else "any"


@dataclass(frozen=True)
class Dressed:
    """A brand with its files, ready to be shown; `key` is the tenant, or DEFAULT_KEY."""

    key: str
    brand: Brand
    files: dict[str, File]

    @cached_property
    def digest(self) -> str:
        """Another one for whatever a viewer could tell apart, so that addresses may be kept for ever."""
        seen = hashlib.sha256(_product_code() + self.brand.model_dump_json().encode())
        for place, file in sorted(self.files.items()):
            seen.update(f"{place}\0{file.name}\0".encode() + hashlib.sha256(file.content).digest())
        return seen.hexdigest()[:20]


@cache
def _product_code() -> bytes:
    """What else pages show is made from: another version of the product has other addresses."""
    return b"".join(path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in (".css", ".js", ".py"))


def load_brands(folder: Path) -> dict[str, Dressed]:
    """The product's brand and the tenants', by key.

    Raises BrandError with every problem at once.
    """
    if problems := check_brands(folder):
        raise BrandError("\n".join(problems))
    return {dressed.key: dressed for dressed in map(_dressed, [DEFAULT, *brand_files(folder)])}


def brand_or_default(folder: Path, tenant_id: str) -> Dressed:
    """The tenant's brand; the product's where it has none, or one that may not be shown."""
    path = folder / f"{tenant_id}.yml"
    if TENANT_ID.fullmatch(tenant_id) and path.is_file() and not check_brand(path):
        return _dressed(path)
    return _dressed(DEFAULT)


class Brands:
    """The brands of a folder as a server shows them: looked at again while it runs.

    What is wrong at its start raises BrandError; a file that is spoiled later is said in the log, and changes nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state = self._seen()
        self._all = load_brands(folder)
        self._looked = time.monotonic()
        self._lock = threading.Lock()

    def of_tenant(self, tenant_id: str | None) -> Dressed:
        """The tenant's brand; the product's for a tenant without one, and for nobody."""
        brands = self._current()
        return brands.get(tenant_id or DEFAULT_KEY, brands[DEFAULT_KEY])

    def of_host(self, host: str) -> Dressed:
        """The brand that names this host (with or without a port); the product's when none does."""
        name = re.sub(r":\d+$", "", host).lower().rstrip(".")
        brands = self._current()
        return next((one for one in brands.values() if name in one.brand.hosts), brands[DEFAULT_KEY])

    def of_address(self, key: str, digest: str) -> Dressed | None:
        """The brand of this key if it still is what the digest says."""
        found = self._current().get(key)
        return found if found and found.digest == digest else None

    def _current(self) -> dict[str, Dressed]:
        with self._lock:
            if time.monotonic() - self._looked > SECONDS_BETWEEN_LOOKS:
                self._looked = time.monotonic()
                self._look_again()
            return self._all

    def _look_again(self) -> None:
        state = self._seen()
        if state == self._state:
            return
        self._state = state
        try:
            self._all = load_brands(self._folder)
        except (BrandError, OSError) as error:
            log.error("Brands are shown as they were, for now they are wrong: %s", error)

    def _seen(self) -> list[tuple[str, int, int]]:
        files = [path for folder in (FOLDER, self._folder) for path in _files_below(folder)]
        return sorted((str(path), facts.st_mtime_ns, facts.st_size) for path, facts in files)


def _files_below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Files of a folder and its folders with what is known of them, less what vanishes meanwhile."""
    for path in [*folder.glob("*.*"), *folder.glob("*/*.*")]:
        try:
            yield path, path.stat()
        except FileNotFoundError:
            continue


def _dressed(path: Path) -> Dressed:
    brand = read_brand(path)
    files = {place: _file(place, folder_of(path, place) / name) for place, name in images_of(brand).items()}
    own_fonts = own_font_files(path, brand)
    for family, name in brand.fonts.files.items():
        files[f"font {family}"] = _file(f"font {family}", (home_of(path) if family in own_fonts else FOLDER) / name)
    return Dressed(DEFAULT_KEY if path == DEFAULT else path.stem, brand, _drawn(brand) | files)


def _file(place: str, path: Path) -> File:
    content = path.read_bytes()
    return File(f"{_dashed(place)}{path.suffix}", type_of(content), content)


def _drawn(brand: Brand) -> dict[str, File]:
    """A logo and an icon of the name alone, for a brand that has none."""
    drawings = {
        "logo": wordmark(brand.name, brand.colors.light.ink),
        "logo_dark": wordmark(brand.name, brand.colors.dark.ink),
        "favicon": initial(brand.name, brand.colors.light.primary),
    }
    return {place: File(f"{_dashed(place)}.svg", SVG, drawing.encode()) for place, drawing in drawings.items()}


def _dashed(place: str) -> str:
    return re.sub("[ _]", "-", place).lower()
