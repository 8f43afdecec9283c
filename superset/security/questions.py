"""What a tenant's people ask of its data, so that it is answered of the next snapshot before they see it.

A file for each question that the product's charts were asked of data alone, in the home, where nobody but the server
reads. What nobody asked for a day goes, as does what is more than MOST.
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FOLDER = "questions"
MOST, LONGEST = 500, 50_000
ASKED_SECONDS = 24 * 3600

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question:
    """The body of a chart's request, and the person who asked it first."""

    username: str
    asked: dict[str, Any]


def note(home: Path, tenant_id: str, name: str, question: Question) -> None:
    """Remember that this was asked now; `name` is the same for what has the same answer for all of the tenant.

    Where it cannot be written, who asks is answered all the same.
    """
    try:
        _write(_folder(home, tenant_id) / f"{name}.json", question)
    except OSError as error:
        logger.warning("A question of %s is not noted, and so not answered ahead: %s", tenant_id, error)


def _write(file: Path, question: Question) -> None:
    with suppress(FileNotFoundError):
        os.utime(file)
        return
    text = json.dumps(asdict(question))
    if len(text) > LONGEST:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    if len(os.listdir(file.parent)) >= 2 * MOST:
        _worth_asking(file.parent)
    partial = file.with_suffix(f".{os.getpid()}-{time.monotonic_ns()}.part")
    partial.write_text(text)
    os.replace(partial, file)


def noted(home: Path, tenant_id: str) -> Iterator[tuple[str, Question]]:
    """Names and questions, the last asked first; what is too old or too many is removed."""
    for file in _worth_asking(_folder(home, tenant_id)):
        with suppress(FileNotFoundError):
            yield file.stem, Question(**json.loads(file.read_text()))


def forget(home: Path, tenant_id: str, name: str | None = None) -> None:
    """Remove one of the tenant's questions, or all of them."""
    if name is None:
        shutil.rmtree(_folder(home, tenant_id), ignore_errors=True)
    else:
        (_folder(home, tenant_id) / f"{name}.json").unlink(missing_ok=True)


def _worth_asking(folder: Path) -> list[Path]:
    """The newest of the folder's questions; all others are removed."""
    files = sorted(folder.glob("*.json"), key=_asked_at, reverse=True)
    worth = [file for file in files[:MOST] if time.time() - _asked_at(file) <= ASKED_SECONDS]
    for file in files[len(worth) :]:
        file.unlink(missing_ok=True)
    return worth


def _asked_at(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _folder(home: Path, tenant_id: str) -> Path:
    return home / "superset" / FOLDER / tenant_id
