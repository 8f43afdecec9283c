"""Guest tokens: each opens one dashboard of one tenant for five minutes, and nothing else.

Minted only here, by the command line and by the endpoint for host products. Superset asks `claims_of` about every token
that it is shown, and what was not minted here is refused, whoever signed it. Needs PyJWT and PyYAML only.
"""

import hashlib
import time
from dataclasses import dataclass
from typing import Any

import jwt
from embedding import dashboards_of, embedded_uuid
from tenancy import TENANT_ID

ALGORITHM = "HS256"
ISSUER = "fleetmart"
AUDIENCE = "fleetmart-embedded"
LIFETIME_SECONDS = 300
LONGEST_NAME = 200
CLAIMS = {"iss", "aud", "iat", "exp", "type", "tenant", "dashboard", "user", "resources", "rls_rules"}


class NotEmbeddable(ValueError):
    """There is no such dashboard for this tenant to embed."""


class NoUser(ValueError):
    """The host product did not say who looks."""


@dataclass(frozen=True)
class Token:
    """What the embedding SDK needs: the token, the address `id` of the dashboard, and until when (Unix seconds)."""

    token: str
    id: str
    expires_at: int
    tenant: str
    dashboard: str


def mint(secret: str, tenant_id: str, slug: str, user: str) -> Token:
    """A token for this dashboard; `user` is who looks, for the record, and grants nothing.

    Raises NotEmbeddable or NoUser.
    """
    if slug not in dashboards_of(tenant_id):
        known = ", ".join(dashboards_of(tenant_id)) or "none"
        raise NotEmbeddable(f"Dashboard {slug!r} cannot be embedded for {tenant_id}. Those that can: {known}.")
    if not user.strip() or len(user) > LONGEST_NAME or not user.isprintable():
        raise NoUser(f"Say who looks, in at most {LONGEST_NAME} printable characters: it is kept for the record.")
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + LIFETIME_SECONDS,
        "type": "guest",
        "tenant": tenant_id,
        "dashboard": slug,
        # No log-in has a colon in its name, so no guest is ever taken for one.
        "user": {"username": f"guest:{user}", "first_name": user, "last_name": ""},
        **_bound_to(secret, tenant_id, slug),
    }
    token = jwt.encode(claims, secret, ALGORITHM, headers={"kid": key_id(secret)})
    return Token(token, embedded_uuid(secret, tenant_id, slug), claims["exp"], tenant_id, slug)


def claims_of(token: str, secret: str) -> dict[str, Any]:
    """The claims of a token that `mint` made, is not over, and whose dashboard may still be embedded.

    Raises jwt.InvalidTokenError for any other.
    """
    if jwt.get_unverified_header(token) != {"alg": ALGORITHM, "typ": "JWT", "kid": key_id(secret)}:
        raise jwt.InvalidTokenError("The header is not that of a guest token.")
    claims = jwt.decode(token, secret, [ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options={"require": [*CLAIMS]})
    if claims.keys() != CLAIMS or claims["type"] != "guest":
        raise jwt.InvalidTokenError("The claims are not those of a guest token.")
    tenant_id, slug = claims["tenant"], claims["dashboard"]
    if not isinstance(tenant_id, str) or not TENANT_ID.fullmatch(tenant_id) or slug not in dashboards_of(tenant_id):
        raise jwt.InvalidTokenError("There is no such dashboard to embed.")
    if claims["exp"] - claims["iat"] > LIFETIME_SECONDS:
        raise jwt.InvalidTokenError("It would be good for too long.")
    bound = _bound_to(secret, tenant_id, slug)
    if {name: claims[name] for name in bound} != bound:
        raise jwt.InvalidTokenError("It is not bound to exactly its dashboard.")
    return claims


def key_id(secret: str) -> str:
    """Which key signed, without saying anything of the key."""
    return hashlib.sha256(b"kid:" + secret.encode()).hexdigest()[:16]


def _bound_to(secret: str, tenant_id: str, slug: str) -> dict[str, Any]:
    """Superset's own claims. The tenant's file is the boundary, so there are no row rules to forget."""
    return {"resources": [{"type": "dashboard", "id": embedded_uuid(secret, tenant_id, slug)}], "rls_rules": []}
