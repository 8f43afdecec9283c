"""What nobody of a tenant may ever be answered: every other tenant's keys, names, people and counts of rows.

All of an answer is searched: its headers, its body however it is encoded, and what is packed in it.
"""

import gzip
import html
import io
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import duckdb
import requests

OPERATOR = "operator"
# Smaller counts are found anywhere.
LEAST_COUNT = 10_000
NAMES = """
    select tenant_id from dim_tenants union select tenant_name from dim_tenants
    union select site_id from dim_sites union select site_name from dim_sites
    union select device_id from dim_devices union select device_name from dim_devices"""


@dataclass(frozen=True)
class Judge:
    """Judges the answers to one tenant's people: `others` are the words and counts that are not theirs."""

    tenant_id: str
    others: frozenset[str]

    def leaks(self, answer: requests.Response, sent: str = "") -> set[str]:
        """What of other tenants stands in the answer; what the caller itself wrote does not count."""
        text = everything_in(answer)
        return {word for word in self.others if word in text and word not in sent and _as_a_word(word).search(text)}


def judges(home: Path, credentials: dict) -> dict[str, Judge]:
    """A judge for each tenant, of what is published in this home and who may log in to it."""
    tenants = sorted(path.name for path in (home / "serving").iterdir() if (path / "current").exists())
    words = {tenant: _words(home, credentials, tenant) for tenant in tenants if tenant != OPERATOR}
    counts = {tenant: _counts(home, tenant) for tenant in tenants}
    return {
        tenant: Judge(
            tenant,
            frozenset(
                set().union(*(words[other] for other in words if other != tenant)) - words[tenant]
                | set().union(*(counts[other] for other in counts if other != tenant)) - counts[tenant]
            ),
        )
        for tenant in words
    }


def everything_in(answer: requests.Response) -> str:
    """Headers and body of an answer as text, decoded in every way in which a name may be written."""
    headers = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
    body = "\n".join(_texts(answer.content))
    return "\n".join([headers, body, html.unescape(body), unquote(headers), unquote(body)])


def _texts(content: bytes) -> list[str]:
    if content[:2] == b"\x1f\x8b":
        return _texts(gzip.decompress(content))
    if content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            return packed.namelist() + [text for name in packed.namelist() for text in _texts(packed.read(name))]
    text = content.decode("utf-8", "replace")
    try:
        return [text, json.dumps(json.loads(text), ensure_ascii=False)]
    except ValueError:
        return [text]


def _words(home: Path, credentials: dict, tenant: str) -> set[str]:
    people = {user["username"] for user in credentials["users"] if user["tenant"] == tenant}
    named = {str(row[0]) for row in _ask(home, tenant, NAMES)} | {tenant.replace("-", " ").title()}
    return people | {word for word in named if len(word) >= 3}


def _counts(home: Path, tenant: str) -> set[str]:
    tables = [row[0] for row in _ask(home, tenant, "select table_name from duckdb_tables()")]
    counts = {_ask(home, tenant, f'select count(*) from "{table}"')[0][0] for table in tables}
    return {written for count in counts if count >= LEAST_COUNT for written in (str(count), f"{count:,}")}


def _ask(home: Path, tenant: str, query: str) -> list[tuple]:
    file = (home / "serving" / tenant / "current").resolve()
    with duckdb.connect(str(file), read_only=True, config={"enable_external_access": "false"}) as connection:
        return connection.execute(query).fetchall()


def _as_a_word(word: str) -> re.Pattern[str]:
    """Short words and numbers also occur within tokens and longer numbers: there they are none."""
    beside = r"[\w.,+/=-]" if word[0].isdigit() or len(word) < 6 else r"\w"
    return re.compile(rf"(?<!{beside}){re.escape(word)}(?!\w|[.,+/=-]\w)")
