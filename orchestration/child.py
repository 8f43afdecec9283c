"""Starts a process that cannot outlive its starter, even one that was killed outright (Linux)."""

import ctypes
import json
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def bound(command: list[str]) -> list[str]:
    """The command that runs `command` as a process bound to the one that starts it."""
    return [sys.executable, "-m", "orchestration.child", str(os.getpid()), *command]


def dbt() -> None:
    """Be dbt, bound to whoever started it: an orphan would go on writing the warehouse (`fleetmart-dbt`).

    Without arguments it waits for them as a line of JSON, so that it can be started before they are known.
    """
    _bind(os.getppid())
    from dbt.cli.main import cli

    arguments = sys.argv[1:] or json.loads(sys.stdin.readline() or "null")
    if arguments is not None:
        cli(arguments)


def main(parent: int, command: list[str]) -> None:
    """Become `command`, to be terminated by the kernel when process `parent` dies."""
    _bind(parent)
    os.execvp(command[0], command)


def _bind(parent: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("the starter is gone")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
