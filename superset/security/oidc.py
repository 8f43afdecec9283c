"""Log-in through an identity provider of the company's own (OpenID Connect), by settings alone.

Authlib speaks the protocol: the code flow with PKCE, state and nonce, and the ID token's signature, issuer, audience
and time. Whom its claims admit is oidc_claims.py's; what follows for accounts and pages is here.
"""

import logging
import re
from typing import Any

import requests
from authlib.common.errors import AuthlibBaseError
from flask import Response, abort, g, redirect, request, session, url_for
from flask_appbuilder import expose
from flask_appbuilder.security.decorators import no_cache
from flask_appbuilder.security.views import AuthOAuthView
from flask_appbuilder.utils.base import get_safe_redirect
from flask_login import login_user
from flask_wtf.csrf import generate_csrf
from joserfc.errors import JoseError
from oidc_claims import (
    OIDC_RETURN,
    USERNAME_PREFIX,
    Identity,
    NotAdmitted,
    Provider,
    identity_of,
    personas,
    provider,
)
from tenancy import OPERATOR, UnknownCaller, tenant_of_user
from white_label import local_log_in_page, message_page

NEXT = "oidc_next"
# What is signed with a key that only the provider has; never "none", nor with the secret that we have too.
ALGORITHMS = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
logger = logging.getLogger(__name__)


class OidcView(AuthOAuthView):
    """The way to the provider and back, and the form for those who may log in without it."""

    @expose("/login/")
    @expose("/login/<provider>")
    @no_cache
    def login(self, provider: str | None = None) -> Response:
        """Send the browser to the provider; where it came from is kept in its session."""
        if provider not in self.appbuilder.sm.oauth_remotes:
            abort(404)
        if g.user is not None and g.user.is_authenticated:
            return redirect(self.appbuilder.get_url_for_index)
        session[NEXT] = request.args.get("next", "")
        try:
            return self._remote().authorize_redirect(_callback())
        except (requests.RequestException, AuthlibBaseError, RuntimeError) as error:
            logger.error("The identity provider cannot be asked: %s", error)
            return message_page(
                502,
                "Log-in is not possible now",
                "Your identity provider does not answer. Try again in a moment; if it stays, tell your administrator.",
            )

    @expose(OIDC_RETURN)
    @no_cache
    def oauth_authorized(self) -> Response:
        """Take the provider's answer, prove it, and log in whom it admits."""
        chosen = _provider()
        wanted = {
            "iss": {"essential": True, "value": chosen.issuer},
            "aud": {"essential": True, "value": chosen.client_id},
        }
        try:
            token = self._remote().authorize_access_token(claims_options=wanted)
            identity = identity_of(dict(token.get("userinfo") or {}), chosen, personas())
            user = self.appbuilder.sm.account_of(identity)
        except NotAdmitted as error:
            logger.warning("A log-in by the identity provider was not admitted: %s", error)
            return message_page(403, "No access with this log-in", str(error))
        except (AuthlibBaseError, JoseError, requests.RequestException, ValueError, RuntimeError) as error:
            # Forged, replayed, late, or not meant for us; which one is for the log only.
            logger.warning("A log-in by the identity provider failed: %s: %s", type(error).__name__, error)
            return message_page(403, "Log-in failed", "Your log-in could not be proved. Log in again.")
        login_user(user, remember=False)
        return redirect(get_safe_redirect(session.pop(NEXT, "")))

    @expose("/login/local", methods=["GET", "POST"])
    @no_cache
    def local(self) -> Response:
        """The form for the operator's people when the provider fails; there is none unless the settings keep it."""
        if _provider().local_log_in != OPERATOR:
            abort(404)
        failed = False
        if request.method == "POST":
            user = self.appbuilder.sm.auth_user_db(request.form.get("username"), request.form.get("password"))
            if user:
                login_user(user, remember=False)
                return redirect(self.appbuilder.get_url_for_index)
            failed = True
        return local_log_in_page(failed, generate_csrf())

    def _remote(self) -> Any:
        """Authlib's client of the provider, which takes only signatures that prove something."""
        (remote,) = self.appbuilder.sm.oauth_remotes.values()
        about = remote.load_server_metadata()
        offered = about.get("id_token_signing_alg_values_supported") or ["RS256"]
        about["id_token_signing_alg_values_supported"] = [one for one in offered if one in ALGORITHMS]
        return remote


class OidcMixin:
    """A security manager's part of it: accounts by identity, and no local log-in but for whom the settings keep it."""

    authoauthview = OidcView

    def register_views(self) -> None:
        """As Superset does, and attempts at the local form are counted."""
        super().register_views()
        if provider() and self.is_auth_limited:
            self.limiter.limit(self.auth_rate_limit, methods=["POST"])(self.auth_view.blueprint)

    def account_of(self, identity: Identity) -> Any:
        """The identity's account with exactly its roles, made when there is none.

        Raises NotAdmitted for a tenant that is not here, and for an account that was switched off.
        """
        roles = [self.find_role(name) for name in identity.roles]
        if None in roles:
            raise NotAdmitted("The tenant that your log-in names is not served here. Ask your administrator.")
        user = self.find_user(username=identity.username)
        if user is None:
            email = identity.email if identity.email and not self.find_user(email=identity.email) else None
            user = self.add_user(
                identity.username,
                identity.first_name,
                identity.last_name,
                email or f"{re.sub(r'[^A-Za-z0-9]+', '.', identity.username)}@fleetmart.invalid",
                roles,
            )
            if not user:
                raise NotAdmitted("Your account could not be made. Tell your administrator.")
        if not user.is_active:
            raise NotAdmitted("Your account was switched off. Ask your administrator.")
        user.first_name, user.last_name = identity.first_name, identity.last_name
        user.roles, user.groups = roles, []
        self.update_user_auth_stat(user)
        return user

    def auth_user_db(self, username: str, password: str) -> Any:
        """The local account with this password, by whatever way it comes; with a provider, the operator's at most."""
        user = super().auth_user_db(username, password)
        if user is None or user.username.startswith(USERNAME_PREFIX):
            return None
        return user if _may_log_in_locally(user) else None


def _may_log_in_locally(user: Any) -> bool:
    chosen = provider()
    if chosen is None:
        return True
    try:
        return chosen.local_log_in == OPERATOR and tenant_of_user(user) == OPERATOR
    except UnknownCaller:
        return False


def _provider() -> Provider:
    return provider() or abort(404)


def _callback() -> str:
    """Where the provider sends the browser back: the address that people know, whatever host this request named."""
    public = _provider().public_url
    path = url_for("OidcView.oauth_authorized")
    return f"{public}{path}" if public else url_for("OidcView.oauth_authorized", _external=True)
