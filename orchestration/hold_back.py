"""A steward's hand on what a tenant sees: hold newer data back, go back to an earlier snapshot, release."""

from collections.abc import Callable

from orchestration.errors import FleetmartError, WrongUse
from orchestration.ledger import ledger, rows
from orchestration.publish import Published, publish_all, publish_operator
from orchestration.published_records import publish_records
from orchestration.quality_record import record, told
from orchestration.registry import Registry
from orchestration.serving import current_record, held_back, kept_versions, point_to, swapping
from orchestration.settings import Settings


def hold_back(settings: Settings, tenant_id: str, who: str, why: str) -> None:
    """Let the tenant go on seeing what it sees, whatever passes the gate, until it is released.

    Raises WrongUse for an unknown tenant or no reason.
    """
    _known(settings, tenant_id)
    why = told(why)
    with swapping(settings), ledger(settings) as connection:
        at = record(connection, tenant_id, who, "held back", why)
        connection.execute("insert or replace into held_back values (?, ?, ?, ?)", (tenant_id, at, who, why))
    publish_records(settings, [tenant_id])


def roll_back(settings: Settings, tenant_id: str, who: str, why: str, build_id: int | None = None) -> int:
    """Show the tenant an earlier snapshot, by default the one before, and hold newer ones back; returns its build.

    Readers see it in their next query. The operator's copy follows, at once or with the run that is at work.
    Raises WrongUse for an unknown tenant, no reason, or a build of which no snapshot is kept.
    """
    _known(settings, tenant_id)
    why = told(why)
    with swapping(settings):
        target = _earlier(settings, tenant_id, build_id)
        with ledger(settings) as connection:
            at = record(connection, tenant_id, who, "rolled back", why, build_id=target)
            connection.execute("insert or replace into held_back values (?, ?, ?, ?)", (tenant_id, at, who, why))
            connection.execute(
                "update snapshots set withdrawn_at = ? where tenant_id = ? and build_id > ? and withdrawn_at is null",
                (at, tenant_id, target),
            )
            connection.execute(
                "update snapshots set withdrawn_at = null where tenant_id = ? and build_id = ?", (tenant_id, target)
            )
        point_to(settings, tenant_id, target)
    publish_records(settings, [tenant_id])
    return target


def release(
    settings: Settings, tenant_id: str, who: str, why: str, report: Callable[[str], None] = lambda line: None
) -> Published:
    """Hold the tenant back no longer, and publish what passed meanwhile.

    Raises WrongUse for an unknown tenant, one that is not held back, or no reason.
    """
    _known(settings, tenant_id)
    why = told(why)
    if held_back(settings, tenant_id) is None:
        raise WrongUse(f"{tenant_id} is not held back; `fleetmart publish` says what withholds it, if anything does.")
    with swapping(settings), ledger(settings) as connection:
        record(connection, tenant_id, who, "released", why)
        connection.execute("delete from held_back where tenant_id = ?", (tenant_id,))
    publish_records(settings, [tenant_id])
    return publish_what_may(settings, report)


def publish_what_may(settings: Settings, report: Callable[[str], None] = lambda line: None) -> Published:
    """Judge what has no verdict yet and publish what may be seen, after a steward's word."""
    from expectations.gate import judge

    return publish_all(settings, report, judge(settings, report))


def follow_in_the_operators(settings: Settings) -> None:
    """Bring the operator's copy to what tenants see after a roll-back; raises FleetmartError while a run is at work."""
    publish_operator(settings)
    publish_records(settings, [])


def _earlier(settings: Settings, tenant_id: str, build_id: int | None) -> int:
    current = current_record(settings, tenant_id)
    if current is None:
        raise WrongUse(f"Nothing has been published for {tenant_id} yet, so there is nothing to go back to.")
    earlier = [one for one in kept_versions(settings, tenant_id) if one < current["build_id"]]
    if not earlier:
        raise FleetmartError(f"v{current['build_id']} is the earliest snapshot of {tenant_id} that is kept.")
    if build_id is None:
        # what was rolled back once is gone back to by its number only
        standing = [one for one in earlier if one not in _withdrawn(settings, tenant_id)]
        if not standing:
            kept = ", ".join(map(str, earlier))
            raise WrongUse(f"Every earlier snapshot of {tenant_id} was rolled back once; say which: {kept}.")
        return standing[0]
    if build_id not in earlier:
        kept = ", ".join(map(str, earlier))
        raise WrongUse(f"No snapshot of build {build_id} before {tenant_id}'s current one is kept. Kept are: {kept}.")
    return build_id


def _withdrawn(settings: Settings, tenant_id: str) -> set[int]:
    """Builds that the tenant saw until it was rolled back."""
    found = rows(settings, "select build_id from snapshots where tenant_id = ? and withdrawn_at is not null", tenant_id)
    return {row["build_id"] for row in found}


def _known(settings: Settings, tenant_id: str) -> None:
    known = Registry(settings.registry).tenant_ids
    if tenant_id not in known:
        raise WrongUse(f"There is no tenant {tenant_id!r}. Registered are: {', '.join(known)}.")
