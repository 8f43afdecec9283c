"""The gate's own pages, for the people who answer for the data: each tenant's stewards see their tenant's.

The pages are complete without a script or anything from elsewhere, so their policy allows neither.
"""

from pathlib import Path

from flask import Blueprint, Response, abort, g, redirect, request, send_from_directory, url_for
from tenancy import UnknownCaller, fleetmart_home, roles_of, tenant_of_user
from white_label import message_page

READERS = {"steward", "admin", "Admin"}
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'self'; base-uri 'none'; "
    "form-action 'none'; sandbox allow-popups"
)

blueprint = Blueprint("data_docs", __name__)


@blueprint.get("/data-docs/")
@blueprint.get("/data-docs/<path:page>")
def data_docs(page: str = "index.html") -> Response:
    """One page of the caller's tenant's Data Docs."""
    user = getattr(g, "user", None)
    if user is None or user.is_anonymous:
        return redirect(url_for("SupersetAuthView.login", next=request.path))
    try:
        tenant_id = tenant_of_user(user)
    except UnknownCaller as error:
        return message_page(403, "No tenant", str(error))
    if not READERS & set(roles_of(user)):
        return message_page(403, "Not for this log-in", "Data Docs are for data stewards and administrators.")
    folder = fleetmart_home() / "quality" / tenant_id / "docs"
    if not (folder / "index.html").is_file():
        return message_page(
            404,
            "No quality report yet",
            f"The gate has not judged {tenant_id} yet. Its report appears here after the next run.",
        )
    wanted = page + "index.html" if page.endswith("/") else page
    if not _lies_within(folder / wanted, folder):
        abort(404)
    return send_from_directory(folder, wanted, max_age=0)


# Read by the middleware that sets the policy of every page.
data_docs.talisman_view_options = {"content_security_policy": POLICY, "content_security_policy_nonce_in": []}


def _lies_within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
