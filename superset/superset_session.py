"""Superset in this process, its records, and one transaction over them."""

import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from tenancy import fleetmart_home

FOLDER = Path(__file__).resolve().parent
CHILD = FOLDER.parent / "orchestration" / "child.py"
MAKE_RECORDS = """
import logging
logging.disable(logging.INFO)
import flask_migrate
from superset.app import create_app
with create_app().app_context():
    flask_migrate.upgrade()
"""


class ProvisionError(Exception):
    """What could not be made so, and what to do about it."""


def say(line: str) -> None:
    """Report progress, on standard error."""
    print(f"superset: {line}", file=sys.stderr, flush=True)


def bound(command: list[str]) -> list[str]:
    """The command that runs `command` as a process that ends with this one."""
    return [sys.executable, "-P", str(CHILD), str(os.getpid()), str(int(signal.SIGKILL)), *command]


def make_records(path: Path) -> None:
    """New, empty records, whole or not at all: SQLite cannot undo a half-done migration.

    Raises ProvisionError when they cannot be made.
    """
    if path.exists():
        return
    partial = path.with_name("superset.db.part")
    for left_over in path.parent.glob(f"{partial.name}*"):
        left_over.unlink()
    upgrade_apart(path.parent, SUPERSET_RECORDS=partial.name)
    os.replace(partial, path)


def upgrade_apart(own: Path, **environment: str) -> None:
    """Make or upgrade the tables in a process of its own: Superset only starts whole on tables that are there.

    PostgreSQL does all of it or nothing. Raises ProvisionError when it fails.
    """
    own.mkdir(parents=True, exist_ok=True)
    say("making Superset's records")
    made = subprocess.run(
        bound([sys.executable, "-c", MAKE_RECORDS]),
        env=os.environ | {"SUPERSET_CONFIG_PATH": str(FOLDER / "superset_config.py")} | environment,
        cwd=own,
        stdout=sys.stderr,
        check=False,
    )
    if made.returncode:
        raise ProvisionError("Superset's records could not be made; its own words stand above.")


@contextmanager
def superset_started() -> Iterator[None]:
    """Superset's application, started in this process."""
    os.environ["SUPERSET_CONFIG_PATH"] = str(FOLDER / "superset_config.py")
    os.environ.setdefault("FLEETMART_HOME", str(fleetmart_home()))
    # Hundreds of migrations each say so; what matters is said here, and failures raise.
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    say("starting Superset")
    # It prints while it starts; standard output is for the answer alone.
    with redirect_stdout(sys.stderr):
        from superset.app import create_app

        with create_app().app_context():
            yield


def upgrade_records() -> None:
    """Bring the tables to what this version of Superset needs."""
    import flask_migrate

    say("upgrading Superset's records")
    flask_migrate.upgrade()


@contextmanager
def one_transaction() -> Iterator[None]:
    """All that is done within is committed at its end, or nothing is.

    Superset and Flask-AppBuilder commit after each of their steps, and roll back where one fails, which they then log
    and pass over; here the first only hands it to the database, and the second raises what failed.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from superset import db

    session = db.session()
    session.commit, session.rollback = session.flush, _raise_again
    try:
        yield
        session.flush()
    except BaseException as error:
        del session.commit, session.rollback
        session.rollback()
        if isinstance(error, SQLAlchemyError):
            # without the statement, whose values are nobody's business in a log
            told = getattr(error, "orig", None) or error
            raise ProvisionError(f"Superset's records refused it, and stand as they did: {told}") from error
        raise
    del session.commit, session.rollback
    session.commit()


def _raise_again() -> None:
    """Called in place of a rollback, from where an error is handled."""
    raise


def set_list(record: Any, name: str, wanted: list[Any]) -> None:
    """Set a list of a record's, leaving it as it is when it holds the same."""
    if set(getattr(record, name)) != set(wanted):
        setattr(record, name, wanted)
