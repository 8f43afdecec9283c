"""The gate's own pages, for the people who answer for the data: each tenant's stewards see their tenant's.

Great Expectations writes plain HTML with inline scripts and styles, and counts on libraries from elsewhere.
Here nothing is fetched from elsewhere: a small script and style stand in for them. These pages alone get a
policy that lets inline scripts run, and in a sandbox: such a script reaches no session, no page and no data.
"""

import re
from pathlib import Path

from flask import Blueprint, Response, abort, g, make_response, redirect, request, send_from_directory, url_for
from tenancy import UnknownCaller, fleetmart_home, roles_of, tenant_of_user
from white_label import message_page

READERS = {"steward", "admin", "Admin"}
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; frame-ancestors 'self'; base-uri 'none'; form-action 'none'; sandbox "
    "allow-scripts allow-popups allow-downloads"
)

ELSEWHERE = re.compile(
    r"""<link[^>]+href=["']https?://[^>]*>|<script[^>]+src=["']https?://[^>]*>\s*</script>|<img[^>]+src=["']https?://[^>]*>"""
)
STAND_INS = '<link rel="stylesheet" href="/brand/data-docs.css"><script src="/brand/data-docs.js"></script>'

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
    if wanted.endswith(".html") and (folder / wanted).is_file():
        return make_response(_self_contained((folder / wanted).read_text()))
    return send_from_directory(folder, wanted, max_age=0)


# Read by the middleware that sets the policy of every page.
data_docs.talisman_view_options = {"content_security_policy": POLICY, "content_security_policy_nonce_in": []}


def _self_contained(page: str) -> str:
    """The page with our stand-ins in place of what it would fetch from elsewhere."""
    page = ELSEWHERE.sub("", page)
    return page.replace("<head>", f"<head>{STAND_INS}", 1)


def _lies_within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
