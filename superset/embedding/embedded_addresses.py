"""The addresses of embedded dashboards in Superset's records: one for each tenant and dashboard, and no others."""

from collections.abc import Iterable
from uuid import UUID

from embedding import EmbeddingError, dashboards_of, embedded_uuid, embedding_rules


def give_addresses(tenants: Iterable[str]) -> None:
    """Give every dashboard that embedding.yml names its address for each of these tenants, and end all others.

    Raises EmbeddingError for a dashboard that there is not.
    """
    from flask import current_app
    from superset.models.dashboard import Dashboard
    from superset.models.embedded_dashboard import EmbeddedDashboard

    from superset import db

    numbers = dict(db.session.query(Dashboard.slug, Dashboard.id).filter(Dashboard.slug.isnot(None)))
    if unknown := sorted(set(embedding_rules()["dashboards"]) - numbers.keys()):
        raise EmbeddingError(f"embedding.yml names {', '.join(unknown)}, which is no dashboard.")
    secret = current_app.config["GUEST_TOKEN_JWT_SECRET"]
    wanted = {
        embedded_uuid(secret, tenant, slug): numbers[slug] for tenant in tenants for slug in dashboards_of(tenant)
    }
    for address in db.session.query(EmbeddedDashboard).all():
        if wanted.get(str(address.uuid)) == address.dashboard_id:
            del wanted[str(address.uuid)]
        else:
            db.session.delete(address)
    db.session.flush()
    db.session.add_all(EmbeddedDashboard(uuid=UUID(uuid), dashboard_id=number) for uuid, number in wanted.items())
    db.session.commit()
