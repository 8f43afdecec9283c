"""Data Docs whose pages are complete as they are.

Great Expectations' own templates load styles, scripts and pictures from half a dozen hosts, and its
index stays empty without them; ours need neither a network nor a script, so they can be served under
a strict content security policy. Imported only by Great Expectations itself, where the gate runs.
"""

import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

from great_expectations.render.view.view import DefaultJinjaIndexPageView, DefaultJinjaPageView
from jinja2 import BytecodeCache, ChoiceLoader, Environment, FileSystemLoader
from jinja2.bccache import Bucket

TEMPLATES = FileSystemLoader(Path(__file__).parent)


class CompiledTemplates(BytecodeCache):
    """Templates compiled once a process: each view has an environment of its own, and would compile them again."""

    def __init__(self) -> None:
        self._compiled: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._compiled:
            bucket.bytecode_from_string(self._compiled[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._compiled[bucket.key] = bucket.bytecode_to_string()


COMPILED = CompiledTemplates()


class PageView(DefaultJinjaPageView):
    """A page of one validation or one suite."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.env.loader = ChoiceLoader([TEMPLATES, self.env.loader])
        self.env.bytecode_cache = COMPILED


class IndexView(DefaultJinjaIndexPageView):
    """The index of validations and suites."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.env.loader = ChoiceLoader([TEMPLATES, self.env.loader])
        self.env.bytecode_cache = COMPILED


def site_config(folder: Path) -> dict[str, Any]:
    """Configuration of a Data Docs site written to `folder`."""
    page = {"module_name": __name__, "class_name": PageView.__name__}
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "site_index_builder": {
            "class_name": "DefaultSiteIndexBuilder",
            "view": {"module_name": __name__, "class_name": IndexView.__name__},
        },
        "site_section_builders": {"validations": {"view": page}, "expectations": {"view": page}, "profiling": "none"},
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)},
    }


def write_build_pages(folder: Path, verdicts: list[dict[str, Any]], results: list[dict[str, Any]], run: str) -> None:
    """The page of a tenant's build just judged, and the list of those kept; pages of older builds are removed.

    `verdicts` are of the builds to keep, this one's first; `results` are its expectations', `run` is its runs' name.
    """
    environment = Environment(loader=TEMPLATES, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    (folder / "builds").mkdir(exist_ok=True)
    suites = {page.relative_to(folder).parts[1]: page for page in folder.glob(f"validations/*/{run}/*/*.html")}
    shown = {
        "verdict": verdicts[0],
        "failed": [one for one in results if not one["is_met"]],
        "met": [one for one in results if one["is_met"]],
        "suites": {name: f"../{quote(str(page.relative_to(folder)))}" for name, page in sorted(suites.items())},
    }
    _write(folder / "builds" / f"{verdicts[0]['build_id']}.html", environment, "build_page.j2", **shown)
    _write(folder / "builds.html", environment, "builds_page.j2", verdicts=verdicts)
    kept = {str(one["build_id"]) for one in verdicts}
    for page in folder.glob("builds/*.html"):
        if page.stem not in kept:
            page.unlink()
            for pages in folder.glob(f"validations/*/{run.rsplit(' ', 1)[0]} {page.stem}"):
                shutil.rmtree(pages)


def write_operator_index(quality: Path) -> None:
    """The operator's first page: a link to each tenant's own."""
    tenants = sorted(page.parent.parent.name for page in quality.glob("*/docs/builds.html"))
    folder = quality / "operator" / "docs"
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "index.html", Environment(loader=TEMPLATES, autoescape=True), "operator_index.j2", tenants=tenants)


def _write(path: Path, environment: Environment, template: str, **shown: Any) -> None:
    """Whole or not at all: somebody may be reading."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(environment.get_template(template).render(**shown))
    os.replace(partial, path)
