"""dbt's own page about every model, its columns, tests and lineage, as one file beside the Data Docs."""

import os
import shutil

from orchestration.dbt_process import DBT_PROJECT, Dbt
from orchestration.settings import Settings


def write_models_page(settings: Settings) -> None:
    """Make the page when there is none or a model changed since; raises FleetmartError when dbt fails.

    It says what the models' files say and holds no data, so it is the same for every tenant.
    """
    page, manifest = settings.models_page, settings.dbt_target / "manifest.json"
    if page.exists() and page.stat().st_mtime >= newest_model():
        return
    page.parent.mkdir(parents=True, exist_ok=True)
    # in a folder of its own: a build may be writing the other one
    target = settings.home / "dbt" / "docs"
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(manifest, target / manifest.name)
    with Dbt(settings, target=target) as dbt:
        dbt.run(["docs", "generate", "--no-compile", "--empty-catalog", "--static"], lambda line: None)
    os.replace(target / "static_index.html", page)


def newest_model() -> float:
    """When a file of the dbt project was last changed."""
    return max(path.stat().st_mtime for path in DBT_PROJECT.rglob("*") if path.suffix in (".sql", ".yml"))
