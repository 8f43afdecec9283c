"""Answers what a tenant's people ask of a snapshot that they do not see yet: beside the server, for all its workers.

Whoever publishes points `serving/<tenant>/next` to the new file (orchestration/answered_ahead.py). Here each question
that was asked of late (security/questions.py) is asked of that file, as the person who asked it, by Superset's own
interface, and the answer is kept where the server looks for it. Then the link is called `answered`, and the file may be
shown. So a new snapshot keeps nobody waiting, and nothing of it is shown before it is published.
"""

import fcntl
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import questions
from questions import Question
from superset_session import bound, superset_started
from tenancy import ANSWERED, NEXT, NoData, Snapshot, fleetmart_home, tenant_of_user, upcoming

# Holding it says that somebody answers ahead.
LOCK = "answering-ahead.lock"
LOOK_SECONDS, AGAIN_SECONDS = 0.1, 5.0
# What takes so long is not asked ahead again: others would wait for their data.
SLOW_SECONDS = 3.0
MOST_MEMORY = 3 * 1024**3
# What this file is started with to answer, not to have it answered.
ANSWER = "answer"
PATH, VIEW = "/api/v1/chart/data", "ChartDataRestApi.data"


def main() -> None:
    """Have it answered until the process that started this one ends: whoever answers is started again when it ended."""
    while True:
        ended = subprocess.run(bound([sys.executable, __file__, ANSWER]), check=False)
        print(f"Who answers ahead ended ({ended.returncode}) and is started again.", file=sys.stderr, flush=True)
        time.sleep(AGAIN_SECONDS)


def answer() -> None:
    """Answer what is asked ahead, for ever."""
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    home = fleetmart_home()
    with (home / "superset" / LOCK).open("a") as lock, superset_started():
        fcntl.flock(lock, fcntl.LOCK_EX)
        while True:
            for link in sorted((home / "serving").glob(f"*/{NEXT}")):
                answer_all(home, link)
            time.sleep(LOOK_SECONDS)


def answer_all(home: Path, link: Path) -> None:
    """Answer every question of this tenant, as long as its publisher waits, and tell it."""
    tenant_id = link.parent.name
    try:
        snapshot = upcoming(home, tenant_id)
        for username, asked in _by_person(questions.noted(home, tenant_id) if snapshot else ()).items():
            with _asking(snapshot, username) as ask:
                for name, question in asked.items():
                    if not link.is_symlink():
                        return
                    began = time.monotonic()
                    if not ask(question) or time.monotonic() - began > SLOW_SECONDS:
                        questions.forget(home, tenant_id, name)
    except NoData as error:
        print(f"{tenant_id} was not answered ahead: {error}", file=sys.stderr, flush=True)
    # It is gone where its publisher would not wait any longer.
    with suppress(FileNotFoundError):
        os.rename(link, link.with_name(ANSWERED))


def _by_person(noted: Iterable[tuple[str, Question]]) -> dict[str, dict[str, Question]]:
    """Questions by their names, together for each person, in the order in which they came."""
    found: dict[str, dict[str, Question]] = {}
    for name, question in noted:
        found.setdefault(question.username, {})[name] = question
    return found


@contextmanager
def _asking(snapshot: Snapshot, username: str) -> Iterator[Callable[[Question], bool]]:
    """A function that asks as this person, and returns whether the question has an answer of this snapshot then, which
    whoever may ask is given.

    Who the person is and what a dataset holds is read once for all of them: a quarter of the time. It ends with the
    block, so that what is read of one person is not there for the next.
    """
    from flask import current_app, g
    from own_records import as_nobodys

    from superset import db

    with current_app.app_context():
        with current_app.test_request_context(PATH), as_nobodys():
            person = current_app.appbuilder.sm.find_user(username=username)
        may_ask = person is not None and person.is_active and tenant_of_user(person) == snapshot.tenant_id

        def ask(question: Question) -> bool:
            if not may_ask:
                return False
            with current_app.test_request_context(PATH, method="POST", json=question.asked):
                g.user = g._login_user = person
                g.snapshots = {snapshot.tenant_id: snapshot}
                g.is_ahead, g.row_count = True, None
                try:
                    return current_app.make_response(current_app.view_functions[VIEW]()).status_code == 200
                except Exception as error:
                    db.session.rollback()
                    print(f"A question of {snapshot.tenant_id} was not answered ahead: {error}", file=sys.stderr)
                    return False

        yield ask


if __name__ == "__main__":
    answer() if sys.argv[1:] == [ANSWER] else main()
