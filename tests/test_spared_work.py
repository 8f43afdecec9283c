"""What Superset is spared changes no answer."""

import pytest

from tests.in_superset import require_success

AVERAGES = """
import pandas, spared_work
from superset.utils.pandas_postprocessing import pivot, utils

points = pandas.DataFrame({
    "hour": [1, 1, 2, 2, 3, 3],
    "device": ["a", "b", "a", "b", "a", "b"],
    "level": [1.5, None, 2.5, -4.0, None, 0.1],
    "count": [1, 2, 3, 4, 5, 6],
})
asked = {"level": {"operator": "mean"}, "count": {"operator": "mean"}, "most": {"operator": "max", "column": "count"}}

def tables():
    for columns in ([], ["device"]):
        for names in (["level"], ["level", "count"], ["most"]):
            aggregates = {name: asked[name] for name in names}
            yield pivot(
                points.copy(), index=["hour"], columns=columns, aggregates=aggregates, drop_missing_columns=False
            )

before = list(tables())
spared_work._average_as_pandas_does()
assert utils._get_aggregate_funcs(points, asked)["level"].aggfunc == "mean"
for was, now in zip(before, tables(), strict=True):
    pandas.testing.assert_frame_equal(was, now)
"""
WORDS = """
import duckdb_engine, spared_work
before = duckdb_engine.Dialect().identifier_preparer
asked, told = [], duckdb_engine.duckdb.cursor
duckdb_engine.duckdb.cursor = lambda: asked.append(1) or told()
spared_work._keep_reserved_words()
asked.clear()
after = duckdb_engine.Dialect().identifier_preparer
assert not asked and set(after.reserved_words) == set(before.reserved_words)
for name in ("select", "qualify", "device", "a.b", "Upper"):
    assert after.quote(name) == before.quote(name)
"""


@pytest.mark.parametrize("what", [AVERAGES, WORDS], ids=["averages", "reserved words"])
def test_the_outcome_is_the_same(what: str) -> None:
    require_success(what)
