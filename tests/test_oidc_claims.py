"""Whom an identity provider's claims admit, and whom not: the rule by itself."""

import dataclasses
import sys
from pathlib import Path

import pytest

from orchestration.settings import ROOT

sys.path.insert(0, str(ROOT / "superset" / "security"))
import oidc_claims
import services

PERSONAS = {"executive", "analyst", "steward"}
PROVIDER = oidc_claims.Provider(
    name="your company account",
    issuer="https://id.example.com/realm",
    client_id="fleetmart",
    client_secret="not-told",
    tenant_claim="tenant",
    roles_claim="roles",
    admits_admin=False,
    local_log_in="off",
    public_url=None,
)
CLAIMS = {"sub": "4711", "tenant": "north", "roles": ["analyst"], "given_name": "Ada", "family_name": "Byron"}


def who(claims: dict, **settings: object) -> oidc_claims.Identity:
    return oidc_claims.identity_of(claims, dataclasses.replace(PROVIDER, **settings), PERSONAS)


def test_one_tenant_and_one_persona_are_admitted() -> None:
    found = who(CLAIMS | {"email": "ada@example.com", "email_verified": True})
    assert found.roles == ("analyst", "tenant:north") and found.username == "oidc:4711@id.example.com/realm"
    assert (found.first_name, found.last_name, found.email) == ("Ada", "Byron", "ada@example.com")


def test_roles_that_mean_something_elsewhere_do_not_count() -> None:
    assert who(CLAIMS | {"roles": ["offline_access", "analyst", "crm-user"]}).roles[0] == "analyst"
    assert who(CLAIMS | {"roles": "steward"}).roles[0] == "steward"


def test_claims_may_lie_within_claims_and_be_called_otherwise() -> None:
    claims = {"sub": "1", "https://x.example/org": ["north"], "realm_access": {"roles": ["executive"]}}
    found = who(claims, tenant_claim="https://x.example/org", roles_claim="realm_access.roles")
    assert found.roles == ("executive", "tenant:north")


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"tenant": None}, "no tenant"),
        ({"tenant": []}, "no tenant"),
        ({"tenant": 7}, "no tenant"),
        ({"tenant": {"north": True}}, "no tenant"),
        ({"tenant": ["north", "south"]}, "more than one tenant"),
        ({"tenant": "../north"}, "not a valid key"),
        ({"tenant": "north\nsouth"}, "not a valid key"),
        ({"roles": []}, "has none"),
        ({"roles": ["owner"]}, "has none"),
        ({"roles": ["tenant:south"]}, "has none"),
        ({"roles": ["Admin"]}, "has none"),
        ({"roles": ["analyst", "steward"]}, "more than one"),
        ({"roles": ["analyst", "admin"]}, "more than one"),
        ({"roles": ["admin"]}, "Nobody becomes administrator"),
        ({"sub": ""}, "did not say who you are"),
    ],
)
def test_whoever_is_not_one_of_one_tenant_is_not_admitted(claims: dict, says: str) -> None:
    with pytest.raises(oidc_claims.NotAdmitted, match=says):
        who(CLAIMS | claims)


def test_personas_are_those_that_somebody_logs_in_as() -> None:
    found = oidc_claims.personas()
    assert found >= PERSONAS and "guest" not in found and "admin" not in found


def test_an_administrator_is_of_the_operator_and_wanted_by_the_settings() -> None:
    admin = CLAIMS | {"roles": ["admin"]}
    for claims, settings in ((admin, {"admits_admin": True}), (admin | {"tenant": "operator"}, {})):
        with pytest.raises(oidc_claims.NotAdmitted, match="Nobody becomes administrator"):
            who(claims, **settings)
    assert who(admin | {"tenant": "operator"}, admits_admin=True).roles == ("Admin", "tenant:operator")


def test_nobody_takes_over_an_account_by_a_name() -> None:
    chosen = who(CLAIMS | {"preferred_username": "admin", "name": "admin", "email": "admin@fleetmart.invalid"})
    assert chosen.username.startswith("oidc:4711@") and chosen.email is None
    names = {
        oidc_claims.identity_of(CLAIMS | {"sub": sub}, dataclasses.replace(PROVIDER, issuer=issuer), PERSONAS).username
        for sub in ("a", "b", "a" * 200, "a" * 201, "a\0")
        for issuer in ("https://id.example.com", "https://id.example.com/other", "https://id.example.org")
    }
    assert len(names) == 15 and max(map(len, names)) <= 64


def test_without_an_issuer_people_log_in_with_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLEETMART_OIDC_ISSUER", raising=False)
    assert oidc_claims.provider() is None


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"ISSUER": "http://id.example.com"}, "FLEETMART_OIDC_ISSUER is no address"),
        ({"CLIENT_ID": ""}, "needs FLEETMART_OIDC_CLIENT_ID"),
        ({"CLIENT_SECRET": ""}, "needs FLEETMART_OIDC_CLIENT_ID and FLEETMART_OIDC_CLIENT_SECRET"),
        ({"LOCAL_LOG_IN": "everybody"}, "is off or operator"),
        ({"ADMIN": "perhaps"}, "is true or false"),
        ({"NAME": "<b>us</b>"}, "letters, digits and spaces"),
    ],
)
def test_a_setting_that_cannot_be_is_told(settings: dict, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    good = {"ISSUER": "https://id.example.com", "CLIENT_ID": "fleetmart", "CLIENT_SECRET": "not-told"}
    for name, value in (good | settings).items():
        monkeypatch.setenv(f"FLEETMART_OIDC_{name}", value)
    with pytest.raises(services.ServiceError, match=says) as error:
        oidc_claims.provider()
    assert "not-told" not in str(error.value)


def test_a_secret_is_read_from_a_file_that_nobody_else_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    file.write_text("not-told\n")
    monkeypatch.setenv("FLEETMART_OIDC_CLIENT_SECRET_FILE", str(file))
    for mode in (0o644, 0o640, 0o602):
        file.chmod(mode)
        with pytest.raises(services.ServiceError, match="chmod 600"):
            services.secret("FLEETMART_OIDC_CLIENT_SECRET")
    file.chmod(0o600)
    assert services.secret("FLEETMART_OIDC_CLIENT_SECRET") == "not-told"
    monkeypatch.setenv("FLEETMART_OIDC_CLIENT_SECRET", "another")
    with pytest.raises(services.ServiceError, match="Unset one of them"):
        services.secret("FLEETMART_OIDC_CLIENT_SECRET")
