"""Starts a process that cannot outlive its starter, even one that was killed outright (Linux)."""

import ctypes
import json
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def bound(command: list[str], end: signal.Signals = signal.SIGKILL) -> list[str]:
    """The command that runs `command` as a process bound to the one that starts it.

    `end` is what it gets when that one dies. Whoever writes must be gone at once, since the next writer may wait
    for it; servers are asked to end, so that they take their own processes along.
    """
    return [sys.executable, "-P", __file__, str(os.getpid()), str(int(end)), *command]


def dbt() -> None:
    """Be dbt, bound to whoever started it: an orphan would go on writing the warehouse (`fleetmart-dbt`).

    Without arguments it waits for them as a line of JSON, so that it can be started before they are known. The
    profile's warehouse is in the folder in which dbt runs, FLEETMART_HOME.
    """
    _bind(os.getppid(), signal.SIGKILL)
    os.chdir(os.environ["FLEETMART_HOME"])
    from dbt.cli.main import cli

    arguments = sys.argv[1:] or json.loads(sys.stdin.readline() or "null")
    if arguments is not None:
        cli(arguments)


def main(parent: int, end: int, command: list[str]) -> None:
    """Become `command`, to which the kernel sends the signal `end` when process `parent` dies."""
    _bind(parent, end)
    os.execvp(command[0], command)


def _bind(parent: int, end: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, end)
    if os.getppid() != parent:
        sys.exit("the starter is gone")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
