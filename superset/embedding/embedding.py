"""What may be embedded, and where: embedding.yml and roles.yml, read as one.

Every pair of tenant and dashboard has an address of its own, derived from both: a page that is opened in a frame knows
whose it is before anybody has shown a token. Needs PyYAML only.
"""

import os
import re
import uuid
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from tenancy import OPERATOR

FOLDER = Path(__file__).resolve().parent
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "fleetmart.embedding")
PORTAL_PORT = "8090"
ORIGIN = re.compile(r"https?://[a-z0-9-]+(\.[a-z0-9-]+)*(:[0-9]{1,5})?")


class EmbeddingError(ValueError):
    """What embedding.yml says and cannot be so."""


def embedded_uuid(secret: str, tenant_id: str, slug: str) -> str:
    """The address `/embedded/<uuid>` that this dashboard always has for this tenant.

    Nobody guesses it without the key that signs tokens, so no address tells a stranger which tenants there are.
    """
    return str(uuid.uuid5(uuid.uuid5(NAMESPACE, secret), f"{tenant_id}/{slug}"))


def dashboards_of(tenant_id: str) -> list[str]:
    """Slugs of the dashboards that may be embedded for this tenant."""
    if tenant_id == OPERATOR:
        return []
    limited = _read(FOLDER.parent / "security" / "roles.yml")["dashboards"]
    return [slug for slug in embedding_rules()["dashboards"] if tenant_id in limited.get(slug, [tenant_id])]


def hosts_of(tenant_id: str) -> list[str]:
    """Origins whose pages may hold this tenant's dashboards."""
    port = os.environ.get("FLEETMART_PORTAL_PORT") or PORTAL_PORT
    portal = [f"http://{host}:{port}" for host in ("127.0.0.1", "localhost")]
    return embedding_rules()["hosts"].get(tenant_id, []) + portal


@cache
def embedding_rules() -> dict[str, Any]:
    """What embedding.yml says.

    Raises EmbeddingError for a host that is no origin: a policy would take it for something else.
    """
    said = _read(FOLDER / "embedding.yml")
    for tenant_id, hosts in said["hosts"].items():
        for host in hosts:
            if not ORIGIN.fullmatch(str(host)):
                raise EmbeddingError(
                    f"embedding.yml: host {host!r} of {tenant_id} is no origin. Write scheme, host and, if it is not "
                    "the usual one, port, such as https://portal.example.com; nothing after it, and no wildcard."
                )
    return said


@cache
def _read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())
