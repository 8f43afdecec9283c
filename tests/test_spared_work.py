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
GIT = """
import os
import flask, spared_work
from superset.utils import version
for name in ("GITHUB_HEAD_REF", "GITHUB_REF_NAME"):
    os.environ.pop(name, None)
ran = []
version.subprocess.check_output = lambda *command, **how: ran.append(command) or b"branch"
with flask.Flask("pages").app_context():
    assert version.get_version_metadata()["branch_name"] == "branch" and ran
    ran.clear()
    spared_work._do_not_ask_git()
    assert "branch_name" not in version.get_version_metadata() and not ran
"""


@pytest.mark.parametrize("what", [AVERAGES, WORDS, GIT], ids=["averages", "reserved words", "git"])
def test_the_outcome_is_the_same(what: str) -> None:
    require_success(what)
