"""Says which database is meant, without any secret. Light: an idle run says it too."""

from __future__ import annotations

import os
import re

from loader.names import printable

_URL_PREFIXES = ("postgresql://", "postgres://")
_URL = re.compile(
    r"postgres(?:ql)?://(?:(?P<user>[^:@/]*)(?::[^@/]*)?@)?(?P<host>\[[^\]/?]*\]|[^/?:\[]*|[^/?]*,[^/?]*)"
    r"(?::(?P<port>[\d,]*))?(?:/(?P<dbname>[^?]*))?(?:\?(?P<query>[^\s]*))?"
)
_KEYWORD = re.compile(r"\s*(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)*)")
_KEYWORDS = re.compile(rf"(?:{_KEYWORD.pattern})*\s*")


def describe(conninfo: str) -> str:
    """Return the database, host and user that a libpq connection string or URL means.

    What it leaves out, libpq's environment variables say. Of what libpq would not take, or what looks as if a part of
    a password had come to the wrong place, nothing is shown.
    """
    given = _from_url(conninfo) if conninfo.startswith(_URL_PREFIXES) else _from_keywords(conninfo)
    if given is None:
        return "the database that the connection string means"
    if service := given.get("service") or os.environ.get("PGSERVICE"):
        return printable(f"the database of service '{service}'")
    user = given.get("user") or os.environ.get("PGUSER") or os.environ.get("USER") or "default user"
    name = given.get("dbname") or os.environ.get("PGDATABASE") or user
    host = given.get("host") or given.get("hostaddr") or os.environ.get("PGHOST") or "the local socket"
    port = given.get("port") or os.environ.get("PGPORT") or "5432"
    return printable(f"database '{name}' on {host}, port {port}, as '{user}'")


def redact(text: str) -> str:
    """Return `text` with passwords, as they stand in URLs and connection strings, struck out."""
    text = re.sub(r"(password\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)", r"\1***", text)
    return re.sub(r"(://[^:/@\s]*:)[^@\s]*@", r"\1***@", text)


def without_quotes(text: str) -> str:
    """Return what libpq says of a connection string it can't parse, without the part of it that it quotes."""
    return re.sub(r'".*"', '"***"', text, flags=re.DOTALL)


def _from_url(url: str) -> dict[str, str] | None:
    from urllib.parse import parse_qsl, unquote  # keyword strings need none of it

    # As libpq cuts it: user and password end at the first @, unless a slash comes before.
    match = _URL.fullmatch(url)
    if match is None:
        return None
    given = {name: unquote(value) for name, value in match.groupdict().items() if value and name != "query"}
    given |= dict(parse_qsl(match["query"] or ""))
    shown = [given.get(name, "") for name in ("host", "port", "dbname")]
    return None if any("@" in value for value in shown) else given


def _from_keywords(conninfo: str) -> dict[str, str] | None:
    if not _KEYWORDS.fullmatch(conninfo):
        return None
    return {key: value.strip("'") for key, value in _KEYWORD.findall(conninfo)}
