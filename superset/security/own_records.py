"""What people make in Superset stays within their tenant: charts, dashboards, queries, history, names.

Superset shows a chart to whoever may read its dataset, and all tenants read the same datasets. So every statement of
the ORM is limited here, whichever page or interface it serves: to what the product brought, which its own account
made, and to what people of the caller's tenant made. Guests, and whoever does not belong to exactly one tenant, see
what the product brought only. Administrators, and work that nobody asked for, are not limited.

What the product brought is nobody's to change but administrators', and a dashboard of one's own has no address of its
own: addresses are the same for all, so one that is taken would tell of another tenant's.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from flask import Flask, Response, g, has_app_context, has_request_context, jsonify, request
from sqlalchemy import event, false, inspect, or_, select
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria
from tenancy import ROLE_PREFIX, UnknownCaller, current_user, roles_of, tenant_of_user

# Owner of everything that provisioning brings; nobody logs in as it.
PRODUCT_ACCOUNT = "fleetmart"
ADMINISTRATOR = "Admin"

# Every table of Superset's records, by how its rows are limited; what a new version adds is nobody's until it is here.
BY_CREATOR = {"slices", "dashboards", "tables", "saved_query"}
BY_USER = {"query", "tab_state", "favstar", "logs"}
SPECIAL = {"key_value", "ab_user", "ab_role"}
# Reached by their own interfaces or by way of a record of the above: limited where a statement is about them.
SELDOM_BY_CREATOR = {
    "table_schema", "css_templates", "annotation_layer", "annotation", "report_schedule", "report_recipient", "tag",
    "tagged_object", "tasks", "task_subscribers",
}  # fmt: skip
SELDOM_BY_USER = {"user_attribute", "database_user_oauth2_tokens"}
OPEN = {
    # Read by way of a dataset, a schedule or a dashboard, which is limited.
    "table_columns", "sql_metrics", "report_execution_log", "embedded_dashboards",
    # The same for everybody, and without a word of anybody's.
    "dbs", "themes", "dynamic_plugin", "ssh_tunnels", "cache_keys", "keyvalue", "row_level_security_filters",
    # What each role may do; a person's own is read before it is known who asks.
    "ab_permission", "ab_permission_view", "ab_view_menu", "ab_group", "ab_register_user", "ab_api_key",
}  # fmt: skip
# Nobody but administrators writes these, whoever made them.
READ_ONLY = {"tables", "table_columns", "sql_metrics", "dbs", "themes", "row_level_security_filters"}
WRITTEN_RELATIONS = {"owners", "roles", "slices"}
IMPORT = re.compile(r"/api/v1/[a-z_]+/import/?")


@dataclass(frozen=True)
class Scope:
    """Whose records a limited caller sees.

    `people` are the ids of its tenant's people and its own, none of a guest's or a stranger's; `product` is the id of
    the product's own account.
    """

    tenant_id: str | None
    user_id: int | None
    people: tuple[int, ...]
    product: tuple[int, ...]
    # Whoever is about to log in has to be found.
    is_anonymous: bool = False


def install(app: Flask) -> None:
    """Limit every statement and every write from now on, and refuse bundles: they bring records under any name."""
    for name, listener in (("do_orm_execute", _limit), ("before_flush", _protect)):
        if not event.contains(Session, name, listener):
            event.listen(Session, name, listener)
    _list_example_queries()

    @app.before_request
    def no_bundles() -> tuple[Response, int] | None:
        if request.method == "POST" and IMPORT.fullmatch(request.path) and scope_of_caller() is not None:
            return jsonify(message="Only administrators import. Save what you made here instead."), 403
        return None


def scope_of_caller() -> Scope | None:
    """Whose records whoever asks may see; None when it is not limited: an administrator, or the server itself."""
    if not has_app_context() or g.get("_own_records_asking"):
        return None
    with as_nobodys():
        caller = _caller()
        known = g.get("_own_records_scope")
        if known is None or known[0] is not caller:
            known = g._own_records_scope = (caller, _scope_of(caller))
        return known[1]


@contextmanager
def as_nobodys() -> Iterator[None]:
    """Statements within are not limited: to learn who asks, Superset reads its users and their roles."""
    before = g.get("_own_records_asking", False)
    g._own_records_asking = True
    try:
        yield
    finally:
        g._own_records_asking = before


def _caller() -> Any:
    user = current_user()
    # Flask-Login's proxy stands for another person after a log-in.
    return user._get_current_object() if hasattr(user, "_get_current_object") else user


def _scope_of(user: Any) -> Scope | None:
    if user is None and not has_request_context():
        return None
    is_guest = getattr(user, "is_guest_user", False)
    is_anonymous = user is None or (user.is_anonymous and not is_guest)
    if not is_guest and not is_anonymous and ADMINISTRATOR in roles_of(user):
        return None
    try:
        tenant_id = tenant_of_user(user)
    except UnknownCaller:
        tenant_id = None
    user_id = None if is_guest or is_anonymous else user.id
    people = _people(tenant_id, user_id) if user_id else ()
    return Scope(tenant_id, user_id, people, product_account(), is_anonymous)


def product_account() -> tuple[int, ...]:
    """The id of the account that made what the product brought; none before it was brought."""
    users = _table("ab_user")
    return _ids(select(users.c.id).where(users.c.username == PRODUCT_ACCOUNT))


def _people(tenant_id: str | None, user_id: int) -> tuple[int, ...]:
    """Who carries the tenant's role, and the caller; the product's account carries the operator's, and is neither."""
    held, roles, users = _table("ab_user_role"), _table("ab_role"), _table("ab_user")
    peers = (
        select(users.c.id)
        .join(held, held.c.user_id == users.c.id)
        .join(roles, roles.c.id == held.c.role_id)
        .where(roles.c.name == f"{ROLE_PREFIX}{tenant_id}", users.c.username != PRODUCT_ACCOUNT)
    )
    return tuple(sorted({user_id, *(_ids(peers) if tenant_id else ())}))


def _ids(query: Any) -> tuple[int, ...]:
    from superset import db

    # Of tables, not of classes, and without writing what is not yet to be written.
    with db.session.no_autoflush:
        return tuple(db.session.execute(query).scalars())


def _limit(state: ORMExecuteState) -> None:
    """SQLAlchemy's do_orm_execute: the statement finds what its caller may see, in subqueries and relations too."""
    if state.is_column_load or not (state.is_select or state.is_update or state.is_delete):
        return
    scope = scope_of_caller()
    if scope is not None:
        about = frozenset(mapper.class_ for mapper in state.all_mappers)
        state.statement = state.statement.options(*_criteria(scope, about, writes=not state.is_select))


@lru_cache(maxsize=4096)
def _criteria(scope: Scope, about: frozenset[Any], writes: bool) -> tuple[Any, ...]:
    """For each class what limits it: the usual ones always, the others where the statement is about them."""
    usual = BY_CREATOR | BY_USER | SPECIAL
    return tuple(
        with_loader_criteria(model, condition, include_aliases=True)
        for model in _models()
        if (model.__tablename__ in usual or model in about)
        and (condition := _condition(model.__tablename__, scope, writes)) is not None
    )


def _condition(table: str, scope: Scope, writes: bool) -> Callable[[Any], Any] | None:
    """What holds of the rows that the caller may read, or write by a statement; None when all of them.

    Functions of the class, because a join calls it by another name. SQLAlchemy keeps the statement that it makes of one
    and binds anew what stands outside of it: plain values, so that no caller is answered with those of another.
    """
    people, makers = scope.people, scope.people if writes else scope.product + scope.people
    if table in OPEN or (scope.is_anonymous and table in ("ab_user", "ab_role")):
        return None
    if table == "ab_user":
        return lambda cls: cls.id.in_(makers)
    if table == "ab_role":
        tenants, own = f"{ROLE_PREFIX}%", f"{ROLE_PREFIX}{scope.tenant_id or ''}"
        return lambda cls: or_(cls.name.notlike(tenants), cls.name == own)
    if table == "key_value":
        # The first to come writes what is shared by the application itself: the salts of its links.
        return lambda cls: or_(cls.resource == "app", cls.created_by_fk.in_(makers))
    if table in BY_USER | SELDOM_BY_USER:
        return lambda cls: cls.user_id.in_(people)
    if table in BY_CREATOR | SELDOM_BY_CREATOR:
        return lambda cls: cls.created_by_fk.in_(makers)
    return lambda cls: false()


def _models() -> Iterable[Any]:
    from flask_appbuilder import Model

    return [mapper.class_ for mapper in Model.registry.mappers]


def _table(name: str) -> Any:
    from flask_appbuilder import Model

    return Model.metadata.tables[name]


def _protect(session: Session, *_: Any) -> None:
    """SQLAlchemy's before_flush: a limited caller changes nothing of the product's and takes no address.

    Raises Superset's own refusals, which its interfaces answer with 403 or 422.
    """
    scope = scope_of_caller()
    if scope is None:
        return
    for record in _written(session):
        made_by = getattr(record, "created_by_fk", None)
        is_anothers = record.__tablename__ in BY_CREATOR and made_by and made_by not in scope.people
        if is_anothers or record.__tablename__ in READ_ONLY:
            raise _forbidden(record)
        if record.__tablename__ == "dashboards" and record.slug:
            raise _no_address()


def _written(session: Session) -> Iterator[Any]:
    """What is new, changed or deleted, and each dashboard that a chart joins or leaves."""
    yield from session.deleted
    yield from session.new
    yield from filter(_is_changed, session.dirty)
    for record in [*session.new, *session.dirty]:
        if record.__tablename__ == "slices":
            joined = inspect(record).attrs["dashboards"].history
            yield from [*(joined.added or ()), *(joined.deleted or ())]


def _is_changed(record: Any) -> bool:
    """Whether its own columns or what it is made of have changed: what only refers to it does not change it."""
    state = inspect(record)
    names = {column.key for column in state.mapper.column_attrs}
    names |= WRITTEN_RELATIONS & set(state.mapper.relationships.keys())
    return any(state.attrs[name].history.has_changes() for name in names)


def _forbidden(record: Any) -> Exception:
    from superset.commands.chart.exceptions import ChartForbiddenError
    from superset.commands.dashboard.exceptions import DashboardForbiddenError

    class NotYours(ChartForbiddenError, DashboardForbiddenError):
        """A refusal that the interfaces of charts and of dashboards both know."""

    return NotYours(f"{record} is not yours to change. Save a copy under a name of your own instead.")


def _no_address() -> Exception:
    from marshmallow import ValidationError
    from superset.commands.dashboard.exceptions import DashboardInvalidError

    said = "Only the product's own dashboards have an address of their own; leave this empty."
    return DashboardInvalidError(exceptions=[ValidationError(said, field_name="slug")])


def _list_example_queries() -> None:
    """Beside a person's own saved queries everybody sees those that the product brought, and may not change them."""
    from superset.models.sql_lab import SavedQuery
    from superset.queries.saved_queries.filters import SavedQueryFilter
    from superset.utils.core import get_user_id

    def own_and_examples(self: Any, query: Any, value: Any) -> Any:
        mine = SavedQuery.created_by_fk == get_user_id()
        return query.filter(or_(mine, SavedQuery.created_by_fk.in_(product_account())) if _is_read() else mine)

    SavedQueryFilter.apply = own_and_examples


def _is_read() -> bool:
    return request.method in ("GET", "HEAD")
