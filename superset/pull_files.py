"""What was changed by hand in Superset, written back into the files, in their own words and with their comments.

Nothing is written unless the new files would make exactly what Superset holds: what they have no word for is refused.
Needs ruamel.yaml, not Superset.
"""

import re
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from bundle import Bundle
from differences import Difference, differences
from import_files import phone_width
from marts import Dataset
from readable_form import chart_form
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.scalarstring import LiteralScalarString
from wanted_state import assets_state

# Which people open a dashboard stands in security/roles.yml; what a chart says when it is empty, in the chart's file.
NOT_IN_ITS_FILE = {"only for": "security/roles.yml", "says when empty": "the charts' files"}
CELL_KEYS = ("width", "height", "phone")


class PullError(Exception):
    """What Superset holds and the files have no word for; nothing was written."""


@dataclass(frozen=True)
class Pulled:
    """Files written, charts of people that are the files' from now on (their ids by slug), and what is left to do."""

    files: list[Path]
    adopted: dict[str, int]
    left: list[str]


def pull_files(assets: Path, marts: Path, slug: str, held: dict[str, Any]) -> Pulled:
    """Write what `held` (of pulled.py) says of a dashboard or chart into the files under `assets`.

    Raises PullError, or AssetError when the files are wrong already.
    """
    bundle = Bundle(assets, marts)
    own = {name: _new_slug(slug, chart["form"], bundle) for name, chart in held["own"].items()}
    forms = {f"chart {chart}": form for chart, form in held["charts"].items()}
    forms |= {f"chart {own[name]}": chart["form"] for name, chart in held["own"].items()}
    if held["dashboard"]:
        forms[f"dashboard {slug}"] = _renamed(held["dashboard"], own)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(assets, Path(folder) / "assets"))
        changed = [path for name, form in forms.items() if (path := _write(copy, bundle, name, form))]
        left = _prove(Bundle(copy, marts), forms)
        for path in changed:
            shutil.copyfile(path, assets / path.relative_to(copy))
    adopted = {own[name]: chart["id"] for name, chart in held["own"].items()}
    return Pulled([assets / path.relative_to(copy) for path in changed], adopted, left)


def _prove(bundle: Bundle, forms: dict[str, Any]) -> list[str]:
    """What differs still, and is in files for all dashboards together; raises PullError for anything else."""
    made = assets_state(bundle)
    left = differences(*({name: _of_its_file(state[name]) for name in forms} for state in (made, forms)))
    if left:
        raise PullError(_refusal(left))
    told = [(NOT_IN_ITS_FILE.get(one.field.partition("[")[0]), one) for one in differences(made, {**made, **forms})]
    return [f"{one}. That stands in {file}; change it there." for file, one in told]


def _refusal(left: list[Difference]) -> str:
    told = "\n".join(map(str, left))
    return (
        f"The files have no words for this, so nothing was written. Undo it in Superset, or write it by hand:\n{told}"
    )


def _new_slug(dashboard: str, form: dict[str, Any], bundle: Bundle) -> str:
    """A file's name for a person's own chart: its dashboard's first word and its title."""
    title = re.sub(r"[^a-z0-9]+", "-", form["title"].lower()).strip("-") or "chart"
    slug = f"{dashboard.split('-')[0]}-{title}"
    while slug in bundle.charts:
        slug += "-2"
    return slug


def _renamed(form: dict[str, Any], own: dict[str, str]) -> dict[str, Any]:
    """The dashboard's form with people's own charts under their new slugs."""
    rows = [
        {**row, "cells": [{**cell, "chart": own.get(cell["chart"], cell["chart"])} if "chart" in cell else cell
                          for cell in row.get("cells", [])]} if "cells" in row else row
        for row in form.get("rows", [])
    ]  # fmt: skip
    return {**form, "rows": rows}


def _write(assets: Path, bundle: Bundle, name: str, form: dict[str, Any]) -> Path | None:
    """Change the object's file where it says something else; the path when it was changed."""
    kind, slug = name.split(" ")
    made = assets_state(bundle).get(name, {})
    if _of_its_file(made) == _of_its_file(form):
        return None
    path = assets / f"{kind}s" / f"{slug}.yml"
    yaml = _yaml()
    document = yaml.load(path.read_text()) if path.exists() else CommentedMap()
    if kind == "chart":
        _write_chart(document, bundle, form)
    else:
        _write_dashboard(document, form)
    text = StringIO()
    yaml.dump(document, text)
    path.write_text(text.getvalue())
    return path


def _of_its_file(form: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in form.items() if key not in NOT_IN_ITS_FILE}


def _yaml() -> YAML:
    """Reads and writes in the form that the files have."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _write_chart(document: CommentedMap, bundle: Bundle, form: dict[str, Any]) -> None:
    for key in ("title", "description", "dataset", "viz"):
        _set(document, key, form.get(key))
    dataset = bundle.datasets.get(form["dataset"])
    if dataset is None or form["viz"] not in bundle.defaults:
        raise PullError(f"{form['title']} is a {form['viz']} of {form['dataset']}, which the files do not have.")
    params = document.setdefault("params", CommentedMap())
    wanted, made = form.get("params", {}), _params_form(bundle, dataset, form["viz"], params)
    for key in [*wanted, *(key for key in made if key not in wanted)]:
        value = wanted.get(key)
        if value == made.get(key):
            continue
        if key == "column_config":
            declared = _params_form(bundle, dataset, form["viz"], {**params, key: {}}).get(key, {})
            value = {name: config for name, config in (value or {}).items() if declared.get(name) != config}
        # A default that is not to hold is unsaid by an empty value.
        if value is None and key not in {*bundle.defaults["all"], *bundle.defaults[form["viz"]], "granularity_sqla"}:
            params.pop(key, None)
        else:
            params[key] = value
    _set(document, "params", params)
    _set(document, "where", form.get("where"))


def _params_form(bundle: Bundle, dataset: Dataset, viz: str, own: dict[str, Any]) -> dict[str, Any]:
    """The params that a chart's file makes of its own ones, in the words of the files."""
    params = bundle.params_in_full(dataset, viz, dict(own), [])
    chart = {"slice_name": "", "description": "", "viz_type": viz, "params": params}
    return chart_form(chart, dataset.slug).get("params", {})


def _write_dashboard(document: CommentedMap, form: dict[str, Any]) -> None:
    _set(document, "title", form.get("title"))
    _set(document, "description", form.get("description"))
    names = form.get("order of filters", [])
    _write_filters(document, [(name, form["filters"][name]) for name in names])
    _set(document, "css", LiteralScalarString(form["css"]) if form.get("css") else None)
    old = document.setdefault("rows", [])
    known = {_content(cell): cell for row in old for cell in row["cells"]}
    rows = {_content(cell): row for row in old for cell in row["cells"]}
    _replace(old, [_row(rows, known, row) for row in form.get("rows", [])])


def _write_filters(document: CommentedMap, filters: list[tuple[str, dict[str, Any]]]) -> None:
    old = {item["name"]: item for item in document.get("filters", [])}
    items = []
    for name, form in filters:
        wanted = {"name": name, **{key: form.get(key) for key in ("description", "dataset", "column")}}
        wanted |= {key: form.get(key) or None for key in ("single", "first", "sorted_by", "under", "not_for")}
        wanted["kind"] = "time" if form.get("kind") == "time" else None
        item = old.get(name, _flow_map())
        for key, value in wanted.items():
            if value != item.get(key) and not (isinstance(value, list) and sorted(value) == sorted(item.get(key, []))):
                _set(item, key, value)
        items.append(item)
    if items:
        _replace(document.setdefault("filters", []), items)
    else:
        document.pop("filters", None)


def _row(rows: dict[Any, Any], known: dict[Any, Any], row: dict[str, Any]) -> Any:
    """The row in the words of the file; the one that had its first cell is used again, and so is each cell."""
    cells = row.get("cells", [])
    heights = Counter(cell["height"] for cell in cells)
    made = rows.get(_content(cells[0])) if cells else None
    if made is None:
        made = CommentedMap(height=0, cells=[])
    else:
        # for no other row
        for content in [content for content, other in rows.items() if other is made]:
            del rows[content]
    if made["height"] not in heights:
        made["height"] = heights.most_common(1)[0][0] if heights else 0
    _replace(made["cells"], [_cell(known, cell, made["height"]) for cell in cells])
    return made


def _replace(items: Any, wanted: list[Any]) -> None:
    """Make a list of a file hold these; where it holds them already, it and its comments stay as they are."""
    del items[len(wanted) :]
    for place, item in enumerate(wanted):
        if place == len(items):
            items.append(item)
        elif items[place] is not item:
            items[place] = item


def _cell(known: dict[Any, Any], cell: dict[str, Any], height: int) -> Any:
    made = known.get(_content(cell))
    if made is None:
        made = _flow_map() if "chart" in cell else CommentedMap()
        made["width"] = cell["width"]
        made.update(
            {"chart": cell["chart"]} if "chart" in cell else {"text": LiteralScalarString(cell.get("text", ""))}
        )
    usual = {"width": None, "height": height, "phone": phone_width(cell["width"])}
    for key in CELL_KEYS:
        if cell.get(key) != made.get(key, usual[key]):
            _set(made, key, cell.get(key) if cell.get(key) != usual[key] else None)
    return made


def _content(cell: dict[str, Any]) -> tuple[str, Any]:
    return ("chart", cell["chart"]) if "chart" in cell else ("text", cell.get("text"))


def _flow_map() -> CommentedMap:
    made = CommentedMap()
    made.fa.set_flow_style()
    return made


def _set(document: CommentedMap, key: str, value: Any) -> None:
    """Say it, or unsay it where there is nothing to say; what says the same already stays as it is."""
    if value in (None, "", [], {}):
        document.pop(key, None)
    elif document.get(key) != value:
        document[key] = value
