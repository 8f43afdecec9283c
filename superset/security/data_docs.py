"""The gate's own pages, for the people who answer for the data, and the page about the models, for everybody.

The gate's are complete without a script or anything from elsewhere, so their policy allows neither; each tenant's
stewards see their tenant's. The models' page is a program: it runs in a sandbox without the reader's log-in.
"""

from pathlib import Path

from faces import face
from flask import Blueprint, Response, abort, g, make_response, redirect, request, send_from_directory, url_for
from tenancy import OPERATOR, TENANT_ID, UnknownCaller, fleetmart_home, roles_of, tenant_of_user
from white_label import message_page

READERS = {"steward", "admin", "Admin"}
POLICY = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'self'; "
    "base-uri 'none'; form-action 'none'; sandbox allow-popups"
)

MODELS_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; font-src data:; "
    "img-src 'self' data:; frame-ancestors 'self'; base-uri 'none'; form-action 'none'; sandbox allow-scripts"
)

blueprint = Blueprint("data_docs", __name__)


@blueprint.get("/data-docs/")
@blueprint.get("/data-docs/<path:page>")
def data_docs(page: str = "index.html") -> Response:
    """One page of the caller's tenant's Data Docs."""
    tenant_id, refusal = tenant_of_caller()
    if refusal:
        return refusal
    if not READERS & set(roles_of(g.user)):
        return message_page(403, "Not for this log-in", "Data Docs are for data stewards and administrators.")
    owner, page = _owner_and_page(tenant_id, page)
    folder = fleetmart_home() / "quality" / owner / "docs"
    if not (folder / "index.html").is_file():
        return message_page(
            404,
            "No quality report yet",
            f"The gate has not judged {owner} yet. Its report appears here after the next run.",
        )
    wanted = page + "index.html" if page.endswith("/") else page
    if not _lies_within(folder / wanted, folder):
        abort(404)
    return _branded(folder / wanted) if wanted.endswith(".html") else send_from_directory(folder, wanted, max_age=0)


def _branded(page: Path) -> Response:
    """The page as the gate wrote it, whose colours and fonts are variables, with the reader's own for them."""
    if not page.is_file():
        abort(404)
    sheet = f'<link rel="stylesheet" href="{face().address("brand.css")}">'
    return make_response(page.read_text().replace("</head>", f"{sheet}</head>", 1), 200, {"Cache-Control": "no-store"})


def _owner_and_page(tenant_id: str, page: str) -> tuple[str, str]:
    """Whose page it is: the caller's own, or for the operator's people that of the tenant named before it."""
    named, _, rest = page.partition("/")
    is_of_another = tenant_id == OPERATOR and rest and TENANT_ID.fullmatch(named)
    return (named, rest) if is_of_another else (tenant_id, page)


@blueprint.get("/data-docs/models/")
def models() -> Response:
    """The page about every published table and how it is made; it holds no data, so each tenant may see it."""
    _, refusal = tenant_of_caller()
    if refusal:
        return refusal
    return send_from_directory(fleetmart_home() / "quality", "models.html", max_age=0)


# Read by the middleware that sets the policy of every page.
data_docs.talisman_view_options = {"content_security_policy": POLICY, "content_security_policy_nonce_in": []}
models.talisman_view_options = {"content_security_policy": MODELS_POLICY, "content_security_policy_nonce_in": []}


def tenant_of_caller() -> tuple[str | None, Response | None]:
    """The caller's tenant, or what to answer somebody who has none."""
    user = getattr(g, "user", None)
    if user is None or user.is_anonymous:
        return None, redirect(url_for("SupersetAuthView.login", next=request.path))
    try:
        return tenant_of_user(user), None
    except UnknownCaller as error:
        return None, message_page(403, "No tenant", str(error))


def _lies_within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
