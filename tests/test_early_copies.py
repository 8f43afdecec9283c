"""Copies begun early: what is taken is whole, what is not taken is gone, what failed is told."""

from pathlib import Path

import pytest

from orchestration.early_copies import EarlyCopies


def test_a_copy_begun_early_or_not_is_the_file(tmp_path: Path) -> None:
    begun, not_begun = tmp_path / "v1.duckdb", tmp_path / "v2.duckdb"
    begun.write_bytes(b"one" * 100_000)
    not_begun.write_bytes(b"two")
    with EarlyCopies() as copies:
        copies.begin(begun)
        copies.take(begun, tmp_path / "early")
        copies.take(not_begun, tmp_path / "late")
    assert (tmp_path / "early").read_bytes() == begun.read_bytes()
    assert (tmp_path / "late").read_bytes() == b"two"


def test_copies_that_nobody_took_are_removed_also_when_the_block_fails(tmp_path: Path) -> None:
    original = tmp_path / "v1.duckdb"
    original.write_bytes(b"one")
    with pytest.raises(RuntimeError, match="dbt failed"), EarlyCopies() as copies:
        copies.begin(original)
        raise RuntimeError("dbt failed")
    assert list(tmp_path.iterdir()) == [original]


def test_a_copy_that_could_not_be_made_is_told_when_it_is_taken(tmp_path: Path) -> None:
    with EarlyCopies() as copies:
        copies.begin(tmp_path / "v1.duckdb")
        with pytest.raises(FileNotFoundError, match="v1"):
            copies.take(tmp_path / "v1.duckdb", tmp_path / "early")
