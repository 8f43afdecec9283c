"""Attempts made at a live server, each judged: what came back, and what is wrong with it."""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.attacks.attempts import ANALYST, ANONYMOUS, ATTEMPTS, EXECUTIVE, GUEST, STEWARD, Allowed, Attempt
from tests.attacks.caller import Caller
from tests.attacks.guests import BOARD, GUESTS
from tests.attacks.judge import everything_in, judges
from tests.attacks.prey import ADMIN, ATTACKER, VICTIM, clear, lay_out
from tests.conftest import run_fleetmart

# Versions and the insides of programs, which help to find a way in.
TELLING = ("Traceback (most recent call last)", "6.1.0", "gunicorn/", "Werkzeug/")


# Guests first: what they are refused leaves nothing behind.
ALL = [*GUESTS, *ATTEMPTS]


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt; `complaint` says what should not have been, None when all is well."""

    attempt: Attempt
    status: int
    complaint: str | None

    @property
    def said(self) -> str:
        """What came back, in a few words."""
        if self.attempt.allowed is Allowed.ENDED:
            return f"stopped ({self.status})"
        if self.status >= 300:
            return f"refused ({self.status})"
        return "own rows only" if self.attempt.allowed is Allowed.OWN else "nothing of anybody else's"


class Siege:
    """Everybody who tries, logged in once, and what there is to be had."""

    def __init__(self, url: str, home: Path, credentials: dict) -> None:
        self.url = url
        self._passwords = {user["username"]: user["password"] for user in credentials["users"]}
        self.judge = judges(home, credentials)[ATTACKER]
        self.operator = self.log_in(ADMIN)
        self.victim = self.log_in(f"{VICTIM}-{ANALYST}")
        self.callers = {who: self.log_in(f"{ATTACKER}-{who}") for who in (ANALYST, EXECUTIVE, STEWARD)}
        if GUESTS:
            self.callers[GUEST] = Caller(url, **{"X-GuestToken": _guest_token(home)})
        self.prey = lay_out(home, self.operator, self.victim)

    def end(self) -> None:
        """Take back what was laid out."""
        clear(self.prey, self.victim)

    def outcome(self, attempt: Attempt) -> Outcome:
        """Make one attempt, and judge what comes back."""
        caller = self._fresh(attempt.who)
        answer = attempt.ask(caller, self.prey)
        complaint = self._complaint(attempt, answer, caller.sent + attempt.echoes)
        return Outcome(attempt, answer.status_code, complaint)

    def outcomes_together(self, attempts: Iterable[Attempt]) -> list[Outcome]:
        """Make attempts that take long all at once."""
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(self.outcome, attempts))

    def _fresh(self, who: str) -> Caller:
        """A caller that has sent nothing yet, in the session of the one that logged in."""
        fresh = Caller(self.url)
        if who != ANONYMOUS:
            fresh.session.headers.update(self.callers[who].session.headers)
            fresh.session.cookies.update(self.callers[who].session.cookies)
            fresh.token = self.callers[who].token
        return fresh

    def log_in(self, username: str) -> Caller:
        """A new session of this person."""
        return Caller(self.url).log_in(username, self._passwords[username])

    def _complaint(self, attempt: Attempt, answer: requests.Response, sent: str) -> str | None:
        if leaks := self.judge.leaks(answer, sent):
            return f"it names {', '.join(sorted(leaks)[:5])} of other tenants"
        text = everything_in(answer)
        if told := [word for word in (*TELLING, attempt.never) if word in text]:
            return f"it tells {told[0]!r}"
        if not _is_as(attempt.allowed, answer, text):
            return f"{attempt.who} {attempt.allowed.value}, and not: {answer.status_code} {answer.text[:300]}"
        return None


def _guest_token(home: Path) -> str:
    asked = ("embed-token", "--tenant", ATTACKER, "--dashboard", BOARD, "--user", "visitor", "--json")
    done = run_fleetmart(home, *asked)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["token"]


def _is_as(allowed: Allowed, answer: requests.Response, text: str) -> bool:
    to_log_in = answer.is_redirect and "/login" in answer.headers["location"]
    refused = answer.status_code >= 400 or to_log_in
    if allowed in (Allowed.REFUSED, Allowed.ENDED):
        return refused
    if allowed is Allowed.OWN:
        return answer.status_code == 200 and ATTACKER in text
    return True
