"""What Superset is spared changes no answer."""

from pathlib import Path

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
SCHEMA = """
import pathlib, sys
import duckdb, sqlalchemy, spared_work, tenancy
from duckdb_engine import Dialect
path = pathlib.Path(sys.argv[1], "v1.duckdb")
with duckdb.connect(str(path)) as connection:
    connection.execute("create table dim_tenants as select 'north' as tenant_id")
north = tenancy.Snapshot("north", path, None, "v1")
def default_schema():
    engine = sqlalchemy.create_engine("duckdb://", creator=lambda: tenancy.connection_to(north))
    return sqlalchemy.inspect(engine).default_schema_name
before, asked = default_schema(), Dialect._get_default_schema_name
spared_work._know_the_schema()
assert before == default_schema() == tenancy.SCHEMA and Dialect._get_default_schema_name is not asked
"""
PARSED = """
import spared_work
from superset.exceptions import SupersetParseError
from superset.sql.parse import LimitMethod, SQLScript, SQLStatement
long = f"select '{'x' * 20_000}'"
texts = ["select a from b -- which\\nwhere c > 1 limit 10", "select 1; select 2", "set a = 1", long]
before = [SQLScript(text, "duckdb").format() for text in texts]
asked, parse = [], SQLStatement._parse
SQLStatement._parse = lambda script, engine: asked.append(script) or parse(script, engine)
spared_work._keep_what_was_parsed()
for _ in range(2):
    for text, was in zip(texts, before, strict=True):
        script = SQLScript(text, "duckdb")
        assert script.format() == was
        if text.endswith("limit 10"):
            script.statements[0].set_limit_value(3, LimitMethod.FORCE_LIMIT)
    for _ in range(2):
        try:
            SQLScript("select (", "duckdb")
        except SupersetParseError:
            continue
        raise AssertionError("no error")
assert asked.count(texts[0]) == 1 and asked.count(texts[-1]) == 2
"""


@pytest.mark.parametrize(
    "what", [AVERAGES, WORDS, GIT, SCHEMA, PARSED], ids=["averages", "words", "git", "schema", "parsed"]
)
def test_the_outcome_is_the_same(what: str, tmp_path: Path) -> None:
    require_success(what, tmp_path)
