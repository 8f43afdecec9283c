"""What an identity provider says of somebody, and who that is here: one tenant and one persona, or nobody.

Needs neither Superset nor Flask, so the rule is tested by itself; oidc.py speaks the protocol.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from services import PATIENCE_SECONDS, ServiceError, secret
from tenancy import OPERATOR, ROLE_PREFIX, TENANT_ID

NAME = "your company account"
# Where the provider sends people back to.
OIDC_RETURN = "/oauth-authorized/oidc"
# No local account is called so: whoever chooses a name at the provider takes over nobody's account here.
USERNAME_PREFIX = "oidc:"
LONGEST_USERNAME = 64
ADMIN, GUEST = "admin", "guest"
LOCAL_LOG_INS = ("off", "operator")
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
TRUE, FALSE = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}


class NotAdmitted(Exception):
    """Why this log-in is refused, in words for who tried it."""


@dataclass(frozen=True)
class Provider:
    """An identity provider and what its claims are called here.

    `name` completes "Sign in with"; `local_log_in` says who may log in without it.
    """

    name: str
    issuer: str
    client_id: str
    client_secret: str
    tenant_claim: str
    roles_claim: str
    admits_admin: bool
    local_log_in: str
    public_url: str | None


@dataclass(frozen=True)
class Identity:
    """Somebody whom the provider vouches for: an account's name and the roles that it holds until the next log-in."""

    username: str
    first_name: str
    last_name: str
    email: str | None
    roles: tuple[str, str]


def provider() -> Provider | None:
    """The provider that the settings name; None when people log in with passwords of this product.

    Raises ServiceError when a setting is missing or cannot be.
    """
    issuer = _setting("ISSUER")
    if not issuer:
        return None
    parts = urlsplit(issuer)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if not parts.hostname or not is_safe:
        raise ServiceError("FLEETMART_OIDC_ISSUER is no address such as https://id.example.com/realm.")
    client_id, client_secret = _setting("CLIENT_ID"), secret("FLEETMART_OIDC_CLIENT_SECRET")
    if not client_id or not client_secret:
        raise ServiceError("FLEETMART_OIDC_ISSUER needs FLEETMART_OIDC_CLIENT_ID and FLEETMART_OIDC_CLIENT_SECRET too.")
    local = _setting("LOCAL_LOG_IN") or LOCAL_LOG_INS[0]
    if local not in LOCAL_LOG_INS:
        raise ServiceError(f"FLEETMART_OIDC_LOCAL_LOG_IN is {' or '.join(LOCAL_LOG_INS)}, not {local}.")
    admin = _setting("ADMIN").lower()
    if admin not in TRUE | FALSE:
        raise ServiceError(f"FLEETMART_OIDC_ADMIN is true or false, not {admin}.")
    name = _setting("NAME") or NAME
    if not re.fullmatch(r"\w[\w ]*", name):
        raise ServiceError("FLEETMART_OIDC_NAME has letters, digits and spaces only.")
    return Provider(
        name=name,
        issuer=issuer,
        client_id=client_id,
        client_secret=client_secret,
        tenant_claim=_setting("TENANT_CLAIM") or "tenant",
        roles_claim=_setting("ROLES_CLAIM") or "roles",
        admits_admin=admin in TRUE,
        local_log_in=local,
        public_url=(os.environ.get("FLEETMART_PUBLIC_URL") or "").rstrip("/") or None,
    )


def _setting(name: str) -> str:
    return os.environ.get(f"FLEETMART_OIDC_{name}", "").strip()


def remote_app(chosen: Provider) -> dict[str, Any]:
    """How Superset's configuration names the provider: the code flow with PKCE."""
    return {
        "name": chosen.name,
        "icon": "key",
        "token_key": "access_token",
        "remote_app": {
            "client_id": chosen.client_id,
            "client_secret": chosen.client_secret,
            "server_metadata_url": f"{chosen.issuer.rstrip('/')}/.well-known/openid-configuration",
            "client_kwargs": {
                "scope": "openid profile email",
                "code_challenge_method": "S256",
                "default_timeout": PATIENCE_SECONDS,
            },
        },
    }


def personas() -> set[str]:
    """The personas that roles.yml declares, but that of frames in other products: nobody logs in as it."""
    return set(yaml.safe_load(Path(__file__).with_name("roles.yml").read_text())["personas"]) - {GUEST}


def identity_of(claims: dict[str, Any], chosen: Provider, known: set[str]) -> Identity:
    """Who the claims of a proved ID token speak of; `known` are the personas that there are.

    Raises NotAdmitted unless they name exactly one tenant and exactly one persona that this tenant may have.
    """
    subject = str(claims.get("sub") or "")
    if not subject:
        raise NotAdmitted("Your identity provider did not say who you are.")
    tenant_id = _one_tenant(_values(claims, chosen.tenant_claim), chosen)
    persona = _one_persona(_values(claims, chosen.roles_claim), tenant_id, chosen, known)
    given, family = (str(claims.get(name) or "")[:64] for name in ("given_name", "family_name"))
    shown = given or str(claims.get("name") or claims.get("preferred_username") or "")[:64]
    return Identity(
        username=_username(chosen.issuer, subject),
        first_name=shown or persona.capitalize(),
        last_name=family,
        email=claims["email"] if claims.get("email") and claims.get("email_verified") is True else None,
        roles=("Admin" if persona == ADMIN else persona, ROLE_PREFIX + tenant_id),
    )


def _one_tenant(named: list[str], chosen: Provider) -> str:
    if len(set(named)) != 1:
        how_many = "no tenant" if not named else "more than one tenant"
        raise NotAdmitted(
            f"Your log-in names {how_many} (claim {chosen.tenant_claim}), so there is no data to show. "
            "Ask whoever looks after your identity provider to give it exactly one."
        )
    if not TENANT_ID.fullmatch(named[0]):
        raise NotAdmitted("The tenant that your log-in names is not a valid key. Ask your administrator to correct it.")
    return named[0]


def _one_persona(named: list[str], tenant_id: str, chosen: Provider, known: set[str]) -> str:
    """The one persona among the roles; others than personas mean something elsewhere."""
    found = set(named) & (known | {ADMIN})
    if len(found) != 1:
        how_many = "none" if not found else "more than one"
        raise NotAdmitted(
            f"Of the roles {', '.join(sorted(known))} your log-in has {how_many} (claim {chosen.roles_claim}). "
            "Ask whoever looks after your identity provider to give it exactly one."
        )
    (persona,) = found
    if persona == ADMIN and not (tenant_id == OPERATOR and chosen.admits_admin):
        raise NotAdmitted("Nobody becomes administrator of everything by this log-in. Ask for another role.")
    return persona


def _values(claims: dict[str, Any], path: str) -> list[str]:
    """Strings of a claim, which is one or a list; dots lead into claims of claims, if there is none of that name."""
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for step in path.split("."):
            found = found.get(step) if isinstance(found, dict) else None
    listed = found if isinstance(found, list) else [found]
    return [value for value in listed if isinstance(value, str) and value]


def _username(issuer: str, subject: str) -> str:
    """An account's name: whoever is somebody else at the provider, or comes from another one, has another account."""
    parts = urlsplit(issuer)
    name = f"{USERNAME_PREFIX}{subject}@{parts.netloc}{parts.path}"
    if len(name) <= LONGEST_USERNAME and subject.isprintable():
        return name
    return USERNAME_PREFIX + hashlib.sha256(f"{issuer}\0{subject}".encode()).hexdigest()[: LONGEST_USERNAME - 5]
