"""What is said of a database: which one, and no secret."""

from __future__ import annotations

import pytest

from loader.conninfo import describe, redact, without_quotes

UNCLEAR = "the database that the connection string means"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGSERVICE", "PGUSER", "PGDATABASE", "PGHOST", "PGPORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("USER", "me")


@pytest.mark.parametrize(
    ("conninfo", "said"),
    [
        ("", "database 'me' on the local socket, port 5432, as 'me'"),
        ("dbname=d", "database 'd' on the local socket, port 5432, as 'me'"),
        ("user=u", "database 'u' on the local socket, port 5432, as 'u'"),
        ("host=h port=1 dbname=d user=u", "database 'd' on h, port 1, as 'u'"),
        (" host = h  port= 1 ", "database 'me' on h, port 1, as 'me'"),
        ("host='h' dbname='a b'", "database 'a b' on h, port 5432, as 'me'"),
        ("hostaddr=10.0.0.1", "database 'me' on 10.0.0.1, port 5432, as 'me'"),
        ("hostaddr=10.0.0.1 host=h", "database 'me' on h, port 5432, as 'me'"),
        ("service=s host=h", "the database of service 's'"),
        ("host=h password=p", "database 'me' on h, port 5432, as 'me'"),
        ("host='h", UNCLEAR),
        ("host", UNCLEAR),
        ("postgresql://", "database 'me' on the local socket, port 5432, as 'me'"),
        ("postgresql:///d", "database 'd' on the local socket, port 5432, as 'me'"),
        ("postgresql://h", "database 'me' on h, port 5432, as 'me'"),
        ("postgres://u@h/d", "database 'd' on h, port 5432, as 'u'"),
        ("postgresql://u:p@h:1/d", "database 'd' on h, port 1, as 'u'"),
        ("postgresql://u%40:p@h/a%20b", "database 'a b' on h, port 5432, as 'u@'"),
        ("postgresql://[::1]:1/d", "database 'd' on [::1], port 1, as 'me'"),
        ("postgresql://h1:1,h2:2/d", "database 'd' on h1:1,h2:2, port 5432, as 'me'"),
        ("postgresql:///d?host=/tmp&port=1&user=u", "database 'd' on /tmp, port 1, as 'u'"),
        ("postgresql://h/d?dbname=e", "database 'e' on h, port 5432, as 'me'"),
        ("postgresql:///?service=s", "the database of service 's'"),
        ("postgresql://u:p@p@h/d", UNCLEAR),
        ("postgresql:///u:p@h/d", UNCLEAR),
        ("postgresql://h/d?host=p@h", UNCLEAR),
        ("postgresql://[::1/d", UNCLEAR),
        ("host=h dbname='a\x1b[31m'", r"database 'a\x1b[31m' on h, port 5432, as 'me'"),
        ("service='a\n'", r"the database of service 'a\x0a'"),
    ],
)
def test_a_connection_string_says_which_database_is_meant(conninfo: str, said: str) -> None:
    assert describe(conninfo) == said


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"PGSERVICE": "s"}, "the database of service 's'"),
        ({"PGUSER": "u"}, "database 'u' on the local socket, port 5432, as 'u'"),
        ({"PGDATABASE": "d"}, "database 'd' on the local socket, port 5432, as 'me'"),
        ({"PGHOST": "h", "PGPORT": "1"}, "database 'me' on h, port 1, as 'me'"),
        ({"USER": ""}, "database 'default user' on the local socket, port 5432, as 'default user'"),
    ],
)
def test_the_environment_says_what_the_connection_string_leaves_out(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert describe("") == said


def test_the_connection_string_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGUSER", "PGDATABASE", "PGHOST", "PGPORT"):
        monkeypatch.setenv(name, "other")
    expected = "database 'd' on h, port 1, as 'u'"
    assert describe("host=h port=1 dbname=d user=u") == describe("postgresql://u@h:1/d") == expected
    monkeypatch.setenv("PGSERVICE", "other")
    assert describe("service=s") == "the database of service 's'"


@pytest.mark.parametrize(
    ("text", "struck"),
    [
        ("host=h password=p user=u", "host=h password=*** user=u"),
        ("password = 'a b' user=u", "password = *** user=u"),
        (r"password='a\' b' user=u", "password=*** user=u"),
        ("sslpassword=p password=q", "sslpassword=*** password=***"),
        ("postgresql://u:p@h/d", "postgresql://u:***@h/d"),
        ("postgresql://:p@h/d", "postgresql://:***@h/d"),
        ("postgresql://u:a:b@h and postgres://v:c@h", "postgresql://u:***@h and postgres://v:***@h"),
        ("postgresql://u@h:1/d", "postgresql://u@h:1/d"),
        ("no secret: a@b", "no secret: a@b"),
    ],
)
def test_passwords_are_struck_out(text: str, struck: str) -> None:
    assert redact(text) == struck


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ('missing "=" after "p"', 'missing "***"'),
        ('unterminated "a\nb" in it', 'unterminated "***" in it'),
        ("nothing quoted", "nothing quoted"),
    ],
)
def test_what_libpq_quotes_is_left_out(text: str, rest: str) -> None:
    assert without_quotes(text).startswith(rest)
