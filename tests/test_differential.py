"""The loader against a slow and obvious reference, and both against PostgreSQL.

Every property holds for any file. `LONG_TESTS=1` tries thirty times as many of them, and takes many minutes.
"""

from __future__ import annotations

import base64
import io
import json
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from loader import cli, contract, lines, ndjson
from loader.contract import Contract
from loader.errors import FileRefused
from loader.model import Problem, Validated
from loader.validate import validate
from tests import reference
from tests.conftest import new_database
from tests.reference import LINE, UNKNOWN, Event, Number, Reasons, Rejected
from tests.support import Report, quarantined

LONG = bool(os.environ.get("LONG_TESTS"))
MAX_LINE = 1 << 24


def examples(count: int, **others: Any) -> settings:
    """Settings for `count` examples in an ordinary run; a failure prints what makes it fail again."""
    suppressed = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    return settings(
        max_examples=count * 30 if LONG else count,
        deadline=None,
        print_blob=True,
        suppress_health_check=[*suppressed, HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
        **others,
    )


# --- Text of JSON, spelled in every way that its grammar has and a few that it has not ------------------------------


def rarely(common: st.SearchStrategy[str], rare: st.SearchStrategy[str], *, one_in: int) -> st.SearchStrategy[str]:
    return st.integers(1, one_in).flatmap(lambda roll: rare if roll == one_in else common)


white_space = rarely(st.just(""), st.sampled_from([" ", "\t", "  ", "\r", " \t\r "]), one_in=6)
usual_numbers = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["", "-"]),
        st.sampled_from(["0", "1", "10", "9007199254740993", "18446744073709551616", "9" * 40]),
        st.sampled_from(["", ".0", ".10", ".000", "." + "3" * 34, "." + "0" * 30 + "1"]),
        st.sampled_from(["", "e0", "E5", "e+5", "e-5", "e-0", "e400", "E-400", "e+00012"]),
    ),
)
odd_numbers = st.sampled_from(
    [
        *("1e131071", "1e131072", "-1e131072", "0.1e131072", "0.1e131073", "1e-16383", "1e-16384", "10e-16384"),
        *("0e131072", "0e-16384", "0e99999999", "0e9999999999", "1e99999999999999999999", "0." + "0" * 16_383),
        *("0." + "0" * 16_384, "1" + "0" * 131_071, "1" + "0" * 131_072, "0." + "1" * 16_384),
        *(
            "01",
            "-",
            "+1",
            ".5",
            "1.",
            "1e",
            "1e+",
            "0x1",
            "1_0",
            "NaN",
            "-Infinity",
            "--1",
            "1.e5",
            "\u0661",
            "-01",
            "1 0",
        ),
    ]
)
numbers = rarely(usual_numbers, odd_numbers, one_in=20)
usual_characters = st.one_of(
    st.text(max_size=6).map(lambda text: json.dumps(text)[1:-1]),
    st.text(st.characters(exclude_characters='"\\', exclude_categories=["Cc", "Cs"]), max_size=6),
    st.sampled_from(
        [r"\/", r"\"", r"\\", r"\b\f\n\r\t", r"\u0041", r"\ud83c\uDF89", r"\\u0000", r"\\\\ud800", r"\uFFFF"]
    ),
    st.sampled_from(
        ["\x7f", "\x85", "\u2028", "\ufeff", "\U0010ffff", "{", "}", "[[", '\\"user_id\\":', ",", "'", "event_id"]
    ),
)
odd_characters = st.sampled_from(
    [
        r"\u0000",
        r"\\\u0000",
        r"\ud800",
        r"\udc00\ud800",
        r"\ud83c\n\udf89",
        r"\x",
        r"\u12",
        r"\U0041",
        "\x01",
        "\0",
        '"',
        "\\",
        "\t",
    ]
)
characters = rarely(usual_characters, odd_characters, one_in=60)
strings = st.lists(characters, max_size=3).map(lambda parts: '"' + "".join(parts) + '"')
scalars = st.one_of(st.sampled_from(["null", "true", "false"]), numbers, strings)


def objects(values: st.SearchStrategy[str], max_size: int = 3) -> st.SearchStrategy[str]:
    members = st.tuples(white_space, strings, white_space, white_space, values).map(
        lambda part: f"{part[0]}{part[1]}{part[2]}:{part[3]}{part[4]}"
    )
    return st.lists(members, max_size=max_size).map(lambda parts: "{" + ",".join(parts) + "}")


def arrays(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(st.lists(values, max_size=3), white_space).map(
        lambda part: "[" + f"{part[1]},{part[1]}".join(part[0]) + "]"
    )


documents = st.recursive(scalars, lambda inner: st.one_of(objects(inner), arrays(inner)), max_leaves=6)
# At the limit of 500, and where one or the other recursive parser gives up.
deep = st.builds(
    lambda levels, kind: kind[0] * levels + "1" + kind[1] * levels,
    st.sampled_from([499, 500, 501, 502, 900, 2000, 100_000]) | st.integers(940, 1000),
    st.sampled_from([("[", "]"), ('{"a":', "}"), ("[", ""), ("[{}, ", "]")]),
)

# --- Fields --------------------------------------------------------------------------------------------------------

dates = [
    st.sampled_from(["0000", "0001", "0004", "1582", "1900", "1969", "1970", "2000", "2023", "2024", "9999"]),
    st.just("-"),
    st.integers(1, 12).map("{:02}".format),
    st.just("-"),
    st.integers(1, 28).map("{:02}".format) | st.sampled_from(["29", "30", "31"]),
    st.sampled_from("TTTt"),
    st.integers(0, 23).map("{:02}".format),
    st.just(":"),
    st.integers(0, 59).map("{:02}".format),
    st.just(":"),
    st.integers(0, 59).map("{:02}".format),
    st.just("")
    | st.text("0123456789", min_size=1, max_size=14).map(".{}".format)
    | st.sampled_from([".9999999", "." + "0" * 70 + "1"]),
    st.sampled_from(["Z", "Z", "z"])
    | st.builds("{}{:02}:{:02}".format, st.sampled_from("+-"), st.integers(0, 23), st.integers(0, 59)),
]
time_oddities = st.sampled_from(
    [
        *(
            "",
            " ",
            "00",
            "60",
            "24",
            "61",
            "99",
            "0",
            "000",
            "-1",
            "+1",
            "13",
            "32",
            "1\u2212",
            "\u2212",
            "\uff11\uff12",
            "\u0660\u0661",
            "a",
        ),
        *(
            "0000",
            "10000",
            "+2024",
            "-0001",
            "T",
            "_",
            ",5",
            ".",
            ".5.5",
            "\u2028",
            r"\n",
            r"\u0000",
            "Z ",
            " Z",
            "Z" + r"\n",
        ),
        *(
            "+24:00",
            "+23:60",
            "+00:60",
            "-00:00",
            "+1:00",
            "+0100",
            "+01",
            "\u221201:00",
            "+01:00:30",
            " +01:00",
            "UTC",
            "ZZ",
        ),
        *("+01\uff1a00", "[Europe/Zurich]", "+14:00", "-12:00", "+99:99", "\x85", "\u00a0"),
    ]
)
whole_time_oddities = st.sampled_from(
    [
        *(
            "",
            "now",
            "today",
            "infinity",
            "-infinity",
            "epoch",
            "J2460311",
            "2024-001T00:00:00Z",
            "2024-W01-1T00:00:00Z",
        ),
        *("20240101T000000Z", "2024-01-01", "1704067200", "2016-12-31T23:59:60Z", "2024-01-01T24:00:00Z"),
        *("0001-01-01T00:00:00+00:01", "0000-12-31T23:59:59-00:01", "9999-12-31T23:59:59.9999999Z"),
        *("9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00Z", "0000-12-31T23:59:59.9999999Z"),
        *("9999-12-31T23:59:59.999999999999Z", "2024-02-30T00:00:60Z", "01/02/2024", "2024-01-01 00:00:00+01"),
    ]
)


@st.composite
def times(draw: st.DrawFn) -> str:
    """A JSON string with RFC 3339's grammar, of which now and then a part or two are wrong."""
    roll = draw(st.integers(0, 9))
    if roll == 0:
        return f'"{draw(whole_time_oddities)}"'
    parts = [draw(part) for part in dates]
    for _ in range(max(0, roll - 7)):
        place = draw(st.integers(0, len(parts)))
        parts[place : place + draw(st.integers(0, 1))] = [draw(time_oddities)]
    return '"' + "".join(parts) + '"'


def _moved_hyphen(text: str) -> str:
    return text[:8] + text[9:13] + "-" + text[13:]


ids = st.uuids().map(str)
odd_ids = st.builds(
    lambda text, change: change(text),
    ids,
    st.sampled_from(
        [
            *(str.upper, str.title, lambda text: text.replace("-", ""), lambda text: f"{{{text}}}", _moved_hyphen),
            *(
                lambda text: f"urn:uuid:{text}",
                lambda text: text[:-1],
                lambda text: text + "0",
                lambda text: text + r"\n",
            ),
            *(
                lambda text: " " + text,
                lambda text: text[:-1] + "g",
                lambda text: text[:-1] + "\uff11",
                lambda text: text + r"\u0000",
            ),
            *(lambda _: "", lambda text: text.replace("-", "\u2010"), lambda text: text.replace("-", r"\u002d")),
        ]
    ),
)
nil_and_max = st.sampled_from(["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"])
id_texts = rarely(ids, odd_ids | nil_and_max, one_in=6).map('"{}"'.format)
texts = rarely(
    st.lists(characters, min_size=1, max_size=3).map(lambda parts: '"' + "".join(parts) + '"'), strings, one_in=8
)

# --- Lines and files -----------------------------------------------------------------------------------------------

Members = list[tuple[str, str]]  # key and value as text


@st.composite
def members_of_events(draw: st.DrawFn) -> Members:
    """The members of a valid event, or of one with fields of which some are no good."""
    strategies = {"event_id": id_texts, "event_name": texts, "event_time": times(), "user_id": texts}
    members = [(f'"{name}"', draw(strategy)) for name, strategy in strategies.items()]
    members.append(('"properties"', draw(objects(documents))))
    return draw(st.permutations(members)) if draw(st.booleans()) else members


@st.composite
def changed(draw: st.DrawFn, members: Members) -> Members:
    """The members with one of them gone, there twice, of another type, under another name, or with one more."""
    members = list(members)
    place = draw(st.integers(0, len(members) - 1))
    key, value = members[place]
    match draw(st.integers(0, 7)):
        case 0:
            del members[place]
        case 1:
            members.insert(draw(st.integers(0, len(members))), (key, value))
        case 2:
            members.insert(draw(st.integers(0, len(members))), (key, draw(documents)))
        case 3:
            members[place] = (key, draw(documents))
        case 4:
            members.insert(place, (draw(strings), draw(documents)))
        case 5:
            names = [
                key.upper(),
                key[:-1] + ' "',
                key.replace("_", r"\u005f"),
                key.replace("e", r"\u0065"),
                key.strip('"'),
            ]
            members[place] = (draw(st.sampled_from(names)), value)
        case 6:
            members[place] = (key, draw(deep))
        case _:
            members.insert(place, ('"more"', draw(deep)))
    return members


TOKENS = [
    *(
        b"\xff",
        b"\xed\xa0\x80",
        b"\xc0\xaf",
        b"\xf4\x90\x80\x80",
        b"\xc3",
        b"\0",
        b"\n",
        b"\r",
        b"\r\n",
        b"\x0b",
        b"\x0c",
    ),
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b",",
        b":",
        b"\\",
        b"\\ud800",
        b"\\u0000",
        b"\xef\xbb\xbf",
        b"}\n{",
        b"} {",
        b"},{",
        b"//",
    ),
]


@st.composite
def damaged(draw: st.DrawFn, line: bytes) -> bytes:
    """The line with a byte flipped, some inserted, some gone, or cut short."""
    place = draw(st.integers(0, max(0, len(line) - 1)))
    match draw(st.integers(0, 4)):
        case 0:
            return line[:place] + bytes([line[place] ^ (1 << draw(st.integers(0, 7)))]) + line[place + 1 :]
        case 1 | 2:
            return line[:place] + draw(st.sampled_from(TOKENS) | st.binary(max_size=3)) + line[place:]
        case 3:
            return line[:place] + line[place + draw(st.integers(1, 3)) :]
        case _:
            return line[:place]


@st.composite
def event_lines(draw: st.DrawFn) -> bytes:
    """A line that is an event, or nearly."""
    members = draw(members_of_events())
    for _ in range(max(0, draw(st.integers(0, 5)) - 3)):
        if members:
            members = draw(changed(members))
    space, end = (draw(white_space), draw(white_space)) if draw(st.booleans()) else ("", "")
    text = f"{end}{{" + f"{space},".join(f"{key}{space}:{space}{value}" for key, value in members) + f"}}{end}"
    line = text.encode()
    return draw(damaged(line)) if draw(st.integers(0, 7)) == 0 and line else line


other_lines = st.one_of(
    st.sampled_from([b"", b" ", b"\t \r", b"\r", b"{}", b"[]", b"null", b'"x"', b"7", b"\x0c", b"\xef\xbb\xbf"]),
    documents.map(str.encode),
    st.binary(max_size=12),
)
any_line = st.integers(0, 9).flatmap(lambda roll: other_lines if roll == 0 else event_lines())


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """A file: lines, with a BOM or without, CRLF or LF, and an end or none."""
    end = draw(st.sampled_from([b"\n", b"\n", b"\r\n"]))
    start = draw(st.sampled_from([b"", b"", b"", b"\xef\xbb\xbf", b"\n", b" "]))
    return start + end.join(draw(st.lists(any_line, max_size=12))) + draw(st.sampled_from([end, b""]))


# Rows that made trouble once. The large load below has them among its rows.
GOOD = b'{"event_id":"%b","event_name":"n","event_time":"2024-05-01T12:00:00Z","user_id":"u","properties":{"a":1}}'


def good(number: int, old: bytes = b"", new: bytes = b"") -> bytes:
    line = GOOD % str(UUID(int=number)).encode()
    assert old in line
    return line.replace(old, new, 1)


REMEMBERED = [
    good(1),
    good(2, b'{"a":1}', b'{"a":"\xff"}'),
    good(3, b'"u","properties":{"a":1}', b'"u","properties":{"a":"\xff"},"user_id":"u"'),
    good(4, b'"u","properties":{"a":1}', b'              "\\n","properties":{"a":"\xff"}'),
    good(5, b'"u"', rb'"\ud83c\udf89"')[:-1],
    *(good(100 + n, b'{"a":1}', b"[" * n + b"]" * n) for n in (500, 501, 980, *range(984, 1000))),
    *(good(2000 + n, b'{"a":1}', b'{"a":' + b"[" * n + b"]" * n + b"}") for n in (499, 500, 980, *range(984, 1000))),
    *(good(4000 + n, b'"u"', b'"u","more":' + b"[" * n + b"]" * n) for n in (500, 980, *range(984, 1000))),
    *(
        good(6000 + n, b'"u"', b'"u","user_id":"u","more":' + b"[" * n + b"]" * n)
        for n in (500, 980, *range(984, 1000))
    ),
    good(6, b'{"a":1}', b'{"a":0e1000000000}'),
    good(8, b'{"a":1}', b'{"a":[1e131072,"\\u0000"],"a":1}'),
    b'9,"x"',
    b"[1",
    good(7),
]

# --- (a) The verdict on each row ------------------------------------------------------------------------------------


@cache
def terms() -> Contract:
    return contract.load()


def checked(content: bytes, *, chunk: int = 1 << 20, max_line_bytes: int = MAX_LINE, few: int = 1) -> Validated:
    """Decode and validate a file's content as the loader does, in chunks of about `chunk` bytes.

    As few lines as `few` are tried as columns, by the layout that they share.
    """
    with mock.patch.object(ndjson, "_FEW", few):
        return _checked(content, chunk=chunk, max_line_bytes=max_line_bytes)


def _checked(content: bytes, *, chunk: int, max_line_bytes: int) -> Validated:
    decoder = ndjson.Decoder(terms(), max_line_bytes=max_line_bytes)
    rows = ndjson.Rows()
    number = 1
    chunk = max(chunk, len(content) // 100)
    for piece in lines.chunks(io.BytesIO(content), size=chunk, max_line_bytes=max_line_bytes):
        if piece.over_limit:
            decoder.add_over_limit(rows, piece.data, length=piece.over_limit, file_id=1, line=number)
            number += 1
        else:
            number += decoder.add(rows, piece.data, file_id=1, first_line=number)
    return validate(decoder.block(rows), terms())


def reasons(problems: Sequence[Problem]) -> Reasons:
    """Problems in the reference's words."""
    found: dict[str, set[str]] = defaultdict(set)
    for problem in problems:
        found[UNKNOWN if problem.code == "unknown_field" else problem.column or LINE].add(problem.code)
    return {place: frozenset(codes) for place, codes in found.items()}


def disagreements(content: bytes, *, chunk: int = 1 << 20, max_line_bytes: int = MAX_LINE) -> list[str]:
    """Compare the loader's verdict on each row of a file, each way, with the reference's; say where they differ."""
    ways = {"as columns": 1, "singly": 1 << 30}
    return [
        f"{way}: {wrong}"
        for way, few in ways.items()
        for wrong in _disagreements(content, chunk=chunk, max_line_bytes=max_line_bytes, few=few)
    ]


def _disagreements(content: bytes, *, chunk: int, max_line_bytes: int, few: int) -> list[str]:
    expected = reference.read(content, max_line_bytes=max_line_bytes)
    try:
        found = checked(content, chunk=chunk, max_line_bytes=max_line_bytes, few=few)
    except FileRefused as refused:
        return [] if expected is None and refused.code == "not_utf8" else [f"refused: {refused}"]
    if expected is None:
        return ["not refused"]
    raws = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    said = dict.fromkeys(found.valid["line"].to_list(), "accepted")
    given: dict[int, Reasons] = {}
    for reject in found.rejects:
        given[reject.line] = reasons(reject.problems)
        said[reject.line] = str({place: sorted(codes) for place, codes in given[reject.line].items()})
    wrong = [
        f"line {line}, {raws[line - 1][:2000]!r}: {said.get(line, 'lost')}, but the reference: {verdict}"
        for line, verdict in expected.items()
        if not (
            verdict.agrees_with(given.get(line, {})) if isinstance(verdict, Rejected) else said.get(line) == "accepted"
        )
    ]
    rows = found.valid.height + len(found.rejects)
    return wrong or ([] if rows == len(expected) and said.keys() == expected.keys() else [f"{rows} rows: {said}"])


@examples(120)
@given(contents(), st.sampled_from([1 << 20, 1 << 20, 4, 7, 100, 700]))
def test_each_row_is_accepted_or_rejected_for_the_reasons_that_the_reference_gives(content: bytes, chunk: int) -> None:
    assert disagreements(content, chunk=chunk) == []


@examples(30)
@given(st.lists(event_lines(), max_size=8), st.integers(4, 700), st.integers(1, 400))
def test_a_line_over_the_limit_costs_nothing_but_itself(some: list[bytes], chunk: int, limit: int) -> None:
    content = b"\n".join(line for line in some if line.strip(b" \t\r\n"))
    assert disagreements(content, chunk=chunk, max_line_bytes=limit) == []


@pytest.mark.parametrize("line", REMEMBERED)
def test_a_row_that_made_trouble_once_gets_its_verdict(line: bytes) -> None:
    assert disagreements(line) == []


# --- (b), (c) What PostgreSQL then holds ----------------------------------------------------------------------------


@dataclass
class Loads:
    """A landing folder and a database for a few runs of the command, and what they reported."""

    folder: Path
    conninfo: str
    reports: dict[str, Report] = field(default_factory=dict)

    def run(self, files: dict[str, bytes]) -> None:
        """Drop files, of which the first is the oldest, and run the loader."""
        for age, (name, content) in enumerate(files.items()):
            path = self.folder / name
            path.write_bytes(content)
            os.utime(path, (1_000 + age, 1_000 + age))
        printed = io.StringIO()
        where = ["--landing", str(self.folder), "--database-url", self.conninfo]
        with redirect_stdout(printed):
            cli.main(["run", "--json", "--quiet", "--settle", "0", *where])
        self.reports |= {report["name"]: report for report in json.loads(printed.getvalue())["files"]}

    def stored(self) -> dict[UUID, tuple[Event, str, int]]:
        """The table `events`, by value: each event, and the file and line that brought it."""
        query = """
            SELECT event_id, event_name, (extract(epoch FROM event_time) * 1000000)::bigint, user_id,
                   properties::text, name, line
            FROM events LEFT JOIN loader_files USING (file_id)
        """
        with psycopg.connect(self.conninfo) as connection:
            rows = connection.execute(query).fetchall()
        return {
            row[0]: (Event(row[0], row[1], row[2], row[3], reference.parse_json(row[4])[0]), row[5], row[6])
            for row in rows
        }

    def quarantine(self) -> Iterator[tuple[tuple[str, int], bytes, list[Problem]]]:
        """Each row in quarantine: its file and line, its bytes, and what is wrong with it."""
        for row in quarantined(self.folder):
            raw = row["raw"].encode() if "raw" in row else base64.b64decode(row["raw_base64"])
            yield (row["source"], row["line"]), raw, [Problem(**error) for error in row["errors"]]


@contextmanager
def loads(server: str, template: str) -> Iterator[Loads]:
    with tempfile.TemporaryDirectory() as folder, new_database(server, template=template) as (_, conninfo):
        yield Loads(Path(folder), conninfo)


def check(done: Loads, files: dict[str, bytes]) -> None:
    """Assert that what PostgreSQL and quarantine hold, and what was reported, is what the reference says."""
    names = list(files)
    raws = {name: content.removeprefix(b"\xef\xbb\xbf").split(b"\n") for name, content in files.items()}
    rows, outcomes = reference.loaded(list(files.values()))
    for name, outcome in zip(names, outcomes, strict=True):
        check_report(done.reports[name], outcome)

    found = done.stored()
    for key, row in rows.items():
        raw = raws[names[row.file]][row.line - 1]
        assert found.get(key) == (row.event, names[row.file], row.line), raw
    assert found.keys() == rows.keys()

    held = list(done.quarantine())
    rejected = {
        (name, line): said for name, it in zip(names, outcomes, strict=True) if it for line, said in it.rejected.items()
    }
    conflicts = {
        (name, line): said
        for name, it in zip(names, outcomes, strict=True)
        if it
        for line, said in it.conflicts.items()
    }
    assert Counter(place for place, _, _ in held) == Counter([*rejected, *conflicts])
    for (name, line), raw, problems in held:
        assert raw == raws[name][line - 1]
        if (name, line) in rejected:
            assert rejected[name, line].agrees_with(reasons(problems)), (raw, problems)
        else:
            fields = ", ".join(conflicts[name, line])
            assert [(problem.code, problem.column) for problem in problems] == [("conflict", fields)]


def check_report(report: Report, outcome: reference.Outcome | None) -> None:
    counts = [report[count] for count in ("read", "inserted", "duplicates", "conflicts", "rejected")]
    if outcome is None:
        assert (report["status"], counts) == ("skipped", [0] * 5)
        return
    parts = [len(part) for part in (outcome.inserted, outcome.duplicates, outcome.conflicts, outcome.rejected)]
    assert (report["status"], counts) == ("loaded", [sum(parts), *parts]), report


def drawn(strategy: st.SearchStrategy[bytes], count: int) -> list[bytes]:
    """Many values of a strategy, for one load of all of them: a load takes far longer than a row."""
    values: list[bytes] = []

    @examples(count // 20, phases=[Phase.generate])
    @given(st.lists(strategy, max_size=40))
    def collect(some: list[bytes]) -> None:
        values.extend(some)

    collect()
    return values


def test_postgres_holds_what_each_accepted_line_says_and_quarantine_the_rest(server: str, template: str) -> None:
    some = [good(0), *drawn(any_line, 800), *REMEMBERED]
    files = {
        f"{number}.ndjson": b"\xef\xbb\xbf" * (number == 1) + end.join(some[start::3]) + end * number
        for number, (start, end) in enumerate([(0, b"\n"), (1, b"\r\n"), (2, b"\n")])
    }
    with loads(server, template) as done:
        done.run(files)
        check(done, files)


SPELLINGS = {
    "event_name": ["n", "o"],
    "event_time": ["2024-01-01T00:00:00Z", "2024-01-01T01:30:00.0000009+01:30", "2023-12-31t23:59:59.9999999z"],
    "user_id": ["u", "\u0075"],
    "properties": [
        '{"a":[1,{}],"b":null}',
        '{"b":null, "a":[1.0,{}]}',
        '{"a":0,"a":[10e-1,{}],"b":null}',
        '{"a":[true,{}]}',
    ],
}


@st.composite
def retried_lines(draw: st.DrawFn) -> bytes:
    """A line with one of few ids and of few contents, each in several spellings; or one that is no event."""
    key = str(UUID(int=draw(st.integers(10, 13))))
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from([b"", b"{}", b'{"event_id":"%b"}' % key.encode()]))
    members = [("event_id", key if draw(st.booleans()) else key.upper())]
    for name, spellings in SPELLINGS.items():
        members.append((name, spellings[max(0, draw(st.integers(-4, len(spellings) - 1)))]))
    texts_of = (f'"{name}":' + (value if name == "properties" else f'"{value}"') for name, value in members)
    return ("{" + ",".join(texts_of) + "}").encode()


@examples(8)
@given(st.lists(st.lists(retried_lines(), max_size=8).map(b"\n".join), min_size=1, max_size=6), st.integers(1, 6))
def test_of_overlapping_files_the_first_row_wins_and_the_rest_are_duplicates_or_conflicts(
    server: str, template: str, some: list[bytes], runs: int
) -> None:
    files = {f"{number}.ndjson": content for number, content in enumerate(some)}
    with loads(server, template) as done:
        for first in range(0, len(files), runs):
            done.run(dict(list(files.items())[first : first + runs]))
        check(done, files)


# --- (d) The other format -------------------------------------------------------------------------------------------


def spelled(value: Any) -> str:
    """JSON text of a value as the reference holds it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {spelled(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(spelled, value)) + "]"
    return str(value.value) if isinstance(value, Number) else json.dumps(value, ensure_ascii=False)


def parquet(events: Sequence[Event], *, binary: bool) -> bytes:
    """The events in Parquet: ids of 16 bytes and timestamps, or text."""
    zone = pa.timestamp("us", "UTC")
    micros = [event.event_time for event in events]
    columns = {
        "event_id": pa.array([event.event_id.bytes if binary else str(event.event_id) for event in events]),
        "event_name": pa.array([event.event_name for event in events], pa.string()).dictionary_encode(),
        "event_time": pa.array(micros, pa.int64()).cast(zone)
        if binary
        else pa.array(map(rfc_3339, micros), pa.string()),
        "user_id": pa.array([event.user_id for event in events], pa.large_string()),
        "properties": pa.array([spelled(event.properties) for event in events], pa.string()),
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, row_group_size=50)
    return buffer.getvalue()


def rfc_3339(micros: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    return moment.isoformat()


@pytest.mark.parametrize("binary", [True, False], ids=["typed", "text"])
def test_ndjson_and_parquet_of_the_same_events_store_the_same(server: str, template: str, binary: bool) -> None:
    content = b"\n".join(drawn(event_lines(), 200))
    rows, _ = reference.loaded([content])
    events = [row.event for row in rows.values()]
    with loads(server, template) as done:
        done.run({"a.parquet": parquet(events, binary=binary)})
        assert {key: event for key, (event, _, _) in done.stored().items()} == {
            event.event_id: event for event in events
        }
        done.run({"b.ndjson": content})
        report = done.reports["b.ndjson"]
        accepted = report["read"] - report["rejected"] - report["conflicts"]
        assert (report["inserted"], report["duplicates"]) == (0, accepted)
        assert accepted >= len(events)
