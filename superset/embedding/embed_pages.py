"""The addresses of embedding: a page in a frame, for its tenant's hosts alone; tokens, for host products' servers.

POST /embed/token   Authorization: Bearer <the tenant's key>   {"dashboard": "fleet-overview", "user": "ann"}
"""

from typing import Any

from embed_keys import hash_of, tenant_of_key
from embed_tokens import NotEmbeddable, NoUser, mint
from embedding import FOLDER, hosts_of
from faces import brands, theme
from flask import Blueprint, Flask, Response, abort, current_app, g, jsonify, request, send_from_directory
from framed_tenant import FRAMED, tenant_of_page
from tenancy import ROLE_PREFIX, TENANT_ID, fleetmart_home
from white_label import message_page

blueprint = Blueprint("embedding", __name__)

# A product that shows dashboards to a thousand people at once renews some two hundred tokens a minute.
TOKENS_OF_A_KEY = "1200 per minute"
WRONG_KEYS_OF_AN_ADDRESS = "30 per minute"


class FramedPage:
    """Superset's own page for a frame, shown to this tenant's hosts, whose policy lets these alone frame it."""

    def __init__(self) -> None:
        # As a function has: whoever counts requests asks for both.
        self.__name__ = self.__qualname__ = "framed_page"

    def __call__(self, uuid: str) -> Response:
        # scheme, host and port, as browsers write them
        if "/".join((request.referrer or "").split("/")[:3]) not in _hosts():
            return message_page(403, "Not for this page", "This dashboard cannot stand inside the page that asked.")
        return current_app.view_functions["EmbeddedView.embedded"](uuid=uuid)

    @property
    def talisman_view_options(self) -> dict[str, Any]:
        """Read by the middleware that sets the policy of every page."""
        usual = current_app.config["TALISMAN_CONFIG"]
        return {
            "content_security_policy": {**usual["content_security_policy"], "frame-ancestors": _hosts() or ["'none'"]},
            "content_security_policy_nonce_in": usual["content_security_policy_nonce_in"],
            # It knows but one host, and would forbid all others.
            "frame_options": None,
        }


def _hosts() -> list[str]:
    tenant_id = tenant_of_page()
    return hosts_of(tenant_id) if tenant_id else []


blueprint.add_url_rule(f"{FRAMED}<uuid>", "framed_page", FramedPage())


@blueprint.get("/dashboard/<slug>/embedded")
def page_of_any_host(slug: str) -> Response:
    """Superset's older page for frames: of any dashboard, for any host, and it logs people out."""
    abort(404)


@blueprint.get("/embed/framed.css")
def style() -> Response:
    """What a page looks like in a frame, to whoever asks."""
    return send_from_directory(FOLDER, "framed.css", max_age=3600)


@blueprint.post("/embed/token")
def token() -> tuple[Response, int]:
    """A token for the host product of the tenant whose key it shows."""
    from superset import security_manager

    tenant_id = tenant_of_key(fleetmart_home(), _presented_key())
    if tenant_id is None:
        return _refused(401, "Show the tenant's key: `Authorization: Bearer embed_…`. This one is missing or unknown.")
    if not TENANT_ID.fullmatch(tenant_id) or not security_manager.find_role(ROLE_PREFIX + tenant_id):
        return _refused(403, "This key's tenant is not served here any more.")
    asked = request.get_json(silent=True)
    asked = asked if isinstance(asked, dict) else {}
    slug, user = asked.get("dashboard"), asked.get("user")
    if set(asked) != {"dashboard", "user"} or not isinstance(slug, str) or not isinstance(user, str):
        return _refused(422, 'Send {"dashboard": "fleet-overview", "user": "who looks"}, both texts, nothing else.')
    try:
        minted = mint(current_app.config["GUEST_TOKEN_JWT_SECRET"], tenant_id, slug, user)
    except NotEmbeddable as error:
        return _refused(404, str(error))
    except NoUser as error:
        return _refused(422, str(error))
    # for the audit record: nobody is logged in
    g.tenant_of_key, g.embedded_for = tenant_id, f"guest:{user}"
    return _answer(200, **vars(minted), theme=theme(brands().of_tenant(tenant_id), dark=False))


@blueprint.errorhandler(429)
def too_many(error: Exception) -> tuple[Response, int]:
    """Whoever renews a token before it ends stays far below the limit."""
    return _refused(429, "Too many requests. A token is good for five minutes; keep it for as long.")


def _presented_key() -> str:
    kind, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else ""


def _refused(status: int, why: str) -> tuple[Response, int]:
    answer, _ = _answer(status, error=why)
    if status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer, status


def _answer(status: int, **said: Any) -> tuple[Response, int]:
    answer = jsonify(said)
    answer.headers["Cache-Control"] = "no-store"
    return answer, status


def install(app: Flask) -> None:
    """Part of Superset's FLASK_APP_MUTATOR: servers show a key, no cookie, so no cross-site token; and limits."""
    from superset.extensions import csrf

    from superset import security_manager

    csrf.exempt(blueprint)
    limit = security_manager.limiter.limit
    limit(TOKENS_OF_A_KEY, key_func=lambda: hash_of(_presented_key()), methods=["POST"])(blueprint)
    limit(WRONG_KEYS_OF_AN_ADDRESS, methods=["POST"], deduct_when=lambda answer: answer.status_code == 401)(blueprint)
