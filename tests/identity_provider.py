"""A real OpenID Connect provider on this machine, which demands PKCE, and can be made to forge what it says."""

import base64
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import flask
import oidc_provider_mock
import requests
from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server

CLIENT_ID, CLIENT_SECRET = "fleetmart", "known-to-both"
FORGED_KEY = RSAKey.generate_key(2048, {"kid": "forged"})


@dataclass
class IdentityProvider:
    """`forge` changes the claims of the next ID tokens, which then are signed with another key than the provider's.

    Where `forge_is_trusted` the provider vouches for that key: the signature holds, and only the claims are wrong.
    """

    url: str = ""
    forge: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    forge_is_trusted: bool = False
    challenges: list[str] = field(default_factory=list)

    def person(self, subject: str, **claims: object) -> None:
        """Make or change somebody."""
        requests.put(f"{self.url}/users/{subject}", json=claims, timeout=10).raise_for_status()

    def log_in(self, browser: requests.Session, start: str, subject: str) -> str:
        """Go from the product's log-in to the provider and say who one is; returns the way back, not yet gone."""
        sent = browser.get(start, allow_redirects=False, timeout=30)
        assert sent.status_code == 302 and sent.headers["location"].startswith(self.url), sent.text[:500]
        back = browser.post(sent.headers["location"], data={"sub": subject}, allow_redirects=False, timeout=30)
        assert back.status_code == 302, back.text[:500]
        return back.headers["location"]

    def app(self) -> flask.Flask:
        app = oidc_provider_mock.app(require_nonce=True)
        app.before_request(self._demand_pkce)
        app.after_request(self._forge)
        return app

    def _demand_pkce(self) -> None:
        """A code is given for a challenge, and redeemed by who made it."""
        asked = flask.request
        if asked.path == "/oauth2/authorize":
            if asked.args.get("code_challenge_method") != "S256" or not asked.args.get("code_challenge"):
                flask.abort(400, "no code challenge")
            self.challenges.append(asked.args["code_challenge"])
        if asked.path == "/oauth2/token":
            digest = hashlib.sha256(asked.form.get("code_verifier", "").encode()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() not in self.challenges:
                flask.abort(400, "no verifier of any challenge")

    def _forge(self, response: flask.Response) -> flask.Response:
        if flask.request.path == "/oauth2/token" and self.forge and response.status_code == 200:
            token = response.get_json()
            claims = _claims(token["id_token"])
            header = {"alg": "RS256", "kid": "forged"}
            response.set_data(
                flask.json.dumps(token | {"id_token": jwt.encode(header, self.forge(claims), FORGED_KEY)})
            )
        if flask.request.path == "/jwks" and self.forge_is_trusted:
            keys = response.get_json()
            keys["keys"].append(FORGED_KEY.as_dict(private=False))
            response.set_data(flask.json.dumps(keys))
        return response


def _claims(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    return flask.json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


@contextmanager
def identity_provider() -> Iterator[IdentityProvider]:
    """The provider, served until the block ends."""
    provider = IdentityProvider()
    server = make_server("127.0.0.1", 0, provider.app(), threaded=True)
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()


FORGERIES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "of another issuer": lambda claims: claims | {"iss": "https://elsewhere.example"},
    "for another client": lambda claims: claims | {"aud": "another"},
    "of another log-in": lambda claims: claims | {"nonce": "replayed"},
    "without a nonce": lambda claims: {name: value for name, value in claims.items() if name != "nonce"},
    "too old": lambda claims: claims | {"exp": int(time.time()) - 3600, "iat": int(time.time()) - 7200},
}
