"""A dashboard or chart as Superset holds it now, in the words of the files, for `pull_files.py` to write.

Needs an application context of Superset.
"""

from typing import Any

from bundle import Bundle
from present_state import chart_document, chart_name, dashboard_state, dataset_name, owned_assets
from readable_form import chart_form


def pulled(bundle: Bundle, slug: str) -> dict[str, Any] | None:
    """`dashboard` is the dashboard's form, None when the slug is a chart's; `charts` are charts' forms by slug.

    `own` are charts that people made and put onto the dashboard: by the name under which the dashboard's form has
    them, their id and form. None when Superset has nothing of this slug.
    """
    charts, dashboards = owned_assets(bundle, "chart"), owned_assets(bundle, "dashboard")
    if slug in dashboards:
        shown = dashboards[slug].slices
        own = [chart for chart in shown if str(chart.uuid) not in bundle.uuids["chart"]]
        return {
            "dashboard": dashboard_state(bundle, dashboards[slug]),
            "charts": {name: _form(bundle, chart) for name, chart in charts.items() if chart in shown},
            "own": {chart_name(bundle, chart.id): {"id": chart.id, "form": _form(bundle, chart)} for chart in own},
        }
    if slug in charts:
        return {"dashboard": None, "charts": {slug: _form(bundle, charts[slug])}, "own": {}}
    return None


def _form(bundle: Bundle, chart: Any) -> dict[str, Any]:
    return chart_form(chart_document(chart), dataset_name(bundle, chart.datasource_id))
