"""Results as files that Superset does not write: Parquet, and XLSX of what SQL Lab found.

The question is asked again, as Superset does for CSV, through its own checks and the caller's own snapshot. For a
chart, the body is that of /api/v1/chart/data.
"""

import io
import re
from collections.abc import Callable
from typing import Any

from data_docs import tenant_of_caller
from flask import Blueprint, Response, abort, jsonify, make_response, request
from marshmallow import ValidationError

KINDS = "<any(parquet, xlsx):kind>"
TYPES = {
    "parquet": "application/vnd.apache.parquet",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}

blueprint = Blueprint("exports", __name__, url_prefix="/export")


@blueprint.get(f"/sql/<client_id>.{KINDS}")
def sql_results(client_id: str, kind: str) -> Response:
    """What a query of SQL Lab found, as a file."""
    return _file(kind, ("can_export_csv", "SQLLab"), lambda: (client_id, _found_by(client_id)))


@blueprint.post(f"/chart.{KINDS}")
def chart_data(kind: str) -> Response:
    """What a chart shows, as a file."""
    return _file(kind, ("can_csv", "Superset"), _shown_by_chart)


def _file(kind: str, permission: tuple[str, str], found: Callable[[], tuple[str, Any]]) -> Response:
    """The file, for who has the permission."""
    from superset import security_manager

    _, refusal = tenant_of_caller()
    if refusal:
        return refusal
    if not security_manager.can_access(*permission):
        abort(403)
    name, frame = found()
    headers = {"Content-Type": TYPES[kind], "Content-Disposition": f'attachment; filename="{name}.{kind}"'}
    return make_response(_written(kind, frame), 200, headers)


def _found_by(client_id: str) -> Any:
    """The data frame of a query that the caller may see; raises Superset's own refusals."""
    from superset.commands.sql_lab.export import SqlResultExportCommand
    from superset.sql.parse import SQLScript
    from superset.sqllab.limiting_factor import LimitingFactor

    command = SqlResultExportCommand(client_id)
    command.validate()
    query = command._query
    limit = None
    if not query.select_sql:
        statements = SQLScript(query.executed_sql, query.database.db_engine_spec.engine).statements
        limit = statements[-1].get_limit_value()
        # Superset asks for one row more than it shows, to know whether there are more.
        if limit is not None and query.limiting_factor != LimitingFactor.NOT_LIMITED:
            limit -= 1
    return query.database.get_df(query.select_sql or query.executed_sql, query.catalog, query.schema)[:limit]


def _shown_by_chart() -> tuple[str, Any]:
    """A name for the file, and the data frame of the one query in the request's body."""
    from superset.charts.schemas import ChartDataQueryContextSchema
    from superset.utils import json

    try:
        body = json.loads(request.form["form_data"]) if "form_data" in request.form else request.get_json()
        context = ChartDataQueryContextSchema().load(body | {"result_type": "full", "result_format": "json"})
    except (ValidationError, json.JSONDecodeError, TypeError) as error:
        abort(make_response(jsonify(message=f"This is no chart's question: {error}"), 400))
    context.raise_for_access()
    if len(context.queries) != 1:
        abort(make_response(jsonify(message="A chart of several results is exported as CSV or XLSX only."), 400))
    payload = context.get_df_payload(context.queries[0])
    if payload["error"]:
        abort(make_response(jsonify(message=str(payload["error"])), 400))
    name = (context.form_data or {}).get("slice_name") or context.datasource.name
    return re.sub(r"[^\w-]+", "-", str(name)).strip("-") or "chart", payload["df"]


def _written(kind: str, frame: Any) -> bytes:
    from superset.utils.excel import df_to_excel

    if kind == "xlsx":
        return df_to_excel(frame, index=False)
    frame.columns = [str(column) for column in frame.columns]
    content = io.BytesIO()
    frame.to_parquet(content, index=False)
    return content.getvalue()
