"""Spare copies: whole or not there, of one version only, and never in the way of a publish."""

import stat
from pathlib import Path

import pytest

from orchestration.spare_copies import make_spare, remove_spares, spare_bytes, take_copy


def files_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_spare_is_the_copy_that_is_taken_and_is_gone_then(tmp_path: Path) -> None:
    original = tmp_path / "v1.duckdb"
    original.write_bytes(b"first" * 1000)
    make_spare(original)
    (spare,) = tmp_path.glob(".*")
    inode = spare.stat().st_ino
    assert spare_bytes(tmp_path) == 5000
    assert stat.S_IMODE(spare.stat().st_mode) == 0o600

    take_copy(original, tmp_path / ".v2.duckdb.part")
    assert (tmp_path / ".v2.duckdb.part").read_bytes() == original.read_bytes()
    assert (tmp_path / ".v2.duckdb.part").stat().st_ino == inode
    assert files_of(tmp_path) == [".v2.duckdb.part", "v1.duckdb"]


def test_a_spare_of_another_version_is_not_taken(tmp_path: Path) -> None:
    for version in (1, 2):
        (tmp_path / f"v{version}.duckdb").write_text(f"version {version}")
    make_spare(tmp_path / "v1.duckdb")
    take_copy(tmp_path / "v2.duckdb", tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "version 2"
    remove_spares(tmp_path)
    assert files_of(tmp_path) == ["copy", "v1.duckdb", "v2.duckdb"]


def test_what_broken_off_copying_left_is_no_spare_and_is_removed(tmp_path: Path) -> None:
    original = tmp_path / "v1.duckdb"
    original.write_text("whole")
    (tmp_path / ".v1.duckdb.spare.part").write_text("wh")
    take_copy(original, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "whole"
    remove_spares(tmp_path)
    assert files_of(tmp_path) == ["copy", "v1.duckdb"]


def test_copying_that_fails_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        make_spare(tmp_path / "v1.duckdb")
    assert files_of(tmp_path) == []
