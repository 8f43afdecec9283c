"""A plain Superset beside Fleetmart's: the same people, dashboards and rows, all tenants in one file, rules by role."""

import json
import secrets
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb

from orchestration.published_records import current_records
from orchestration.registry_rows import OPERATOR
from orchestration.serving import current_snapshot
from orchestration.settings import ROOT, Settings

CONFIG = ROOT / "orchestration" / "bench_plain_superset.py"
# It has its own rules instead of ours, one a tenant.
OURS = ("rls_filter_roles", "rls_filter_tables", "row_level_security_filters")
RULE = """
insert into row_level_security_filters (id, name, filter_type, clause)
select id, name, 'Regular', printf('tenant_id = ''%s''', substr(name, 8)) from ab_role where name like 'tenant:%'
and name <> 'tenant:operator'
"""
RULES_ROLES = "insert into rls_filter_roles (role_id, rls_filter_id) select id, id from row_level_security_filters"
RULES_TABLES = """
insert into rls_filter_tables (table_id, rls_filter_id)
select distinct c.table_id, r.id from table_columns c, row_level_security_filters r where c.column_name = 'tenant_id'
"""
DATABASE = "update dbs set sqlalchemy_uri = ?, extra = ?, cache_timeout = null"


def make_plain(settings: Settings, folder: Path) -> dict[str, str]:
    """Make the plain Superset's file and records from Fleetmart's; returns the environment that it starts in."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shared = folder / "shared.duckdb"
    _share(settings, shared)
    (folder / "secret.json").write_text(json.dumps(secrets.token_urlsafe(48)))
    engine = {"engine_params": {"connect_args": {"read_only": True}}}
    with closing(sqlite3.connect(settings.home / "superset" / "superset.db")) as ours:
        ours.backup(records := sqlite3.connect(folder / "superset.db"))
    with closing(records), records:
        records.execute(DATABASE, (f"duckdb:///{shared}", json.dumps(engine)))
        for table in OURS:
            records.execute(f"delete from {table}")
        for statement in (RULE, RULES_ROLES, RULES_TABLES):
            records.execute(statement)
    return {"SUPERSET_CONFIG_PATH": str(CONFIG), "PLAIN_SUPERSET": str(folder)}


def _share(settings: Settings, shared: Path) -> None:
    """Everything that the operator's staff see, in one file."""
    with duckdb.connect(str(shared)) as connection:
        # it would be drawn over the answer
        connection.execute("set enable_progress_bar = false")
        for name, path in (
            ("snapshot", current_snapshot(settings, OPERATOR)),
            ("records", current_records(settings, OPERATOR)),
        ):
            connection.execute(f"attach '{path}' as {name} (read_only)")
            tables = connection.execute("select table_name from duckdb_tables() where database_name = $1", [name])
            for (table,) in tables.fetchall():
                connection.execute(f'create table main."{table}" as from {name}.main."{table}"')
