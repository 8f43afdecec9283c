"""Starts a process that cannot outlive its starter, even one that was killed outright (Linux)."""

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


def bound(command: list[str]) -> list[str]:
    """The command that runs `command` as a process bound to the one that starts it."""
    return [sys.executable, "-m", "orchestration.child", str(os.getpid()), *command]


def dbt() -> None:
    """Become dbt, bound to whoever started it: an orphan would go on writing the warehouse (`fleetmart-dbt`)."""
    main(os.getppid(), [str(Path(sys.executable).with_name("dbt")), *sys.argv[1:]])


def main(parent: int, command: list[str]) -> None:
    """Become `command`, to be terminated by the kernel when process `parent` dies."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("the starter is gone")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
