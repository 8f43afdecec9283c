"""New files in landing start a run; one at a time, each set of files once."""

import hashlib

import dagster as dg

from orchestration.defs.assets import EVERYTHING
from orchestration.load import waiting_files
from orchestration.settings import Settings


@dg.sensor(job=EVERYTHING, minimum_interval_seconds=15, default_status=dg.DefaultSensorStatus.RUNNING)
def landing_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Asks for a run when files wait that were not asked for before."""
    waiting = waiting_files(Settings())
    if not waiting:
        return dg.SkipReason("Nothing waits in landing.")
    seen = hashlib.sha256()
    for _, path in waiting:
        stat = path.stat()
        seen.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return dg.RunRequest(run_key=seen.hexdigest())
