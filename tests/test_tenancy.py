"""Who is asking decides which file answers, and nobody unknown is ever answered."""

import sys
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from tests.in_superset import CACHES, SECURITY, in_superset, require_success

sys.path.insert(0, str(SECURITY))
import tenancy
from generated_secrets import SharedSecret, generated_secrets


def user(*roles: str, **more: object) -> SimpleNamespace:
    return SimpleNamespace(roles=[SimpleNamespace(name=role) for role in roles], is_anonymous=False, **more)


def published(home: Path, tenant_id: str, name: str = "v1.duckdb") -> Path:
    folder = home / "serving" / tenant_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(tenant_id)
    (folder / "current").unlink(missing_ok=True)
    (folder / "current").symlink_to(name)
    return folder / name


def test_a_user_is_answered_from_its_own_tenants_file(tmp_path: Path) -> None:
    for tenant_id in ("north", "south"):
        file = published(tmp_path, tenant_id)
        found = tenancy.snapshot_of(tmp_path, tenancy.tenant_of_user(user("executive", f"tenant:{tenant_id}")))
        assert found.path == file


@pytest.mark.parametrize(
    "roles",
    [(), ("executive",), ("tenant:north", "tenant:south"), ("tenant:",), ("tenant:../north",), ("Admin",)],
)
def test_whoever_has_not_exactly_one_tenant_is_refused(roles: tuple[str, ...]) -> None:
    with pytest.raises(tenancy.UnknownCaller):
        tenancy.tenant_of_user(user(*roles))


def test_nobody_and_the_anonymous_are_refused() -> None:
    anonymous = SimpleNamespace(roles=[SimpleNamespace(name="tenant:north")], is_anonymous=True)
    for nobody in (None, anonymous):
        with pytest.raises(tenancy.UnknownCaller):
            tenancy.tenant_of_user(nobody)


def test_a_groups_tenant_counts_as_much_as_ones_own() -> None:
    group = SimpleNamespace(roles=[SimpleNamespace(name="tenant:south")])
    assert tenancy.tenant_of_user(user("analyst", groups=[group])) == "south"
    with pytest.raises(tenancy.UnknownCaller):
        tenancy.tenant_of_user(user("tenant:north", groups=[group]))


def test_before_the_first_publish_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        tenancy.NothingPublished, match=r"Nothing has been published for north yet\. Run `fleetmart run`"
    ):
        tenancy.snapshot_of(tmp_path, "north")


def test_a_link_out_of_the_tenants_folder_is_refused(tmp_path: Path) -> None:
    other = published(tmp_path, "south")
    published(tmp_path, "north")
    link = tmp_path / "serving" / "north" / "current"
    for target in (other, Path("../south/v1.duckdb"), tmp_path / "serving" / "south" / "current"):
        link.unlink()
        link.symlink_to(target)
        with pytest.raises(tenancy.UnknownCaller):
            tenancy.snapshot_of(tmp_path, "north")


def test_each_publish_has_a_version_of_its_own(tmp_path: Path) -> None:
    versions = set()
    for name in ("v1.duckdb", "v2.duckdb"):
        published(tmp_path, "north", name)
        versions.add(tenancy.snapshot_of(tmp_path, "north").version)
    assert len(versions) == 2


def written(home: Path, folder: str, table: str) -> Path:
    """A file of a tenant that says whose it is, and in `table` where it was put."""
    path = home / "serving" / folder / "v1.duckdb"
    path.parent.mkdir(parents=True, exist_ok=True)
    whose = tenancy.TENANTS_IN["records" if path.parent.name == "records" else "snapshot"]
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"create table {whose} as select '{folder.partition('/')[0]}' as tenant_id")
        connection.execute(f"create table {table} as select '{folder}' as found")
    (path.parent / "current").symlink_to(path.name)
    return path


def test_a_tenants_folder_that_is_a_link_to_anothers_is_refused(tmp_path: Path) -> None:
    published(tmp_path, "south")
    (tmp_path / "serving" / "north").symlink_to("south")
    with pytest.raises(tenancy.UnknownCaller, match="outside its own folder"):
        tenancy.snapshot_of(tmp_path, "north")


@pytest.mark.parametrize("folder", ["", "records/"])
def test_another_tenants_file_is_refused_wherever_it_lies(tmp_path: Path, folder: str) -> None:
    for tenant_id in ("north", "south"):
        written(tmp_path, tenant_id, "readings")
        written(tmp_path, f"{tenant_id}/records", "verdicts")
    swapped = tmp_path / "serving" / "north" / folder / "v1.duckdb"
    swapped.unlink()
    swapped.hardlink_to(tmp_path / "serving" / "south" / folder / "v1.duckdb")
    with pytest.raises(tenancy.UnknownCaller, match="another tenant's rows"):
        tenancy.connection_to(tenancy.snapshot_of(tmp_path, "north"))


def test_a_query_that_does_not_end_is_stopped_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "north", "readings")
    monkeypatch.setenv("FLEETMART_QUERY_SECONDS", "2")
    connection = tenancy.connection_to(tenancy.snapshot_of(tmp_path, "north"))
    cursor = connection.cursor()
    with pytest.raises(duckdb.InterruptException, match=r"may run for 2 seconds"):
        cursor.execute("select count(*) from range(1_000_000_000_000)")
    with pytest.raises(duckdb.InterruptException, match=r"may run for 2 seconds"):
        cursor.execute("from readings")
    rows = tenancy.connection_to(tenancy.snapshot_of(tmp_path, "north")).cursor()
    rows.execute("from range(1_000_000_000_000)")
    assert len(rows.fetchmany(10)) == 10
    with pytest.raises(duckdb.InterruptException, match=r"may run for 2 seconds"):
        while rows.fetchmany(100_000):
            pass


SHARES = """
import time
from concurrent.futures import ThreadPoolExecutor
import duckdb, query_limits
query_limits.LONG_SECONDS, query_limits.STRICT_SECONDS = 0.5, 3600
database = duckdb.connect()
def ask(tenant_id, statement="select count(*) from range(1_000_000_000_000)"):
    try:
        query_limits.LimitedConnection(database.cursor(), tenant_id, seconds=3).execute(statement)
    except duckdb.InterruptException as error:
        return str(error).partition(":")[0]
    return "answered"
too_many, stopped = "Too many long queries of your organisation run at once", "The query was stopped"
with ThreadPoolExecutor(8) as pool:
    assert {*pool.map(ask, ["north"] * 5)} == {stopped}, "others had threads left"
with ThreadPoolExecutor(8) as pool:
    asked = [pool.submit(ask, "north") for _ in range(6)] + [pool.submit(ask, "south")]
    while sum(one.done() for one in asked) < 2:
        time.sleep(0.01)
    assert [ask(tenant_id, "select 1") for tenant_id in ("north", "south")] == [too_many, "answered"]
    said = [one.result() for one in asked]
# As many were stopped as it took to leave others a thread in four, and none beyond the tenant's share.
assert 2 <= said.count(too_many) <= 4 and {*said} == {too_many, stopped} and said[6] == stopped, said
assert [ask("north", "select 1") for _ in range(2)] == ["answered"] * 2
"""


def test_a_tenants_long_queries_leave_threads_for_others() -> None:
    require_success(SHARES, FLEETMART_SERVER_THREADS=8)


ENDLESS_CALL = """
import duckdb, query_limits
connection = query_limits.LimitedConnection(duckdb.connect(), "north", seconds=0.3, grace=0.5)
connection.execute("select levenshtein(repeat('a', 200000), repeat('b', 200000))")
"""


def test_a_call_that_no_interrupt_reaches_ends_with_its_process() -> None:
    done = in_superset(ENDLESS_CALL)
    assert done.returncode == 70 and "could not be stopped" in done.stderr


def test_connections_are_read_only_and_locked_whatever_was_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, table in (("north", "readings"), ("north/records", "verdicts"), ("south", "readings")):
        written(tmp_path, folder, table)
    monkeypatch.setenv("FLEETMART_HOME", str(tmp_path))
    monkeypatch.setattr(tenancy, "current_user", lambda: user("tenant:north"))
    given = {}
    uri = SimpleNamespace(set=lambda **parts: given.update(parts))
    stored = {"connect_args": {"read_only": False, "config": {"enable_external_access": "true"}}, "pool_size": 5}
    _, params = tenancy.route_to_own_snapshot(uri, stored, None, None, None)
    assert given == {"drivername": "duckdb", "database": ":memory:", "query": {}} and params["connect_args"] == {}
    connection = params["creator"]()
    assert connection.execute("from readings").fetchall() == [("north",)]
    assert connection.execute("from main.verdicts").fetchall() == [("north/records",)]
    other = tmp_path / "serving" / "south" / "v1.duckdb"
    for refused in (
        f"attach '{other}' as other",
        f"select * from read_blob('{other}')",
        f"select * from glob('{tmp_path}/*')",
        f"copy readings to '{tmp_path}/escaped.csv'",
        "delete from readings",
        "delete from verdicts",
        "create table t as select 1",
        "set enable_external_access = true",
        "set lock_configuration = false",
        "set memory_limit = '64GB'",
        "install httpfs",
        "call enable_logging()",
        "FROM Enable_Logging(storage = 'file', storage_path = '/tmp/x')",
        "select * from query('select 1')",
        "select * from \"query\" /* ( */ -- (\n ('select 1')",
        "from pandas_scan(1)",
        "detach records",
        "use records; detach snapshot",
        "select 1; detach records",
        "prepare p as detach records",
        "attach ':memory:' as mine",
        "create temporary table t as select 1",
        "checkpoint",
    ):
        with pytest.raises(duckdb.Error):
            connection.execute(refused)
    assert not (tmp_path / "escaped.csv").exists()
    for reads in ("pivot readings on found using count(*)", "describe readings", "explain from readings"):
        assert connection.execute(reads).fetchall()
    assert params["creator"]().execute("from main.verdicts").fetchall() == [("north/records",)]
    assert connection.execute("select 'query' as query, count(*) from readings").fetchall() == [("query", 1)]


def test_a_file_is_opened_once_for_callers_who_share_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "north", "readings")
    opened, really = [], tenancy._open
    monkeypatch.setattr(tenancy, "_opened", tenancy._Opened())
    monkeypatch.setattr(tenancy, "_open", lambda snapshot: opened.append(snapshot.version) or really(snapshot))
    snapshot = tenancy.snapshot_of(tmp_path, "north")
    one, other = tenancy.connection_to(snapshot), tenancy.connection_to(snapshot)
    assert len(opened) == 1
    one.execute("set variable mine = 1")
    assert other.execute("select getvariable('mine')").fetchall() == [(None,)]
    for refused in ("create table memory.main.t as select 1", "use memory", "create schema snapshot.s"):
        with pytest.raises(duckdb.Error):
            other.execute(refused)
    one.close()
    assert other.execute("from readings").fetchall() == [("north",)]
    # What is held in memory for a file, or lies idle, is given back; who still asks it goes on.
    for limit in ("KEPT_BYTES", "KEPT_SECONDS"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tenancy, "LOOK_THROUGH_SECONDS", -1)
            patch.setattr(tenancy, limit, -1)
            assert tenancy.connection_to(snapshot).execute("from readings").fetchall() == [("north",)]
    assert len(opened) == 3 and other.execute("from readings").fetchall() == [("north",)]


def test_secrets_are_made_once_kept_and_private(tmp_path: Path) -> None:
    first = generated_secrets(tmp_path)
    assert generated_secrets(tmp_path) == first
    assert set(first) == {"superset_secret_key", "guest_token_jwt_secret"}
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "secrets.json").chmod(0o640)
    with pytest.raises(SharedSecret, match="chmod 600"):
        generated_secrets(tmp_path)


PUBLISHED_MEANWHILE = """
import os, sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
import duckdb, flask, tenancy, tenant_cache
folder = Path(os.environ["FLEETMART_HOME"], "serving", "north")
def publish(version):
    with duckdb.connect(folder / f"{version}.duckdb") as file:
        file.execute(f"create table dim_tenants as select 'north' as tenant_id, '{version}' as version")
    folder.joinpath("next").symlink_to(f"{version}.duckdb")
    folder.joinpath("next").replace(folder / "current")
def rows():
    uri = SimpleNamespace(set=lambda **parts: None)
    _, params = tenancy.route_to_own_snapshot(uri, {}, None, None, None)
    return params["creator"]().execute("select version from dim_tenants").fetchall()
app, cache = flask.Flask("test"), tenant_cache.FileResults(sys.argv[1])
@contextmanager
def request():
    with app.test_request_context():
        role = SimpleNamespace(name="tenant:north")
        flask.g.user = SimpleNamespace(is_anonymous=False, roles=[role], groups=[])
        yield
publish("v1")
with request():
    assert cache.get("question") is None
    before = rows()
    publish("v2")
    # A dashboard's later queries of this request are answered by the file that its first was.
    assert before == rows() == [("v1",)]
    cache.set("question", before)
with request():
    assert cache.get("question") is None, "what an older snapshot answered was kept as the newer one's"
    assert rows() == [("v2",)]
    older = set(Path(sys.argv[1]).iterdir())
    being_written = Path(sys.argv[1], f"tmp1{cache._fs_transaction_suffix}")
    being_written.touch()
    tenant_cache.PRUNE_SECONDS = 0
    cache._prune_at = 0
    cache.set("question", rows())
    assert len(older) == 1 and not older & set(Path(sys.argv[1]).iterdir()), "a result outlived its snapshot"
    assert cache.get("question") == [("v2",)] and being_written.exists()
"""


def test_what_was_asked_before_a_publish_is_not_kept_as_the_new_snapshots(tmp_path: Path) -> None:
    (tmp_path / "serving" / "north").mkdir(parents=True)
    require_success(PUBLISHED_MEANWHILE, tmp_path / "cache", FLEETMART_HOME=tmp_path)


PRUNED = """
tenant_cache.is_current = lambda name: True
tenant_cache.PRUNE_SECONDS = 0
folder = Path(sys.argv[1])
cache = tenant_cache.FileResults(folder, threshold=5)
require_apart(cache, False)
assert cache.delete("question") and cache.get("question") is None
for number in range(20):
    cache.set(str(number), number)
assert cache.get("19") == 19 and len(list(folder.iterdir())) <= 8, "old results are not pruned"
assert all(path.name.startswith(("north.", "south.")) for path in folder.iterdir() if "." in path.name)
"""


def test_results_are_cached_apart_by_tenant_and_snapshot(tmp_path: Path) -> None:
    require_success(CACHES + PRUNED, tmp_path / "cache")
