"""Why somebody sees nothing, said where they look: a page for a page, and a chart's own message for a chart."""

from flask import Flask, Response, jsonify, request
from flask_login import current_user
from tenancy import NoData, NothingPublished, fleetmart_home, snapshot_of, tenant_of_user
from white_label import message_page

PAGES_OF_DATA = ("/superset/dashboard/", "/explore/")


def install(app: Flask) -> None:
    """Answer NoData wherever it comes up."""

    @app.before_request
    def page_without_data() -> Response | None:
        if request.method != "GET" or not request.path.startswith(PAGES_OF_DATA) or current_user.is_anonymous:
            return None
        try:
            snapshot_of(fleetmart_home(), tenant_of_user(current_user))
        except NoData as error:
            return message_page(_status(error), _title(error), str(error))
        return None

    @app.errorhandler(NoData)
    def chart_without_data(error: NoData) -> tuple[Response, int]:
        said = {
            "message": str(error),
            "error_type": "GENERIC_BACKEND_ERROR",
            "level": "warning",
            "extra": {"issue_codes": []},
        }
        return jsonify(message=str(error), errors=[said]), _status(error)


def _title(error: NoData) -> str:
    return "Nothing to show yet" if isinstance(error, NothingPublished) else "No data for this log-in"


def _status(error: NoData) -> int:
    """Never 503: browsers' code would ask again and again."""
    return 404 if isinstance(error, NothingPublished) else 403
