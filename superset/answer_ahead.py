"""Answers what a tenant's people ask of a snapshot that they do not see yet: beside the server, for all its workers.

Whoever publishes points `serving/<tenant>/next` to the new file (orchestration/answered_ahead.py). Here each question
that was asked of late (security/questions.py) is asked of that file, as the person who asked it, by Superset's own
interface, and the answer is kept where the server looks for it. Then the link is called `answered`, and the file may be
shown. So a new snapshot keeps nobody waiting, and nothing of it is shown before it is published.
"""

import fcntl
import os
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import questions
from superset_session import superset_started
from tenancy import ANSWERED, NEXT, NoData, Snapshot, fleetmart_home, tenant_of_user, upcoming

# Holding it says that somebody answers ahead.
LOCK = "answering-ahead.lock"
LOOK_SECONDS = 0.1
# What takes so long is not asked ahead again: others would wait for their data.
SLOW_SECONDS = 3.0
MOST_MEMORY = 3 * 1024**3
PATH, VIEW = "/api/v1/chart/data", "ChartDataRestApi.data"


def main() -> None:
    """Answer until the process that started this one ends."""
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
        for name, question in questions.noted(home, tenant_id) if snapshot else ():
            if not link.is_symlink():
                return
            began = time.monotonic()
            try:
                is_answered = _answer(snapshot, question)
            except Exception as error:
                print(f"A question of {tenant_id} was not answered ahead: {error}", file=sys.stderr, flush=True)
                is_answered = False
            if not is_answered or time.monotonic() - began > SLOW_SECONDS:
                questions.forget(home, tenant_id, name)
    except NoData as error:
        print(f"{tenant_id} was not answered ahead: {error}", file=sys.stderr, flush=True)
    # It is gone where its publisher would not wait any longer.
    with suppress(FileNotFoundError):
        os.rename(link, link.with_name(ANSWERED))


def _answer(snapshot: Snapshot, question: questions.Question) -> bool:
    """Whether this question has an answer of this snapshot now, which whoever may ask is given from then on."""
    from flask import current_app, g
    from own_records import as_nobodys

    # A context of its own for each: what is read of one person is not there for the next.
    with current_app.app_context(), current_app.test_request_context(PATH, method="POST", json=question.asked):
        with as_nobodys():
            person = current_app.appbuilder.sm.find_user(username=question.username)
        if person is None or not person.is_active or tenant_of_user(person) != snapshot.tenant_id:
            return False
        g.user = g._login_user = person
        g.snapshots = {snapshot.tenant_id: snapshot}
        g.is_ahead = True
        answer: Any = current_app.make_response(current_app.view_functions[VIEW]())
        return answer.status_code == 200


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    main()
