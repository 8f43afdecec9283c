"""New files in landing start a run; one at a time, each set of files once."""

import hashlib

import dagster as dg

from orchestration.defs.assets import EVERYTHING
from orchestration.landing import files_at_url, waiting_files
from orchestration.settings import Settings


@dg.sensor(job=EVERYTHING, minimum_interval_seconds=15, default_status=dg.DefaultSensorStatus.RUNNING)
def landing_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Asks for a run when files wait that were not asked for before."""
    waiting, elsewhere = waiting_files(Settings()), files_at_url(Settings())
    if not waiting and not elsewhere:
        return dg.SkipReason("Nothing waits in landing.")
    seen = hashlib.sha256()
    for one in waiting:
        stat = one.path.stat()
        seen.update(f"{one.path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    seen.update("\n".join(elsewhere).encode())
    return dg.RunRequest(run_key=seen.hexdigest())
