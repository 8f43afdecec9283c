"""One tenant's bad batch is withheld, named and mended while nine move on; clean days withhold nothing.

`make soak` does the same for every kind of fault and for many days.
"""

from pathlib import Path

from tests.soak_gate import clean_days, proved, withhold_and_mend


def test_a_fault_withholds_its_tenant_until_one_command_while_readers_see_nothing_of_it(tmp_path: Path) -> None:
    proved(withhold_and_mend("spike", tmp_path))


def test_clean_days_withhold_nothing_and_mark_nothing(tmp_path: Path) -> None:
    verdicts, failed = clean_days(tmp_path, seed=4, days=3)
    assert set(verdicts) == {"passed"} and verdicts.total() == 9
    assert {severity for severity, _ in failed} <= {"info"}
