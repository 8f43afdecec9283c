"""What is wrong in the files, as people are told of it: which file, where in it, what, and what would be right."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

Made = TypeVar("Made")
# libyaml's is ten times as fast, where PyYAML was built with it
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong; `where` is the place within the file."""

    file: str
    where: str
    problem: str
    remedy: str = ""

    def __str__(self) -> str:
        place = f"{self.file}, {self.where}" if self.where else self.file
        return f"{place}: {self.problem} {self.remedy}".rstrip()


class AssetError(ValueError):
    """Files that cannot be compiled; `problems` are all that is wrong in them."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def problem(path: Path, where: str, what: str, known: Iterable[Any] = (), remedy: str = "") -> Problem:
    """A problem of the file `path`; what is known instead is its remedy."""
    names = sorted(map(str, known))
    return Problem(
        f"{path.parent.name}/{path.name}", where, what, f"Known are: {', '.join(names)}." if names else remedy
    )


def refuse(problems: Iterable[Problem]) -> None:
    """Raise AssetError when there are problems."""
    if found := list(problems):
        raise AssetError(found)


def each(items: Iterable[Any], make: Callable[[Any], Made], problems: list[Problem]) -> dict[Any, Made]:
    """What `make` makes of each item; what it refuses is left out, and its problems are added to `problems`."""
    made = {}
    for item in items:
        try:
            made[item] = make(item)
        except AssetError as error:
            problems.extend(error.problems)
    return made


def yaml_files(folder: Path) -> list[Path]:
    """The folder's YAML files in the order of their names."""
    return sorted(folder.glob("*.yml"))


def read_mapping(path: Path, required: dict[str, type] | None = None, optional: dict[str, type] | None = None) -> Any:
    """What a YAML file says.

    Raises AssetError when it is no mapping, or, where `required` is given, lacks a key, has one that means nothing, or
    one of another type.
    """
    try:
        content = yaml.load(path.read_text(), Loader=LOADER)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise AssetError([problem(path, "", f"cannot be read: {error}")]) from error
    if not isinstance(content, dict):
        raise AssetError([problem(path, "", "is not a mapping of names to values.")])
    if required is not None:
        refuse(_key_problems(path, content, required, optional or {}))
    return content


def _key_problems(path: Path, content: dict[str, Any], required: dict[str, type], optional: dict[str, type]) -> Any:
    known = required | optional
    if missing := required.keys() - content.keys():
        yield problem(path, "", f"lacks {', '.join(sorted(missing))}.")
    if unknown := content.keys() - known.keys():
        yield problem(path, "", f"says {', '.join(sorted(map(str, unknown)))}, which means nothing here.", known)
    for key, value in content.items():
        if key in known and not isinstance(value, known[key]):
            yield problem(path, key, f"is {value!r}, which is no {known[key].__name__}.", remedy="Correct its form.")
