"""The numbers that a chart gets, against the independent computation; and a tenant before its first publish."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests

from orchestration.settings import ROOT
from tests.independent import daily_cube, received_readings

TENANTS = ("la-haute-borne", "nyc-airports", "nrel-pv")


class Charts:
    """The chart data API, as one log-in."""

    def __init__(self, url: str, user: dict[str, str]) -> None:
        self.url = url
        self.session = requests.Session()
        log_in = self.session.post(
            f"{url}/api/v1/security/login",
            json={"username": user["username"], "password": user["password"], "provider": "db", "refresh": False},
            timeout=30,
        )
        assert log_in.status_code == 200, log_in.text
        self.session.headers["Authorization"] = f"Bearer {log_in.json()['access_token']}"

    def dataset(self, table: str) -> int:
        """Id of the dataset over a mart."""
        query = json.dumps({"filters": [{"col": "table_name", "opr": "eq", "value": table}]})
        found = self.session.get(f"{self.url}/api/v1/dataset/", params={"q": query}, timeout=30).json()
        return found["result"][0]["id"]

    def ask(self, table: str, columns: list[str], metrics: list[str]) -> requests.Response:
        """What a chart with these columns and metrics would ask."""
        return self.session.post(
            f"{self.url}/api/v1/chart/data",
            json={
                "datasource": {"id": self.dataset(table), "type": "table"},
                "queries": [{"columns": columns, "metrics": metrics, "row_limit": 50_000, "orderby": []}],
                "result_format": "json",
                "result_type": "full",
            },
            timeout=60,
        )


def analyst(credentials: dict, tenant: str) -> dict[str, str]:
    return next(u for u in credentials["users"] if (u["role"], u["tenant"]) == ("analyst", tenant))


@pytest.fixture(scope="module")
def independent_days() -> pd.DataFrame:
    return daily_cube(received_readings(ROOT / "orchestration" / "sample"), ROOT / "orchestration" / "registry")


@pytest.mark.parametrize("tenant", TENANTS)
def test_chart_data_equal_an_independent_computation(
    tenant: str, superset_url: str, credentials: dict, independent_days: pd.DataFrame
) -> None:
    charts = Charts(superset_url, analyst(credentials, tenant))
    keys = ["tenant_id", "device_id", "metric", "day"]
    metrics = ["readings", "average", "minimum", "maximum", "total"]
    answer = charts.ask("cube_readings_daily", keys, metrics)
    assert answer.status_code == 200, answer.text
    ours = pd.DataFrame(answer.json()["result"][0]["data"])
    # a day on which a value was due and none came
    ours = ours[ours["readings"] > 0].copy()
    ours["day"] = pd.to_datetime(ours["day"], unit="ms").dt.normalize().astype("datetime64[us]")
    theirs = independent_days[independent_days["tenant_id"] == tenant].copy()
    theirs["day"] = pd.to_datetime(theirs["day"]).astype("datetime64[us]")
    merged = ours.merge(theirs, on=keys, how="outer", indicator=True)
    assert len(merged) > 100 and (merged["_merge"] == "both").all()
    assert (merged["readings"] == merged["reading_count"]).all()
    pairs = {"average": "value_avg", "minimum": "value_min", "maximum": "value_max", "total": "value_sum"}
    for shown, computed in pairs.items():
        np.testing.assert_allclose(
            merged[shown].astype(float), merged[computed].astype(float), rtol=1e-9, atol=1e-9, err_msg=shown
        )


def test_before_the_first_publish_a_chart_says_so(superset_url: str, credentials: dict, fleetmart_home: Path) -> None:
    charts = Charts(superset_url, analyst(credentials, "nrel-pv"))
    link, aside = (fleetmart_home / "serving" / "nrel-pv" / name for name in ("current", "current.aside"))
    link.rename(aside)
    try:
        answer = charts.ask("cube_fleet_daily", ["site_name"], ["readings"])
    finally:
        aside.rename(link)
    assert answer.status_code in (403, 404)
    assert "Nothing has been published for nrel-pv yet" in answer.json()["errors"][0]["message"]
    assert charts.ask("cube_fleet_daily", ["site_name"], ["readings"]).status_code == 200
