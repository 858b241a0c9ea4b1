"""Says which database is meant, without any secret. Light: an idle run says it too."""

from __future__ import annotations

import os
import re

from loader.names import printable

_URL_PREFIXES = ("postgresql://", "postgres://")


def describe(conninfo: str) -> str:
    """Return the database, host and user that a libpq connection string or URL means.

    What it leaves out, libpq's environment variables say.
    """
    given = _from_url(conninfo) if conninfo.startswith(_URL_PREFIXES) else _from_keywords(conninfo)
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


def _from_url(url: str) -> dict[str, str]:
    from urllib.parse import parse_qsl, unquote, urlsplit  # keyword strings need none of it

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return {}
    given = {
        "user": unquote(parts.username or ""),
        "host": unquote(parts.hostname or ""),
        "port": str(port or ""),
        "dbname": unquote(parts.path.removeprefix("/")),
    }
    return {key: value for key, value in given.items() if value} | dict(parse_qsl(parts.query))


def _from_keywords(conninfo: str) -> dict[str, str]:
    found = re.findall(r"(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|\S+)", conninfo)
    return {key: value.strip("'") for key, value in found}
