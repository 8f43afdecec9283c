"""Data Docs whose pages are complete as they are.

Great Expectations' own templates load styles, scripts and pictures from half a dozen hosts, and its
index stays empty without them; ours need neither a network nor a script, so they can be served under
a strict content security policy. Imported only by Great Expectations itself, where the gate runs.
"""

from pathlib import Path
from typing import Any

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


def write_operator_index(folder: Path) -> None:
    """The operator's first page: a link to each tenant's own."""
    tenants = sorted(path.name for path in folder.iterdir() if (path / "index.html").exists())
    environment = Environment(loader=TEMPLATES, autoescape=True)
    (folder / "index.html").write_text(environment.get_template("operator_index.j2").render(tenants=tenants))
