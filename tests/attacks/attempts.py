"""The attempts: who tries what, and what may come back. To add one is to add a line."""
# A list to be read down, one attempt a line.
# ruff: noqa: E501

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import requests

from tests.attacks.caller import Caller
from tests.attacks.prey import ATTACKER, QUESTION, VICTIM, Prey

ANALYST, EXECUTIVE, STEWARD, GUEST, ANONYMOUS = "analyst", "executive", "steward", "guest", "anonymous"


# What a read file of the server would show.
NEVER = "root:x:0:0"


class Allowed(Enum):
    """What may come back; never anything of another tenant, whatever stands here."""

    REFUSED = "is refused"
    OWN = "gets its own tenant's rows"
    NOTHING = "is refused, or gets nothing of anybody else's"
    ENDED = "is stopped, and the server goes on"


@dataclass(frozen=True)
class Attempt:
    """One try: `ask` gets the caller and what is to be had, and returns the answer that is judged.

    `never` must not come back; `echoes` may, since a list of what the caller asked before says it.
    """

    name: str
    who: str
    ask: Callable[[Caller, Prey], requests.Response]
    allowed: Allowed
    never: str = NEVER
    echoes: str = ""


def _sql(name: str, statement: str, allowed: Allowed = Allowed.REFUSED, never: str = NEVER) -> Attempt:
    """A statement in SQL Lab; words in braces are of the prey."""

    def ask(caller: Caller, prey: Prey) -> requests.Response:
        return caller.sql(statement.format(file=prey.file, home=prey.home, victim=VICTIM))

    return Attempt(f"SQL: {name}", ANALYST, ask, allowed, never)


def _asked(name: str, statement: str, allowed: Allowed, never: str = NEVER, **more: object) -> Attempt:
    """A statement in SQL Lab whose request says more than the page's would."""
    return Attempt(f"SQL: {name}", ANALYST, lambda caller, prey: caller.sql(statement, **more), allowed, never)


SQL = [
    _sql("attach another tenant's file", "attach '{file}' as stolen (read_only)"),
    _sql("attach behind a first statement", "select 1; attach '{file}' as stolen; select * from stolen.dim_devices"),
    _sql("attach behind a comment", "/* just looking */ attach '{file}' as stolen"),
    _sql("read another tenant's file by its name", "select * from '{file}'"),
    _sql("another catalog", 'select * from "{victim}".main.dim_devices'),
    _sql("the operator's catalog", "select * from operator.main.dim_devices"),
    _sql("the warehouse's catalog", "select * from warehouse.main.fct_readings"),
    _sql("another schema", "select * from staging.stg_readings"),
    _sql("the own catalog by its name", "select * from snapshot.main.dim_devices", Allowed.OWN),
    _sql("all catalogs' tables", "select database_name, schema_name, table_name from duckdb_tables()", Allowed.NOTHING),
    _sql("information_schema", "select * from information_schema.tables", Allowed.NOTHING),
    _sql("the databases that are open", "select database_name, path from duckdb_databases()", Allowed.NOTHING),
    _sql("the settings", "select * from duckdb_settings()", Allowed.NOTHING),
    _sql("kept secrets", "select * from duckdb_secrets()", Allowed.NOTHING),
    _sql("a query as text", "select * from query('select tenant_id, device_name from dim_devices')"),
    _sql("a query as text, with a comment between", "select * from \"query\" /* x */ ('select 1')"),
    _sql("a query as a serialized text", "from json_execute_serialized_sql(json_serialize_sql('select 1'))"),
    _sql("a table by its name as text", "select * from query_table('dim_devices')", Allowed.OWN),
    _sql("a query as text that attaches", "select * from query('attach ''{file}'' as stolen')"),
    _sql("summarize", "summarize dim_devices", Allowed.NOTHING),
    _sql("summarize in a table function", "select * from (summarize select * from dim_devices)", Allowed.NOTHING),
    _sql("describe", "describe dim_devices", Allowed.NOTHING),
    _sql("show all tables", "show all tables", Allowed.NOTHING),
    _sql("pragma database_list", "pragma database_list", Allowed.NOTHING),
    _sql("another tenant's rows by its key", "select * from dim_devices where tenant_id = '{victim}'", Allowed.NOTHING),
    _sql(
        "another tenant's count of rows",
        "select count(*) from fct_readings where tenant_id = '{victim}'",
        Allowed.NOTHING,
    ),
    _sql("row numbers past the own rows", "select * from dim_devices where rowid > 1000000", Allowed.NOTHING),
    _sql("read_text of the accounts", "select * from read_text('/etc/passwd')"),
    _sql("read_blob of the server's keys", "select * from read_blob('{home}/secrets.json')"),
    _sql("read_json of the log-ins", "select * from read_json('{home}/credentials.json')"),
    _sql("read_csv of another fleet's files", "select * from read_csv('{home}/archive/**/*.csv')"),
    _sql("read_parquet of the lake", "select * from read_parquet('{home}/lake/**/*.parquet')"),
    _sql("parquet_metadata of the lake", "select * from parquet_metadata('{home}/lake/**/*.parquet')"),
    _sql("sniff_csv", "select * from sniff_csv('/etc/passwd')"),
    _sql("glob", "select * from glob('{home}/serving/**')"),
    _sql("a file of this process", "select * from read_text('/proc/self/environ')"),
    _sql("an address of this machine", "select * from read_text('http://127.0.0.1:8088/health')"),
    _sql("the environment", "select getenv('FLEETMART_HOME')"),
    _sql("sqlite_scan of the accounts", "select * from sqlite_scan('{home}/superset/superset.db', 'ab_user')"),
    _sql("a variable of the program", "select * from statement"),
    _sql("copy to a file", "copy dim_sites to '{home}/stolen.csv'"),
    _sql("copy from a file", "copy dim_sites from '/etc/passwd'"),
    _sql("export the database", "export database '{home}/stolen'"),
    _sql("import a database", "import database '{home}/stolen'"),
    _sql("copy between databases", "copy from database snapshot to memory"),
    _sql("install an extension", "install httpfs"),
    _sql("load an extension", "load sqlite"),
    _sql("load an extension from a file", "load '{home}/stolen.duckdb_extension'"),
    _sql("allow access to files", "set enable_external_access = true"),
    _sql("unlock the settings", "set lock_configuration = false"),
    _sql("take more memory", "set memory_limit = '64GB'"),
    _sql("take a folder for what memory does not hold", "set temp_directory = '{home}/stolen'"),
    _sql("write a log", "call enable_logging()"),
    _sql(
        "write a log to a file, which ends the process",
        "from enable_logging(storage = 'file', storage_path = '{home}/stolen'); select 1",
    ),
    _sql("write a log to the server's own", "call enable_logging('QueryLog', storage = 'stdout'); select 1"),
    _sql("an address in the server's memory", "from pandas_scan(4096)"),
    _sql("another address", "from arrow_scan(4096, 4096, 4096)"),
    _sql("profile into a file", "pragma profiling_output = '{home}/stolen'"),
    _sql("reset a setting", "reset enable_external_access"),
    _sql("use another catalog", "use operator"),
    _sql("let go of the own file", "detach snapshot"),
    _sql("let go of the own records, which all of the tenant share", "detach records"),
    _sql("stand on the records and let go of the data", "use records; detach snapshot"),
    _sql("attach a database in memory, which all of the tenant would share", "attach ':memory:' as mine"),
    _sql("let go of the records by a prepared statement", "prepare p as detach records; execute p"),
    _sql("make a temporary table", "create temporary table mine as select 1"),
    _sql("delete", "delete from dim_devices"),
    _sql("insert", "insert into dim_tenants select * from dim_tenants"),
    _sql("update", "update dim_devices set device_name = 'x'"),
    _sql("drop", "drop table dim_devices"),
    _sql("create a table in the file", "create table snapshot.main.mine as select 1"),
    _sql("make a secret", "create secret (type s3, key_id 'x', secret 'y')"),
    _sql("a template that computes", "select '{{{{ 7 * 191 }}}}' as x", Allowed.NOTHING, never="1337"),
    _sql("a template that reads the settings", "select '{{{{ config }}}}' as x", Allowed.NOTHING, never="<Config"),
    _sql(
        "a template that reaches for Python",
        "select '{{{{ [].__class__.__base__ }}}}' as x",
        Allowed.NOTHING,
        never="<class",
    ),
    _sql(
        "a template that names another user",
        "select '{{{{ current_username() }}}}' as x",
        Allowed.NOTHING,
        never=f"'{ATTACKER}-analyst'",
    ),
    _sql("a template that reads a dataset", "select * from {{{{ dataset(1) }}}}"),
    _asked(
        "a template in a template's values",
        "select '{{ x }}' as x",
        Allowed.NOTHING,
        never="1337",
        templateParams='{"x": "{{ 7 * 191 }}"}',
    ),
    _asked("another catalog, named by the request", "select * from dim_devices", Allowed.NOTHING, catalog="operator"),
    _asked(
        "another schema, named by the request", "select * from dim_devices", Allowed.NOTHING, schema="operator.main"
    ),
    _asked("another database, named by the request", "select 1", Allowed.REFUSED, database_id=2),
    _asked(
        "kept as a table",
        "select 1 as x",
        Allowed.REFUSED,
        select_as_cta=True,
        ctas_method="TABLE",
        tmp_table_name="mine",
    ),
    _asked("in the background", "select device_name from dim_devices", Allowed.NOTHING, runAsync=True),
]


def _chart(name: str, query: dict, allowed: Allowed, who: str = EXECUTIVE, **more: object) -> Attempt:
    """What a chart asks, bent."""

    def ask(caller: Caller, prey: Prey) -> requests.Response:
        bent = json.loads(json.dumps(query).replace("[[file]]", str(prey.file)).replace("[[home]]", str(prey.home)))
        return caller.chart(prey.cube, bent, **more)

    return Attempt(f"Chart: {name}", who, ask, allowed)


def _expression(label: str, sql: str) -> dict:
    return {"expressionType": "SQL", "label": label, "sqlExpression": sql}


READ = "(select string_agg(content, ',') from read_text('/etc/passwd'))"
ROWS = {"columns": ["tenant_id", "device_name"], "metrics": ["readings"]}
EMPTY_QUERY = {"columns": [], "metrics": []}
FOREIGN = [{"col": "tenant_id", "op": "==", "val": VICTIM}]
CHARTS = [
    _chart("the other tenant's question, kept from before", QUESTION, Allowed.OWN, force=False),
    _chart("the same for its table of values", QUESTION, Allowed.OWN, ANALYST, force=False, result_type="results"),
    _chart("filter by the other tenant's key", {**ROWS, "filters": FOREIGN}, Allowed.NOTHING),
    _chart("a condition that is always true", {**ROWS, "extras": {"where": "1 = 1 or 1 = 1"}}, Allowed.NOTHING),
    _chart("close the condition's bracket", {**ROWS, "extras": {"where": "1 = 1) or (1 = 1"}}, Allowed.NOTHING),
    _chart(
        "union behind the condition",
        {**ROWS, "extras": {"where": "1 = 0) union all select path, 'x', 1 from duckdb_databases() --"}},
        Allowed.NOTHING,
    ),
    _chart("a second statement", {**ROWS, "extras": {"where": "1 = 1; attach '[[file]]' as stolen"}}, Allowed.REFUSED),
    _chart("a file in the condition", {**ROWS, "extras": {"where": f"device_name in {READ}"}}, Allowed.REFUSED),
    _chart("a file in having", {**ROWS, "extras": {"having": f"count(*) > length({READ})"}}, Allowed.REFUSED),
    _chart("a file as a column", {"columns": [_expression("x", READ)], "metrics": ["readings"]}, Allowed.REFUSED),
    _chart(
        "a file as a metric", {"columns": ["tenant_id"], "metrics": [_expression("x", f"max({READ})")]}, Allowed.REFUSED
    ),
    _chart("a file in the order", {**ROWS, "orderby": [[_expression("x", READ), True]]}, Allowed.REFUSED),
    _chart(
        "a file in a filter's column",
        {**ROWS, "filters": [{"col": _expression("x", READ), "op": "!=", "val": ""}]},
        Allowed.REFUSED,
    ),
    _chart(
        "a quote in a filter's value",
        {**ROWS, "filters": [{"col": "device_name", "op": "==", "val": "x' or '1'='1"}]},
        Allowed.NOTHING,
    ),
    _chart(
        "a quote in a list of values",
        {**ROWS, "filters": [{"col": "device_name", "op": "IN", "val": ["x') or ('1'='1"]}]},
        Allowed.NOTHING,
    ),
    _chart(
        "SQL as an operator",
        {**ROWS, "filters": [{"col": "device_name", "op": "== '' or '' =", "val": ""}]},
        Allowed.REFUSED,
    ),
    _chart(
        "SQL as a column's name",
        {"columns": ['tenant_id" from duckdb_databases() --'], "metrics": ["readings"]},
        Allowed.REFUSED,
    ),
    _chart(
        "SQL as a time range",
        {**ROWS, "granularity": "day", "time_range": "2014-01-01' or '1'='1 : now"},
        Allowed.NOTHING,
    ),
    _chart(
        "SQL as a grain",
        {**ROWS, "granularity": "day", "extras": {"time_grain_sqla": "P1D'); attach ''"}},
        Allowed.NOTHING,
    ),
    _chart(
        "Python as a step after the query",
        {**ROWS, "post_processing": [{"operation": "__class__", "options": {}}]},
        Allowed.REFUSED,
    ),
    _chart(
        "a formula as a step after the query",
        {**ROWS, "post_processing": [{"operation": "eval", "options": {"expr": "@pd.read_csv('/etc/passwd')"}}]},
        Allowed.REFUSED,
    ),
    _chart("a template in the condition", {**ROWS, "extras": {"where": "'{{ 7 * 191 }}' <> ''"}}, Allowed.NOTHING),
    _chart("more rows than anybody may", {**ROWS, "row_limit": 100_000_000}, Allowed.OWN),
    _chart("its SQL", ROWS, Allowed.NOTHING, ANALYST, result_type="query"),
    _chart("its samples", ROWS, Allowed.OWN, ANALYST, result_type="samples"),
    _chart("its details", ROWS, Allowed.OWN, ANALYST, result_type="drill_detail"),
    _chart("export as CSV", QUESTION, Allowed.OWN, result_format="csv"),
    _chart("export as XLSX", QUESTION, Allowed.OWN, result_format="xlsx", result_type="full"),
    _chart("a dataset that is not there", ROWS, Allowed.REFUSED, datasource={"id": 999_999, "type": "table"}),
    Attempt(
        "Chart: the other tenant's query as a source of data",
        ANALYST,
        lambda caller, prey: caller.chart(prey.query_id, ROWS, datasource={"id": prey.query_id, "type": "query"}),
        Allowed.REFUSED,
    ),
    Attempt(
        "Chart: the other tenant's saved query as a source of data",
        ANALYST,
        lambda caller, prey: caller.chart(1, ROWS, datasource={"id": prey.saved_query, "type": "saved_query"}),
        Allowed.REFUSED,
    ),
    Attempt(
        "Chart: the values of a column",
        EXECUTIVE,
        lambda caller, prey: caller.get(f"/api/v1/datasource/table/{prey.cube}/column/tenant_id/values/"),
        Allowed.OWN,
    ),
    Attempt(
        "Chart: the samples of a dataset",
        EXECUTIVE,
        lambda caller, prey: caller.post(
            f"/datasource/samples?datasource_type=table&datasource_id={prey.cube}&force=true", json={"filters": []}
        ),
        Allowed.OWN,
    ),
    Attempt(
        "Chart: the older way to ask",
        EXECUTIVE,
        lambda caller, prey: caller.post(
            f"/superset/explore_json/?datasource_id={prey.cube}&datasource_type=table",
            data={
                "form_data": json.dumps({"datasource": f"{prey.cube}__table", "viz_type": "table", "where": "1 = 1"})
            },
        ),
        Allowed.NOTHING,
    ),
]


def try_path(name: str, who: str, allowed: Allowed, method: str, path: str, **parts: object) -> Attempt:
    """A request; words in braces of its path and JSON are numbers and keys of the prey."""

    def ask(caller: Caller, prey: Prey) -> requests.Response:
        filled = json.loads(_filled(json.dumps(parts), prey)) if parts else {}
        return caller.ask(method, _filled(path, prey), **filled)

    return Attempt(name, who, ask, allowed)


def _filled(text: str, prey: Prey) -> str:
    words = {
        "board": prey.boards["storage-and-price"]["id"],
        "board_uuid": prey.boards["storage-and-price"]["uuid"],
        "overview": prey.boards["fleet-overview"]["id"],
        "chart": min(prey.charts.values()),
        "dataset": prey.cube,
        "file": prey.file,
        **{
            name: getattr(prey, name)
            for name in (
                "home", "user_id", "alert", "query_id", "client_id", "saved_query", "tab", "sql_link", "board_link",
                "filter_state", "form_data",
            )
        },
        "cache_key": prey.cache_keys[0] if prey.cache_keys else "none",
    }  # fmt: skip
    for word, value in words.items():
        text = text.replace(f"<{word}>", str(value))
    return text


REFUSED, OWN, NOTHING = Allowed.REFUSED, Allowed.OWN, Allowed.NOTHING
DATABASE = {"database_name": "mine", "sqlalchemy_uri": "duckdb:///<file>", "expose_in_sqllab": True}
REQUESTS = [
    # what is another's, by its number or key
    try_path("Saved query of another tenant", ANALYST, REFUSED, "GET", "/api/v1/saved_query/<saved_query>"),
    try_path("Saved queries, listed", ANALYST, NOTHING, "GET", "/api/v1/saved_query/"),
    try_path("Saved query of another tenant, exported", ANALYST, REFUSED, "GET", "/api/v1/saved_query/export/?q=!(<saved_query>)"),
    try_path("Saved query of another tenant, changed", ANALYST, REFUSED, "PUT", "/api/v1/saved_query/<saved_query>", json={"label": "x"}),
    try_path("Saved query of another tenant, deleted", ANALYST, REFUSED, "DELETE", "/api/v1/saved_query/<saved_query>"),
    try_path("Query of another tenant", ANALYST, REFUSED, "GET", "/api/v1/query/<query_id>"),
    Attempt("Queries, listed", ANALYST, lambda caller, prey: caller.get("/api/v1/query/?q=(page_size:100)"), NOTHING, echoes=VICTIM),
    Attempt("Queries since, listed", ANALYST, lambda caller, prey: caller.get("/api/v1/query/updated_since?q=(last_updated_ms:0)"), NOTHING, echoes=VICTIM),
    try_path("Query of another tenant, stopped", ANALYST, REFUSED, "POST", "/api/v1/query/stop", json={"client_id": "<client_id>"}),
    try_path("Results of another tenant's query, exported", ANALYST, REFUSED, "GET", "/api/v1/sqllab/export/<client_id>/"),
    try_path("Results of another tenant's query, streamed", ANALYST, REFUSED, "POST", "/api/v1/sqllab/export_streaming/", data={"client_id": "<client_id>"}),
    try_path("Results by a key", ANALYST, REFUSED, "GET", "/api/v1/sqllab/results/?q=(key:'<client_id>')"),
    try_path("Tab of another tenant", ANALYST, REFUSED, "GET", "/tabstateview/<tab>"),
    try_path("Tab of another tenant, changed", ANALYST, REFUSED, "PUT", "/tabstateview/<tab>", data={"sql": '"select 1"'}),
    try_path("Start of SQL Lab", ANALYST, NOTHING, "GET", "/api/v1/sqllab/"),
    try_path("Link into SQL Lab of another tenant", ANALYST, REFUSED, "GET", "/api/v1/sqllab/permalink/<sql_link>"),
    try_path("Link into SQL Lab of another tenant, opened", ANALYST, NOTHING, "GET", "/sqllab/p/<sql_link>"),
    try_path("Link to a dashboard of another tenant", EXECUTIVE, REFUSED, "GET", "/api/v1/dashboard/permalink/<board_link>"),
    try_path("Link to a dashboard of another tenant, opened", EXECUTIVE, NOTHING, "GET", "/superset/dashboard/p/<board_link>/"),
    try_path("Filters that another tenant chose", EXECUTIVE, REFUSED, "GET", "/api/v1/dashboard/<overview>/filter_state/<filter_state>"),
    try_path("Chart that another tenant draws", ANALYST, REFUSED, "GET", "/api/v1/explore/form_data/<form_data>"),
    try_path("Chart that another tenant draws, opened", ANALYST, NOTHING, "GET", "/api/v1/explore/?form_data_key=<form_data>&datasource_id=<dataset>&datasource_type=table"),
    try_path("Kept result by its key", EXECUTIVE, NOTHING, "GET", "/api/v1/chart/data/<cache_key>"),
    try_path("Kept results, thrown away", EXECUTIVE, REFUSED, "POST", "/api/v1/cachekey/invalidate", json={"datasource_uids": ["<dataset>__table"]}),
    try_path("Events of others' queries", ANALYST, REFUSED, "GET", "/api/v1/async_event/"),
    # what is the operator's
    try_path("Operator's dashboard by its number", EXECUTIVE, REFUSED, "GET", "/api/v1/dashboard/<board>"),
    try_path("Operator's dashboard by its UUID", ANALYST, REFUSED, "GET", "/api/v1/dashboard/<board_uuid>"),
    try_path("Operator's dashboard's charts", ANALYST, REFUSED, "GET", "/api/v1/dashboard/<board>/charts"),
    try_path("Operator's dashboard's datasets", ANALYST, REFUSED, "GET", "/api/v1/dashboard/<board>/datasets"),
    try_path("Operator's dashboard, opened", EXECUTIVE, REFUSED, "GET", "/superset/dashboard/storage-and-price/"),
    try_path("Operator's dashboard, exported", ANALYST, REFUSED, "GET", "/api/v1/dashboard/export/?q=!(<board>)"),
    try_path("Operator's dashboard, made a favourite", EXECUTIVE, REFUSED, "POST", "/api/v1/dashboard/<board>/favorites/"),
    try_path("Operator's dashboard, a favourite?", EXECUTIVE, NOTHING, "GET", "/api/v1/dashboard/favorite_status/?q=!(<board>)"),
    try_path("Operator's dashboard, copied", ANALYST, REFUSED, "POST", "/api/v1/dashboard/<board>/copy/", json={"dashboard_title": "x", "json_metadata": "{}"}),
    try_path("Operator's dashboard, its picture", EXECUTIVE, REFUSED, "GET", "/api/v1/dashboard/<board>/thumbnail/abc/"),
    try_path("Operator's dashboard, a picture made", EXECUTIVE, REFUSED, "POST", "/api/v1/dashboard/<board>/cache_dashboard_screenshot/", json={}),
    try_path("Chart's picture", EXECUTIVE, REFUSED, "GET", "/api/v1/chart/<chart>/thumbnail/abc/"),
    try_path("Dashboards, listed", EXECUTIVE, NOTHING, "GET", "/api/v1/dashboard/?q=(page_size:100)"),
    try_path("Charts, listed", ANALYST, NOTHING, "GET", "/api/v1/chart/?q=(page_size:500)"),
    try_path("Datasets, listed", ANALYST, NOTHING, "GET", "/api/v1/dataset/?q=(page_size:500)"),
    try_path("Operator's dashboard, made embeddable", ANALYST, REFUSED, "POST", "/api/v1/dashboard/<board>/embedded", json={"allowed_domains": []}),
    # changes to what all tenants see
    try_path("Dashboard, changed", ANALYST, REFUSED, "PUT", "/api/v1/dashboard/<overview>", json={"dashboard_title": "x"}),
    try_path("Dashboard's colours, changed", EXECUTIVE, NOTHING, "PUT", "/api/v1/dashboard/<overview>/colors", json={"shared_label_colors": ["Turbine R80711"]}),
    try_path("Dashboard, deleted", ANALYST, REFUSED, "DELETE", "/api/v1/dashboard/<overview>"),
    try_path("Chart, changed", ANALYST, REFUSED, "PUT", "/api/v1/chart/<chart>", json={"slice_name": "x"}),
    try_path("Virtual dataset, made", ANALYST, REFUSED, "POST", "/api/v1/dataset/", json={"database": 1, "schema": "main", "table_name": "mine", "sql": "select * from read_text('/etc/passwd')"}),
    try_path("Virtual dataset, made or found", ANALYST, REFUSED, "POST", "/api/v1/dataset/get_or_create/", json={"database_id": 1, "schema": "main", "table_name": "ab_user"}),
    try_path("Dataset, made virtual", ANALYST, REFUSED, "PUT", "/api/v1/dataset/<dataset>", json={"sql": "select 1"}),
    try_path("Dataset, exported", ANALYST, REFUSED, "GET", "/api/v1/dataset/export/?q=!(<dataset>)"),
    try_path("Dataset, read anew", ANALYST, REFUSED, "PUT", "/api/v1/dataset/<dataset>/refresh"),
    # the database
    try_path("Database, its address", ANALYST, REFUSED, "GET", "/api/v1/database/1/connection"),
    try_path("Database, made", ANALYST, REFUSED, "POST", "/api/v1/database/", json=DATABASE),
    try_path("Database, changed", ANALYST, REFUSED, "PUT", "/api/v1/database/1", json=DATABASE),
    try_path("Database, tried", ANALYST, REFUSED, "POST", "/api/v1/database/test_connection/", json={"sqlalchemy_uri": "duckdb:///<file>"}),
    try_path("Database, its parameters tried", ANALYST, REFUSED, "POST", "/api/v1/database/validate_parameters/", json={"engine": "duckdb", "configuration_method": "dynamic_form", "parameters": {"database": "<file>"}}),
    try_path("Database, SQL checked", EXECUTIVE, REFUSED, "POST", "/api/v1/database/1/validate_sql/", json={"sql": "select 1", "schema": "main"}),
    try_path("Database, exported", ANALYST, REFUSED, "GET", "/api/v1/database/export/?q=!(1)"),
    try_path("Database, its catalogs", ANALYST, NOTHING, "GET", "/api/v1/database/1/catalogs/"),
    try_path("Database, its schemas", ANALYST, NOTHING, "GET", "/api/v1/database/1/schemas/"),
    try_path("Database, tables of another catalog", ANALYST, NOTHING, "GET", "/api/v1/database/1/tables/?q=(catalog_name:operator,schema_name:main)"),
    try_path("Database, a table of another catalog", ANALYST, NOTHING, "GET", "/api/v1/database/1/table_metadata/?name=dim_devices&catalog=operator&schema=main"),
    try_path("Database, a file uploaded", ANALYST, REFUSED, "POST", "/api/v1/database/1/upload/", data={"type": "csv", "table_name": "mine"}),
    try_path("Databases, listed for an executive", EXECUTIVE, NOTHING, "GET", "/api/v1/database/"),
    # bundles
    *(
        try_path(f"Bundle of a {kind}, imported", ANALYST, REFUSED, "POST", f"/api/v1/{kind}/import/", data={"overwrite": "true"})
        for kind in ("dashboard", "chart", "dataset", "database", "assets", "saved_query")
    ),
    try_path("Everything, exported", ANALYST, REFUSED, "GET", "/api/v1/assets/export/"),
    # people
    try_path("Users, listed", ANALYST, REFUSED, "GET", "/api/v1/security/users/"),
    try_path("User of another tenant", ANALYST, REFUSED, "GET", "/api/v1/security/users/<user_id>"),
    try_path("User of another tenant, changed", ANALYST, REFUSED, "PUT", "/api/v1/security/users/<user_id>", json={"active": False}),
    try_path("User, made", ANALYST, REFUSED, "POST", "/api/v1/security/users/", json={"username": "x", "password": "x", "roles": [1]}),
    try_path("User of another tenant, its picture", EXECUTIVE, NOTHING, "GET", "/api/v1/user/<user_id>/avatar.png"),
    try_path("Password of another tenant's user, set", ANALYST, REFUSED, "POST", "/resetpassword/form?pk=<user_id>", data={"password": "x", "conf_password": "x"}),
    try_path("Owners, offered", ANALYST, NOTHING, "GET", "/api/v1/dashboard/related/owners?q=(page_size:100)"),
    try_path("Owners, searched by another's name", ANALYST, NOTHING, "GET", "/api/v1/chart/related/owners?q=(filter:'La%20Haute')"),
    try_path("Who changed datasets, offered", ANALYST, NOTHING, "GET", "/api/v1/dataset/related/changed_by?q=(page_size:100)"),
    try_path("Users of queries, offered", ANALYST, NOTHING, "GET", "/api/v1/query/related/user?q=(page_size:100)"),
    try_path("Roles, offered", EXECUTIVE, NOTHING, "GET", "/api/v1/dashboard/related/roles?q=(page_size:100)"),
    try_path("Roles, listed", EXECUTIVE, REFUSED, "GET", "/api/v1/security/roles/"),
    try_path("Roles, searched", EXECUTIVE, REFUSED, "GET", "/api/v1/security/roles/search/"),
    try_path("Groups, listed", EXECUTIVE, REFUSED, "GET", "/api/v1/security/groups/"),
    try_path("Own roles, widened", ANALYST, NOTHING, "PUT", "/api/v1/me/", json={"roles": [1]}),
    try_path("Page of users", ANALYST, NOTHING, "GET", "/users/list/"),
    try_path("Row rules, listed", ANALYST, REFUSED, "GET", "/api/v1/rowlevelsecurity/"),
    try_path("Row rule, made", ANALYST, REFUSED, "POST", "/api/v1/rowlevelsecurity/", json={"name": "x", "clause": "1=1", "filter_type": "Base", "tables": [1], "roles": []}),
    try_path("Log, listed", ANALYST, REFUSED, "GET", "/api/v1/log/"),
    try_path("Log, recent", EXECUTIVE, NOTHING, "GET", "/api/v1/log/recent_activity/?q=(page_size:100)"),
    try_path("Page of the log", ANALYST, REFUSED, "GET", "/actionlog/list/"),
    try_path("Reports, listed", ANALYST, REFUSED, "GET", "/api/v1/report/"),
    try_path("Alerts, listed", EXECUTIVE, REFUSED, "GET", "/api/v1/report/"),
    try_path("Alert of another tenant, read", ANALYST, REFUSED, "GET", "/api/v1/report/<alert>"),
    try_path("Alert of another tenant, what it found", STEWARD, REFUSED, "GET", "/api/v1/report/<alert>/log/"),
    try_path("Alert of another tenant, told to oneself", STEWARD, REFUSED, "PUT", "/api/v1/report/<alert>", json={"recipients": [{"type": "Email", "recipient_config_json": {"target": "thief@example.com"}}]}),
    try_path("Alert of another tenant, asked another question", ANALYST, REFUSED, "PUT", "/api/v1/report/<alert>", json={"sql": "select device_name from dim_devices"}),
    try_path("Alert of another tenant, deleted", STEWARD, REFUSED, "DELETE", "/api/v1/report/<alert>"),
    try_path("Alert, made to run as another tenant's", ANALYST, REFUSED, "POST", "/api/v1/report/", json={"type": "Alert", "name": "x", "crontab": "* * * * *", "database": 1, "dashboard": "<overview>", "owners": ["<user_id>"], "sql": "select 1", "validator_type": "operator", "validator_config_json": {"op": ">", "threshold": 0}, "recipients": [{"type": "Email", "recipient_config_json": {"target": "thief@example.com"}}]}),
    try_path("Whom alerts could run as, offered", ANALYST, REFUSED, "GET", "/api/v1/report/related/owners?q=(page_size:100)"),
    try_path("Page of alerts", ANALYST, NOTHING, "GET", "/alert/list/"),
    try_path("Page of what an alert found", STEWARD, NOTHING, "GET", "/alert/<alert>/log/"),
    Attempt("A way to another site through the links of mails", ANONYMOUS, lambda caller, prey: caller.get("/redirect/?url=https%3A%2F%2Fevil.example"), REFUSED, never="evil.example"),
    try_path("Tags, listed", ANALYST, NOTHING, "GET", "/api/v1/tag/"),
    try_path("Token for a guest, asked as a user", ANALYST, REFUSED, "POST", "/api/v1/security/guest_token/", json={"user": {"username": "x"}, "resources": [{"type": "dashboard", "id": "<board_uuid>"}], "rls": []}),
    # pages of our own
    try_path("Audit record, as an analyst", ANALYST, REFUSED, "GET", "/audit/"),
    try_path("Audit record, as an executive's file", EXECUTIVE, REFUSED, "GET", "/audit/events.csv"),
    Attempt("A way to another site through the log-in", STEWARD, lambda caller, prey: caller.get("/login/?next=https://evil.example/"), NOTHING, never="evil.example"),
    try_path("Desk, as an analyst", ANALYST, REFUSED, "GET", "/quality/"),
    try_path("Desk, another tenant's", STEWARD, NOTHING, "GET", f"/quality/?tenant={VICTIM}"),
    try_path("Desk, another tenant held back", STEWARD, NOTHING, "POST", "/quality/hold-back", data={"tenant": VICTIM}),
    try_path("Desk, a case of any number", STEWARD, NOTHING, "GET", "/quality/cases/1"),
    try_path("Quality reports, another tenant's", STEWARD, NOTHING, "GET", f"/data-docs/{VICTIM}/index.html"),
    try_path("Quality reports, out of the folder", STEWARD, REFUSED, "GET", f"/data-docs/..%2f..%2f{VICTIM}%2fdocs%2findex.html"),
    try_path("Brand's files, out of the folder", ANONYMOUS, REFUSED, "GET", "/brand/..%2f..%2fsuperset_config.py"),
    try_path("Static files, out of the folder", ANONYMOUS, REFUSED, "GET", "/static/..%2f..%2f..%2fetc%2fpasswd"),
    try_path("Static files, listed", ANONYMOUS, REFUSED, "GET", "/static/assets/"),
    # nobody
    *(
        try_path(f"Nobody: {path}", ANONYMOUS, REFUSED, "GET", path)
        for path in (
            "/api/v1/dashboard/", "/api/v1/chart/<chart>/data/", "/api/v1/dataset/", "/api/v1/database/",
            "/api/v1/saved_query/<saved_query>", "/api/v1/query/", "/api/v1/security/users/", "/api/v1/log/",
            "/api/v1/me/", "/api/v1/menu/", "/superset/dashboard/fleet-overview/", "/superset/dashboard/p/<board_link>/",
            "/sqllab/", "/quality/", "/audit/", "/data-docs/", "/embedded/<board_uuid>", "/api/v1/_openapi", "/swagger/v1",
            "/version", "/static/version_info.json", "/register/",
        )
    ),
    try_path("Nobody: a chart's data", ANONYMOUS, REFUSED, "POST", "/api/v1/chart/data", json={"datasource": {"id": "<dataset>", "type": "table"}, "queries": [ROWS]}),
    try_path("Nobody: SQL", ANONYMOUS, REFUSED, "POST", "/api/v1/sqllab/execute/", json={"database_id": 1, "sql": "select 1"}),
    try_path("Nobody: health says no more than that", ANONYMOUS, NOTHING, "GET", "/health"),
]  # fmt: skip


def part(content: dict) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def read_part(text: str) -> dict:
    """What a part of a token says."""
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def token(claims: dict, key: str, algorithm: str = "HS256") -> str:
    """A JSON Web Token, signed with any key, or by nobody."""
    body = f"{part({'typ': 'JWT', 'alg': algorithm})}.{part(claims)}"
    if algorithm == "none":
        return f"{body}."
    signed = hmac.new(key.encode(), body.encode(), hashlib.sha256).digest()
    return f"{body}.{base64.urlsafe_b64encode(signed).rstrip(b'=').decode()}"


def _claims(prey: Prey, lasts: int, **more: object) -> dict:
    now = int(time.time())
    times = {"iat": now - 3600, "nbf": now - 3600, "exp": now + lasts}
    user = {"sub": str(prey.user_id), "type": "access", "fresh": True, "jti": "x", "csrf": "x"}
    return user | times | more


def _bearer(name: str, make: Callable[[Prey], str]) -> Attempt:
    def ask(caller: Caller, prey: Prey) -> requests.Response:
        header = {"Authorization": f"Bearer {make(prey)}"}
        return caller.get(f"/api/v1/saved_query/{prey.saved_query}", headers=header)

    return Attempt(f"Forged: {name}", ANONYMOUS, ask, Allowed.REFUSED)


def _with_headers(name: str, who: str, allowed: Allowed, **headers: str) -> Attempt:
    def ask(caller: Caller, prey: Prey) -> requests.Response:
        given = {key.replace("_", "-"): value for key, value in headers.items()}
        return caller.get("/api/v1/me/", headers=given)

    return Attempt(name, who, ask, allowed)


def _guest(prey: Prey, lasts: int, tenant: str = VICTIM) -> dict:
    """A guest's claims as Superset makes them."""
    now = time.time()
    return {
        "user": {"username": "guest", "first_name": "G", "last_name": "G"},
        "resources": [{"type": "dashboard", "id": prey.boards["fleet-overview"]["uuid"]}],
        "rls_rules": [],
        "iat": now - 3600,
        "exp": now + lasts,
        "aud": "superset",
        "type": "guest",
        "tenant": tenant,
    }


def _as_guest(name: str, make: Callable[[Prey], str]) -> Attempt:
    def ask(caller: Caller, prey: Prey) -> requests.Response:
        asked = {"datasource": {"id": prey.cube, "type": "table"}, "queries": [ROWS], "result_type": "full"}
        return caller.post("/api/v1/chart/data", json=asked, headers={"X-GuestToken": make(prey)})

    return Attempt(f"Forged: {name}", ANONYMOUS, ask, Allowed.REFUSED)


FORGED = [
    _bearer("a user's token without a signature", lambda prey: token(_claims(prey, 3600), "", "none")),
    _bearer("a user's token of another key", lambda prey: token(_claims(prey, 3600), "thisISaSECRET_1234")),
    _bearer(
        "a user's token of the server's own key that has expired",
        lambda prey: token(_claims(prey, -60), prey.secrets["superset_secret_key"]),
    ),
    _bearer(
        "a user's token of the server's own key that no log-in made",
        lambda prey: token(_claims(prey, 3600), prey.secrets["superset_secret_key"]),
    ),
    _bearer(
        "a token for renewal in the place of one for access",
        lambda prey: token(_claims(prey, 3600, type="refresh"), prey.secrets["superset_secret_key"]),
    ),
    _bearer(
        "a guest's key for a user's token",
        lambda prey: token(_claims(prey, 3600), prey.secrets["guest_token_jwt_secret"]),
    ),
    _as_guest("a guest's token without a signature", lambda prey: token(_guest(prey, 300), "", "none")),
    _as_guest("a guest's token of another key", lambda prey: token(_guest(prey, 300), "test-guest-secret-change-me")),
    _as_guest(
        "a guest's token of the server's own key that has expired",
        lambda prey: token(_guest(prey, -60), prey.secrets["guest_token_jwt_secret"]),
    ),
    _as_guest(
        "a user's key for a guest's token",
        lambda prey: token(_guest(prey, 300), prey.secrets["superset_secret_key"]),
    ),
    _with_headers("Forged: a session's cookie", ANONYMOUS, Allowed.REFUSED, Cookie="session=../../superset/superset.db"),
    _with_headers("Forged: a session that the client signed", ANONYMOUS, Allowed.REFUSED, Cookie=f"session={part({'_user_id': '1'})}.x.y"),
    _with_headers("Forged: the user in a header", ANONYMOUS, Allowed.REFUSED, REMOTE_USER="admin", X_Remote_User="admin", X_Forwarded_User="admin"),
    _with_headers("Forged: the tenant in a header", EXECUTIVE, Allowed.NOTHING, X_Tenant=VICTIM, X_Forwarded_Host=f"{VICTIM}.example"),
]  # fmt: skip


ENDLESS = [
    _sql("count without an end", "select count(*) from range(1000000000000)", Allowed.ENDED),
    _sql("recursion without an end", "with recursive t as (select 1 as n union all select n + 1 from t) select max(n) from t", Allowed.ENDED),
    _sql("every reading with every reading with every reading", "select count(*) from fct_readings a, fct_readings b, fct_readings c where a.value + b.value > c.value", Allowed.ENDED),
    _sql("long texts", "select length(repeat('x', 500000000) || range) from range(100)", Allowed.ENDED),
    _sql("a long list", "select list(range) from range(1000000000)", Allowed.ENDED),
    _sql("a text for every row", "select repeat('x', 1000000) || range from range(1000000)", Allowed.ENDED),
    Attempt(
        "Chart: a column without an end",
        EXECUTIVE,
        lambda caller, prey: caller.chart(
            prey.cube,
            {"columns": [_expression("x", "(select count(*) from range(1000000000000))")], "metrics": ["readings"]},
        ),
        Allowed.ENDED,
    ),
]  # fmt: skip

ATTEMPTS = [*REQUESTS, *CHARTS, *FORGED, *SQL]
