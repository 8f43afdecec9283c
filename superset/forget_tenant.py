"""A tenant that has left, removed from Superset without a trace: its people, what they made, and all notes of them.

The tables are those that the records have, whatever a later Superset adds to them: every row that names one of the
tenant's people goes, and rows that point to it with it. Needs an application context of Superset.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import questions
from declared_roles import row_rules
from import_files import OWNED
from last_push import NOTES as LAST_PUSH
from present_state import tenants_of
from sqlalchemy import Column, ForeignKey, MetaData, Table, cast, delete, func, or_, select, update
from sqlalchemy.types import String, Text
from tenancy import ROLE_PREFIX, fleetmart_home
from tenant_cache import RedisState

# Who last changed a row is forgotten; the row is another's. So is one of these tables that is left without its maker.
CHANGED_BY = {"changed_by_fk", "last_saved_by_fk"}
HANDED_ON = {"dashboards", "dbs", "row_level_security_filters", "slices", "sql_metrics", "table_columns", "tables"}
# Notes of what happened, and what pages keep for a moment: those that name the tenant go, whoever they are of.
NOTES = {"cache_keys", "key_value", "keyvalue", "logs", "query"}


def forget_tenant(tenant: str) -> dict[str, Any]:
    """Remove the tenant's people, role, assets and notes; nothing is committed.

    Returns the rows removed by table, and under `mentions` what others made that still names the tenant: it is theirs.
    """
    from superset import db, security_manager

    people = [account for account in security_manager.get_all_users() if tenants_of(account) == [tenant]]
    names = [tenant, *(account.username for account in people), *(account.email for account in people)]
    gone = _Removal([account.id for account in people])
    gone.assets()
    gone.people_and_role(ROLE_PREFIX + tenant)
    gone.row_rules([rule.name for rule in row_rules({tenant})])
    gone.notes(names)
    db.session.flush()
    db.session.expire_all()
    return {"tenant": tenant, "people": len(people), "rows": dict(gone.rows), "mentions": list(gone.mentions(names))}


def clean_up(tenant: str) -> None:
    """Remove what is kept of the tenant outside of the records, and what SQLite keeps in its file of removed rows.

    Only once the removal is committed.
    """
    from embed_keys import forget_key
    from superset.extensions import cache_manager

    from superset import db

    forget_key(fleetmart_home(), tenant)
    cache_manager.data_cache.cache.forget(tenant)
    questions.forget(fleetmart_home(), tenant)
    for cache in (cache_manager.filter_state_cache, cache_manager.explore_form_data_cache):
        # In the records they went with the tenant's notes.
        if isinstance(cache.cache, RedisState):
            cache.cache.forget(tenant)
    if db.engine.dialect.name == "sqlite":
        with db.engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            alone.exec_driver_sql("vacuum")
            alone.exec_driver_sql("pragma wal_checkpoint(truncate)")


class _Removal:
    """Rows removed because of these people; `rows` counts them by table."""

    def __init__(self, people: list[int]) -> None:
        from superset import db

        self.session = db.session
        self.people = people
        self.rows: Counter[str] = Counter()
        self.tables = MetaData()
        self.tables.reflect(bind=db.session.connection())

    def assets(self) -> None:
        """Charts, dashboards and datasets that only these people own; their permissions go with them."""
        from superset.connectors.sqla.models import SqlaTable
        from superset.models.dashboard import Dashboard
        from superset.models.slice import Slice

        for model in (Dashboard, Slice, SqlaTable):
            for asset in self.session.query(model).all():
                owners = {owner.id for owner in asset.owners} or {asset.created_by_fk}
                if owners <= set(self.people) and not (asset.external_url or "").startswith(OWNED):
                    self.rows[model.__tablename__] += 1
                    self.session.delete(asset)
            self.session.flush()

    def people_and_role(self, role: str) -> None:
        """The accounts and the tenant's role, with every row that is of them."""
        users, roles = self.tables.tables["ab_user"], self.tables.tables["ab_role"]
        self._delete(users, users.c.id.in_(self.people))
        self._delete(roles, roles.c.name == role)

    def row_rules(self, names: list[str]) -> None:
        """The tenant's row rules."""
        rules = self.tables.tables["row_level_security_filters"]
        self._delete(rules, rules.c.name.in_(names))

    def notes(self, names: list[str]) -> None:
        """Notes that name the tenant or one of its people."""
        for table in self._tables_with_a_key():
            if table.name in NOTES:
                key = _key(table)
                ids = [row[0] for row in self._rows_naming(table, names)]
                for start in range(0, len(ids), 500):
                    self._delete(table, key.in_(ids[start : start + 500]))

    def mentions(self, names: list[str]) -> Iterator[str]:
        """What still names the tenant or one of its people, as table and key."""
        for table in self._tables_with_a_key():
            for row in self._rows_naming(table, names):
                yield f"{table.name} {row[0]}"

    def _delete(self, table: Table, condition: Any) -> None:
        """Delete rows, and before them what points to them."""
        for child, column, foreign_key in self._pointing_to(table):
            pointing = column.in_(select(foreign_key.column).where(condition))
            if child is table or column.name in CHANGED_BY or not self._goes_with(child, column):
                self.session.execute(update(child).where(pointing).values({column.name: None}))
            else:
                self._delete(child, pointing)
        self.rows[table.name] += self.session.execute(delete(table).where(condition)).rowcount

    def _pointing_to(self, table: Table) -> Iterator[tuple[Table, Column, ForeignKey]]:
        for child in self.tables.sorted_tables:
            for column in child.columns:
                for foreign_key in column.foreign_keys:
                    if foreign_key.column.table is table:
                        yield child, column, foreign_key

    def _goes_with(self, child: Table, column: Column) -> bool:
        """Rows of a person go with it; so do those that only join two others, or cannot be without."""
        of_a_person = any(key.column.table.name == "ab_user" for key in column.foreign_keys)
        of_a_person &= child.name not in HANDED_ON
        only_joins = all(other.primary_key or other.foreign_keys for other in child.columns)
        return of_a_person or only_joins or not column.nullable

    def _tables_with_a_key(self) -> list[Table]:
        """All but the last push's own note, which this one writes anew."""
        found = [table for table in self.tables.sorted_tables if len(table.primary_key.columns) == 1]
        return [table for table in found if table.name != LAST_PUSH.name]

    def _rows_naming(self, table: Table, names: list[str]) -> Iterator[Any]:
        """Rows of which a text has one of the names in it as a word of its own."""
        texts = [column for column in table.columns if _may_hold_text(column)]
        if not texts:
            return
        words = re.compile("|".join(rf"(?<![\w-]){re.escape(name)}(?![\w-])" for name in names))
        likely = or_(*(self._as_text(column).contains(name, autoescape=True) for column in texts for name in names))
        for row in self.session.execute(select(_key(table), *texts).where(likely)):
            if any(words.search(_decoded(value)) for value in row[1:]):
                yield row

    def _as_text(self, column: Column) -> Any:
        if isinstance(column.type, String):
            return column
        is_binary = column.type.python_type is bytes and self.session.connection().dialect.name == "postgresql"
        return func.encode(column, "escape") if is_binary else cast(column, Text)


def _key(table: Table) -> Column:
    return next(iter(table.primary_key.columns))


def _may_hold_text(column: Column) -> bool:
    try:
        return column.type.python_type in (str, bytes, dict)
    except NotImplementedError:
        return False


def _decoded(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
