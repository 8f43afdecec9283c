"""Two states of Superset compared, object by object and field by field.

A state is a mapping of objects, such as "dashboard fleet-pocket", to nested mappings and lists of what they say.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

State = dict[str, dict[str, Any]]
ABSENT = object()


@dataclass(frozen=True)
class Difference:
    """What the files say of an object's field, and what Superset holds; an object as a whole has no field."""

    object: str
    change: str
    field: str = ""
    files: Any = None
    superset: Any = None

    def __str__(self) -> str:
        if not self.field:
            return f"{self.object}: {'only in Superset' if self.change == 'added' else 'missing in Superset'}"
        if self.change == "added":
            return f"{self.object}: {self.field} added: {self.superset!r}"
        if self.change == "removed":
            return f"{self.object}: {self.field} removed: {self.files!r}"
        return f"{self.object}: {self.field}: {self.files!r} → {self.superset!r}"


def differences(wanted: State, present: State) -> list[Difference]:
    """What in `present` is not as `wanted`: added, removed or changed there."""
    found = []
    for name in sorted(wanted.keys() | present.keys()):
        if name not in present:
            found.append(Difference(name, "removed"))
        elif name not in wanted:
            found.append(Difference(name, "added"))
        else:
            found += [
                Difference(name, change, field, files, superset)
                for field, change, files, superset in _fields("", wanted[name], present[name])
            ]
    return found


def _fields(place: str, wanted: Any, present: Any) -> Iterator[tuple[str, str, Any, Any]]:
    if isinstance(wanted, dict) and isinstance(present, dict):
        for key in [*wanted, *(key for key in present if key not in wanted)]:
            inner = f"{place}.{key}" if place else str(key)
            yield from _fields(inner, wanted.get(key, ABSENT), present.get(key, ABSENT))
    elif _are_long(wanted, present):
        for number in range(max(len(wanted), len(present))):
            yield from _fields(f"{place}[{number}]", _item(wanted, number), _item(present, number))
    elif wanted is ABSENT:
        yield place, "added", None, present
    elif present is ABSENT:
        yield place, "removed", wanted, None
    elif wanted != present:
        yield place, "changed", wanted, present


def _are_long(wanted: Any, present: Any) -> bool:
    """Lists of structured items are compared item by item, others as a whole."""
    lists = isinstance(wanted, list) and isinstance(present, list)
    return lists and any(isinstance(item, dict) for item in [*wanted, *present])


def _item(items: list[Any], number: int) -> Any:
    return items[number] if number < len(items) else ABSENT
