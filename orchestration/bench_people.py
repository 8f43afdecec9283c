"""People who look at dashboards, as far as a server notices them: they log in once, and open a page every so often."""

import json
import math
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from orchestration.errors import FleetmartError
from orchestration.page_requests import Body, chart_bodies, filter_bodies

# What a browser opens to one host.
CONNECTIONS = 6
PATIENCE_SECONDS = 120
TOKEN = re.compile(r"""csrf_token[^>]*?value="([^"]+)""")


@dataclass(frozen=True)
class Plan:
    """What a person's browser asks for one dashboard beside the page itself."""

    dashboard_id: int
    filters: list[Body]
    charts: list[Body]


@dataclass
class Watched:
    """Seconds of every chart and whole page, and what went wrong, from all people at once."""

    charts: list[float] = field(default_factory=list)
    pages: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Person:
    """One log-in and one browser; `open_page` is what it does."""

    def __init__(self, url: str, username: str, password: str, watched: Watched) -> None:
        self.url, self.username, self.watched = url, username, watched
        self.session = requests.Session()
        self.session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=4 * CONNECTIONS))
        self._plans: dict[str, Plan] = {}
        self._log_in(password)
        self.boards = self._boards()

    def _log_in(self, password: str) -> None:
        page = self.session.get(f"{self.url}/login/", timeout=PATIENCE_SECONDS).text
        form = {"username": self.username, "password": password, "csrf_token": TOKEN.search(page)[1]}
        answer = self.session.post(f"{self.url}/login/", data=form, allow_redirects=False, timeout=PATIENCE_SECONDS)
        if answer.status_code != 302 or "/login" in answer.headers["location"]:
            raise FleetmartError(f"{self.username} could not log in: {answer.status_code} {answer.text[:200]}")

    def _boards(self) -> list[str]:
        """Slugs of the dashboards that this person is shown."""
        found = json.loads(self._ask("GET", "/api/v1/dashboard/", params={"q": "(page_size:100)"}).content)
        return sorted(one["slug"] for one in found["result"] if one["slug"])

    def open_page(self, slug: str) -> None:
        """Ask everything that a browser asks for this dashboard, six at a time, and note how long it took."""
        start = time.perf_counter()
        try:
            with ThreadPoolExecutor(CONNECTIONS) as browser:
                page = self._ask("GET", f"/superset/dashboard/{slug}/").text
                about = [f"/api/v1/dashboard/{slug}{part}" for part in ("", "/charts", "/datasets")]
                answers = [one.result() for one in [browser.submit(self._ask, "GET", path) for path in about]]
                waiting: list[Body] = []
                if slug in self._plans:
                    waiting = self._plans[slug].filters
                else:
                    self._plans[slug] = self._plan(answers[0].json()["result"], answers[1].json()["result"])
                plan = self._plans[slug]
                state = browser.submit(self._keep_state, plan.dashboard_id, TOKEN.search(page)[1])
                for bodies in (waiting, plan.charts):
                    for one in [browser.submit(self._ask_chart, body) for body in bodies]:
                        one.result()
                state.result()
        except (requests.RequestException, _Refused) as error:
            self.watched.errors.append(f"{self.username}, {slug}: {error}")
        else:
            self.watched.pages.append(time.perf_counter() - start)

    def _plan(self, dashboard: dict[str, Any], charts: list[dict[str, Any]]) -> Plan:
        """The plan for a dashboard seen for the first time; what its filters choose is asked for here."""
        asked: list[Body] = []

        def ask(body: Body) -> list[dict[str, Any]]:
            asked.append(body)
            return self._ask_chart(body).json()["result"][0]["data"]

        filters = json.loads(dashboard["json_metadata"])["native_filter_configuration"]
        chosen = filter_bodies(filters, dashboard["id"], ask)
        return Plan(dashboard["id"], asked, chart_bodies(charts, chosen, dashboard["id"]))

    def _keep_state(self, dashboard_id: int, token: str) -> None:
        """A page keeps what its filters have chosen, so that its address can be shared."""
        path = f"/api/v1/dashboard/{dashboard_id}/filter_state?tab_id=1"
        self._ask("POST", path, json={"value": "{}"}, headers={"X-CSRFToken": token, "Referer": self.url})

    def _ask_chart(self, body: Body) -> requests.Response:
        start = time.perf_counter()
        answer = self._ask("POST", "/api/v1/chart/data", json=body)
        self.watched.charts.append(time.perf_counter() - start)
        return answer

    def _ask(self, method: str, path: str, **more: Any) -> requests.Response:
        answer = self.session.request(method, self.url + path, timeout=PATIENCE_SECONDS, allow_redirects=False, **more)
        if answer.status_code not in (200, 201):
            raise _Refused(f"{method} {path} was answered {answer.status_code}: {answer.text[:300]}")
        return answer


class _Refused(Exception):
    """An answer that is no success."""


def watch(people: list[Person], seconds: float, every: float) -> None:
    """Let all people open pages for so long, each one every so many seconds, spread over that time.

    Who waited longer than that for a page opens the next one at once.
    """
    end = time.monotonic() + seconds
    threads = [
        threading.Thread(target=_look, args=(person, number, number * every / len(people), every, end), daemon=True)
        for number, person in enumerate(people)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _look(person: Person, number: int, wait: float, every: float, end: float) -> None:
    due = time.monotonic() + wait
    while due < end:
        time.sleep(max(0.0, due - time.monotonic()))
        person.open_page(person.boards[number % len(person.boards)])
        number += 1
        due = max(due + every, time.monotonic())


def percentile(seconds: list[float], share: float) -> float:
    """The time within which this share of all was done; NaN of none."""
    return sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)] if seconds else math.nan
