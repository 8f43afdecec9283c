"""What another tenant's analyst and the operator leave on the server for the attempts to reach for."""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from orchestration.settings import Settings
from tests.attacks.caller import Caller

ATTACKER, VICTIM = "nyc-airports", "la-haute-borne"
ADMIN = "admin"
QUESTION = {"columns": ["tenant_id", "site_name", "device_name"], "metrics": ["readings"], "row_limit": 500}


@dataclass
class Prey:
    """The other tenant's things by their numbers and keys, and what of the home an attacker would look for."""

    home: Path
    datasets: dict[str, int]
    charts: dict[str, int]
    boards: dict[str, dict]
    user_id: int
    alert: int
    query_id: int = 0
    client_id: str = field(default_factory=lambda: secrets.token_hex(5))
    saved_query: int = 0
    tab: int = 0
    sql_link: str = ""
    board_link: str = ""
    filter_state: str = ""
    form_data: str = ""
    cache_keys: list[str] = field(default_factory=list)

    @property
    def cube(self) -> int:
        """The dataset that most attempts ask."""
        return self.datasets["cube_readings_daily"]

    @property
    def file(self) -> Path:
        """The other tenant's snapshot."""
        return (self.home / "serving" / VICTIM / "current").resolve()

    @property
    def secrets(self) -> dict[str, str]:
        """The server's own keys: to make tokens that were good once."""
        return json.loads(Settings(home=self.home).secrets.read_text())


def lay_out(home: Path, operator: Caller, victim: Caller) -> Prey:
    """Look around as the operator, then work as the other tenant's analyst does."""
    prey = Prey(
        home=home,
        datasets={row["table_name"]: row["id"] for row in _listed(operator, "dataset")},
        charts={row["slice_name"]: row["id"] for row in _listed(operator, "chart")},
        boards={row["slug"]: row for row in _listed(operator, "dashboard")},
        user_id=_user_id(operator, f"{VICTIM}-analyst"),
        alert=next(row["id"] for row in _listed(operator, "report") if row["name"].endswith(f":{VICTIM}")),
    )
    _ask_and_save(prey, victim)
    _share(prey, victim)
    return prey


def clear(prey: Prey, victim: Caller) -> None:
    """Take back what was laid out."""
    victim.delete(f"/api/v1/saved_query/{prey.saved_query}")
    victim.delete(f"/tabstateview/{prey.tab}")


def _ask_and_save(prey: Prey, victim: Caller) -> None:
    ran = victim.sql("select tenant_id, device_name from dim_devices", client_id=prey.client_id)
    assert ran.status_code == 200, ran.text
    prey.query_id = ran.json()["query"]["id"] if "id" in ran.json()["query"] else ran.json()["query_id"]
    saved = victim.post(
        "/api/v1/saved_query/",
        json={
            "db_id": 1,
            "schema": "main",
            "label": f"Turbines of {VICTIM}",
            "sql": "select 'Turbine R80711' as mine from dim_devices",
        },
    )
    assert saved.status_code == 201, saved.text
    prey.saved_query = saved.json()["id"]
    tab = {"dbId": 1, "schema": "main", "title": "Turbine R80711", "sql": "select 'Turbine R80711'", "autorun": False}
    opened = victim.post("/tabstateview/", data={"queryEditor": json.dumps(tab | {"queryLimit": 1000})})
    assert opened.status_code == 200, opened.text
    prey.tab = opened.json()["id"]
    asked = victim.chart(prey.cube, QUESTION)
    assert asked.status_code == 200 and VICTIM in asked.text, asked.text
    prey.cache_keys = [one["cache_key"] for one in asked.json()["result"] if one.get("cache_key")]


def _share(prey: Prey, victim: Caller) -> None:
    board = prey.boards["fleet-overview"]["id"]
    value = json.dumps({"NATIVE_FILTER-x": {"filterState": {"value": ["Turbine R80711"]}}})
    kept = victim.post(f"/api/v1/dashboard/{board}/filter_state", json={"value": value})
    assert kept.status_code == 201, kept.text
    prey.filter_state = kept.json()["key"]
    link = victim.post(
        f"/api/v1/dashboard/{board}/permalink", json={"urlParams": [["device", "Turbine R80711"]], "dataMask": {}}
    )
    assert link.status_code == 201, link.text
    prey.board_link = link.json()["key"]
    chart = {"datasource": f"{prey.cube}__table", "viz_type": "table", "adhoc_filters": [], "slice_name": "R80711"}
    asked = {"datasource_id": prey.cube, "datasource_type": "table", "form_data": json.dumps(chart)}
    kept = victim.post("/api/v1/explore/form_data", json=asked)
    assert kept.status_code == 201, kept.text
    prey.form_data = kept.json()["key"]
    link = victim.post(
        "/api/v1/sqllab/permalink",
        json={"dbId": 1, "name": "x", "schema": "main", "sql": "select 'Turbine R80711'", "autorun": False},
    )
    assert link.status_code == 201, link.text
    prey.sql_link = link.json()["key"]


def _listed(operator: Caller, kind: str) -> list[dict]:
    answer = operator.get(f"/api/v1/{kind}/?q=(page_size:100)")
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


def _user_id(operator: Caller, username: str) -> int:
    answer = operator.get("/api/v1/security/users/?q=(page_size:100)")
    return next(user["id"] for user in answer.json()["result"] if user["username"] == username)
