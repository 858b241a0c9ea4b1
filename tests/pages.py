"""What the tests of `loader report` share: all sorts of rows to show, and a reader of the page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

from tests.support import Load, event, write_ndjson

HOSTILE = "</script><script>hacked=1</script><img src=x onerror=hacked=1>"


class Page(HTMLParser):
    """The tables of a page as lists of rows of text, by id; and the headline numbers."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.tables: dict[str, list[list[str]]] = {}
        self.tiles: dict[str, str] = {}
        self.tags: Counter[str] = Counter()
        self._rows: list[list[str]] = []
        self._path: list[str] = []
        self._tile = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        key = dict(attrs).get("id") or ""
        self.tags[tag] += 1
        if tag == "table":
            self._rows = self.tables[key.removeprefix("table-")] = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        elif key.startswith("tile-"):
            self._tile = key.removeprefix("tile-")
        if tag not in ("meta", "img"):
            self._path.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._path and self._path.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._path[-1:] in (["td"], ["th"]):
            self._rows[-1][-1] += data
        elif self._path[-1:] == ["b"]:
            self.tiles[self._tile] = data

    def sums(self, table: str, key: int, value: int) -> Counter[str]:
        """The numbers of column `value`, added up by column `key`."""
        sums: Counter[str] = Counter()
        for row in self.tables[table][1:]:
            sums[row[key]] += int(row[value].replace(",", ""))
        return sums

    def column(self, table: str, head: str) -> int:
        """The sum of a column."""
        place = self.tables[table][0].index(head)
        return sum(int(row[place].replace(",", "")) for row in self.tables[table][1:])


Report = Callable[..., Page]


def load_all_sorts(load: Load, landing: Path) -> None:
    """Three loads: inserted, duplicate, conflicting and rejected rows, a refused file, hostile text in each place."""
    first = [event(event_name=f"name-{number % 3}") for number in range(30)]
    write_ndjson(landing / "a.ndjson", *first)
    load()
    write_ndjson(
        landing / "<img src=x onerror=hacked=1>\u202egnp.ndjson",
        *first[:4],
        first[5] | {"user_id": "somebody else"},
        event(event_name=HOSTILE),
        HOSTILE,
        json.dumps(event(user_id=7)),
        json.dumps(event(event_id=HOSTILE, user_id=8)),
        b"\xff",
    )
    load()
    (landing / "<b>broken.parquet").write_bytes(b"not parquet")
    load()
