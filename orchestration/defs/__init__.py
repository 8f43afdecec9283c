"""Dagster's view of Fleetmart: the same functions as the command line, shown as one lineage."""

import dagster as dg

from orchestration.defs.assets import ASSETS, EVERYTHING
from orchestration.defs.jobs import JOBS, SCHEDULES
from orchestration.defs.sensors import landing_sensor

defs = dg.Definitions(
    assets=ASSETS,
    jobs=[EVERYTHING, *JOBS],
    schedules=SCHEDULES,
    sensors=[landing_sensor],
    # Steps run one after the other in the run's own process: there is one writer, and imports are paid once.
    executor=dg.in_process_executor,
)
