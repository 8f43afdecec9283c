"""Who is asking decides which file answers, and nobody unknown is ever answered."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestration.settings import ROOT

sys.path.insert(0, str(ROOT / "superset" / "security"))
import tenancy
from generated_secrets import generated_secrets

SUPERSET_PYTHON = ROOT / ".venv-superset" / "bin" / "python"


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


def test_connections_are_read_only_and_locked_whatever_was_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(tmp_path, "north")
    monkeypatch.setenv("FLEETMART_HOME", str(tmp_path))
    monkeypatch.setattr(tenancy, "current_user", lambda: user("tenant:north"))
    given = {}
    uri = SimpleNamespace(set=lambda **parts: given.update(parts))
    _, params = tenancy.route_to_own_snapshot(uri, {"connect_args": {"read_only": False}}, None, None, None)
    assert given["database"] == str(tmp_path / "serving" / "north" / "v1.duckdb")
    assert params["connect_args"]["read_only"] is True
    assert params["connect_args"]["config"]["enable_external_access"] == "false"
    assert params["connect_args"]["config"]["lock_configuration"] == "true"


def test_secrets_are_made_once_kept_and_private(tmp_path: Path) -> None:
    first = generated_secrets(tmp_path)
    assert generated_secrets(tmp_path) == first
    assert set(first) == {"superset_secret_key", "guest_token_jwt_secret"}
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600


CACHE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import tenancy, tenant_cache
caller = None
def caller_snapshot():
    if caller is None:
        raise tenancy.UnknownCaller("nobody")
    return tenancy.Snapshot(caller[0], Path("x"), caller[1])
tenant_cache.caller_snapshot = caller_snapshot
cache = tenant_cache.TenantSnapshotCache(sys.argv[2], threshold=5)
caller = ("north", "v1")
assert cache.set("question", "northern rows") and cache.get("question") == "northern rows" and cache.has("question")
caller = ("south", "v1")
assert cache.get("question") is None and not cache.has("question"), "another tenant was answered"
assert cache.add("question", "southern rows") and cache.get("question") == "southern rows"
caller = ("north", "v2")
assert cache.get("question") is None, "an older snapshot answered"
caller = None
for attempt in (lambda: cache.get("question"), lambda: cache.set("question", 1), lambda: cache.has("question"),
                lambda: cache.delete("question"), lambda: cache.add("question", 1)):
    try:
        attempt()
    except tenancy.UnknownCaller:
        continue
    raise AssertionError("the unknown reached the cache")
caller = ("north", "v1")
assert cache.get("question") == "northern rows"
cache.delete("question")
assert cache.get("question") is None
for number in range(20):
    cache.set(str(number), number)
assert cache.get("19") == 19 and len(list(Path(sys.argv[2]).iterdir())) <= 8, "old results are not pruned"
assert all(path.name.startswith(("north.", "south.")) for path in Path(sys.argv[2]).iterdir() if "." in path.name)
"""


def test_results_are_cached_apart_by_tenant_and_snapshot(tmp_path: Path) -> None:
    done = subprocess.run(
        [SUPERSET_PYTHON, "-c", CACHE, ROOT / "superset" / "security", tmp_path / "cache"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
