"""JSON objects with their members in the order in which `jsonb` keeps them, so that Postgres need not sort. Pure.

Postgres sorts the keys of each object, the shorter ones first, then by bytes (`lengthCompareJsonbString` in its
`jsonb_util.c`). Where they come sorted it sees so at once; otherwise it moves pairs of some 70 bytes, byte by byte. The
objects of a producer have the same keys in the same order: they are cut at the marks in front of the values, and put
together anew, a few calls for all of them. The values stay the text that they are.

That is done to an object only if it is nothing but those marks, each key once, with one value behind each. The values
are looked at alone, each on a line of its own, which begins as a value begins and ends as a value ends. None goes on
over a line's end: a string holds no newline, and what is incomplete but ends so is not continued by what begins so. So
as many values as lines means one on each.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from loader.characters import Mask, Places, characters_of, joined, offsets, spans
from loader.grammar import are_objects, count_values

# Less is not worth it: fewer objects, longer ones, more members, fewer pairs of keys in the wrong order.
_FEW, _MOST_BYTES, _MOST_MEMBERS, _FEWEST_INVERSIONS = 64, 4096, 32, 3
_SAMPLES, _FEWEST_SAMPLES = 16, 2  # how many are looked at, and how many of them must be spelled alike
_GOLDEN = 0.618034  # so far apart, as a share of all, they hit no pattern
_CHECKED_ROWS, _CHECKED_NEAR = 4096, 16  # together: fewer where one of them is not spelled so after all

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SPACE = r"[ \t\r\n]*"
_BEGINS = np.isin(np.arange(256), list(b'{["-0123456789tfn'))  # by byte: whether a value can begin with it
_ENDS = np.isin(np.arange(256), list(b'}]"0123456789el'))


@dataclass(frozen=True, slots=True)
class Spelling:
    """How objects are spelled: `marks[0] value marks[1] value ... }`; `order` has the members' places as jsonb does."""

    marks: tuple[str, ...]
    order: tuple[int, ...]

    def may_be_of(self, text: str) -> bool:
        """Say whether `text` has as many members, and the marks in their order."""
        places = [text.find(mark) for mark in self.marks]
        return places[0] == 0 and places == sorted(places) and len(_names(text)) == len(self.marks)


def in_key_order(texts: pa.LargeStringArray) -> tuple[pa.LargeStringArray, Mask]:
    """Return `texts` (UTF-8, null allowed) with members in jsonb's order where that is worth it, and which are objects.

    That is, one JSON object each, without white space around it.
    """
    left = np.flatnonzero(texts.is_valid().to_numpy(zero_copy_only=False))
    taken: list[tuple[Places, pa.LargeStringArray]] = []
    for spelling in _spellings(texts, left):
        among = texts if len(left) == len(texts) else texts.take(pa.array(left))
        begin = pc.starts_with(among, spelling.marks[0])
        cut = _Cut(among if pc.all(begin).as_py() else among.filter(begin), spelling)
        if len(cut.rows):
            rows = np.flatnonzero(begin)[cut.rows]
            taken.append((left[rows], cut.in_order()))
            left = np.delete(left, rows)
    return _together(texts, taken) if taken else (texts, are_objects(texts))


def _spellings(texts: pa.LargeStringArray, rows: Places) -> list[Spelling]:
    """Return how many of `rows` are spelled; those of most members first, as they may have the marks of others, too."""
    bounds = offsets(texts)
    if len(rows) < _FEW or bounds[-1] - bounds[0] > _MOST_BYTES * len(rows):
        return []
    samples = rows[(np.arange(_SAMPLES) * _GOLDEN % 1 * len(rows)).astype(np.int64)]
    found: Counter[Spelling] = Counter()
    for row in samples.tolist():
        text = texts[row].as_py()
        spelling = next((known for known in found if known.may_be_of(text)), None) or learn(text)  # ten times as slow
        if spelling is not None:
            found[spelling] += 1
    common = [spelling for spelling, count in found.items() if count >= _FEWEST_SAMPLES]
    return sorted(common, key=lambda spelling: (-len(spelling.marks), spelling.marks))


def learn(text: str) -> Spelling | None:
    """Return how `text` is spelled, or None where it is no such object, or not worth the work."""
    names = _names(text)
    keys = [(len(name.encode()), name.encode()) for name in names]
    if len(keys) > _MOST_MEMBERS or sum(one > other for one, other in combinations(keys, 2)) < _FEWEST_INVERSIONS:
        return None
    marks: list[str] = []
    position = 0
    for name in names:
        spelled = re.compile(rf'{"," if marks else "{"}{_SPACE}"{re.escape(name)}"{_SPACE}:{_SPACE}')
        mark = spelled.search(text, position)
        if mark is None or text.find(mark[0]) != mark.start():  # The first one is what will be found.
            return None
        if _names(f"{{{mark[0][1:]}0}}") != [name]:  # It needs an escape, or holds a whole member.
            return None
        marks.append(mark[0])
        position = mark.end()
    return Spelling(tuple(marks), tuple(sorted(range(len(keys)), key=keys.__getitem__)))


def _names(text: str) -> list[str]:
    """Return the keys of an object; none where `text` is something else."""
    try:
        return list(_MEMBERS.decode(text))
    except (msgspec.DecodeError, RecursionError):
        return []


class _Cut:
    """Those of some texts, which begin with the first mark, that are spelled alike, cut at their marks."""

    def __init__(self, texts: pa.LargeStringArray, spelling: Spelling) -> None:
        self._order = spelling.order
        self._buffer = texts.buffers()[2]
        self._bytes = characters_of(texts)
        self.rows: Places = np.arange(len(texts))
        # Of each row in the buffer: its marks and, behind them, its last byte; and the first bytes of its values.
        self._marks, self._values, are_alike = self._find(texts, spelling.marks)
        self._keep(are_alike)
        good = self._bytes[self._marks[-1]] == ord("}")
        for value, end in zip(self._values, self._marks[1:], strict=True):
            good &= _BEGINS[self._bytes[value]] & _ENDS[self._bytes[end - 1]]
        self._keep(good)
        self._keep(self._have_single_values())

    def _find(self, texts: pa.LargeStringArray, marks: Sequence[str]) -> tuple[list[Places], list[Places], Mask]:
        """Return the places, and which texts, all of which begin with the first mark, have the others in order."""
        bounds = offsets(texts)
        text = pl.col("text")
        found = pl.DataFrame({"text": pl.Series(texts)}).select(
            text.str.find(mark, literal=True).cast(pl.Int64).fill_null(-1).alias(mark) for mark in marks[1:]
        )
        starts = bounds[:-1]
        places = [starts, *(starts + found[mark].to_numpy() for mark in marks[1:]), bounds[1:] - 1]
        values = [place + len(mark.encode()) for place, mark in zip(places, marks, strict=False)]
        are_alike = np.ones(len(texts), np.bool_)
        for value, end in zip(values, places[1:], strict=True):
            are_alike &= value < end
        return places, values, are_alike

    def _keep(self, mask: Mask) -> None:
        """Go on with only some of the rows; most often it is all."""
        if not mask.all():
            self.rows = self.rows[mask]
            self._marks = [places[mask] for places in self._marks]
            self._values = [places[mask] for places in self._values]

    def _have_single_values(self) -> Mask:
        """Say of each row whether one value stands behind each mark; no, where one near it has others."""
        count, members = len(self.rows), len(self._values)
        lines = spans(self._buffer, _by_row(self._values), _by_row([end + 1 for end in self._marks[1:]]))
        ends, text = offsets(lines), characters_of(lines)
        text[ends[1:] - 1] = ord("\n")  # over the mark that follows, or the end

        def have(rows: range) -> bool:
            values = text[ends[rows.start * members] : ends[rows.stop * members]]
            return count_values(values.data) == len(rows) * members

        good = np.ones(count, np.bool_)
        for some in _parts(range(count), _CHECKED_ROWS):
            if not have(some):
                for few in _parts(some, _CHECKED_NEAR):
                    good[few.start : few.stop] = have(few)
        return good

    def in_order(self) -> pa.LargeStringArray:
        """Return the rows with their members in jsonb's order."""
        count, members = len(self.rows), len(self._values)
        ends = self._marks[-1] + 1
        bounds = pa.py_buffer(_by_row([*self._marks, ends]))
        # The members of a row, its last byte, and what lies between it and the next one.
        pieces = pa.LargeStringArray.from_buffers(count * (members + 2) - 1, bounds, self._buffer)
        taken = np.arange(count)[:, None] * (members + 2) + np.array([*self._order, members])
        gathered = pieces.take(pa.array(taken.ravel()))
        # Arrow gathers into more room than it needs, and this stays in memory for as long as the rows.
        starts, text = offsets(gathered), joined(gathered).copy()
        del gathered
        was_first = self._order.index(0)
        text[starts[was_first :: members + 1][:count]] = ord(",")
        rows = starts[:: members + 1]
        text[rows[:-1]] = ord("{")
        return pa.LargeStringArray.from_buffers(count, pa.py_buffer(rows.copy()), pa.py_buffer(text))


def _together(
    texts: pa.LargeStringArray, taken: Sequence[tuple[Places, pa.LargeStringArray]]
) -> tuple[pa.LargeStringArray, Mask]:
    """Return `texts` with those of them that were taken in order, and of all, whether they are objects."""
    good = np.ones(len(texts), np.bool_)
    left = np.delete(np.arange(len(texts)), np.concatenate([rows for rows, _ in taken]))
    if not len(left) and len(taken) == 1:
        return taken[0][1], good
    others = texts.take(pa.array(left))
    good[left] = are_objects(others)
    places = np.argsort(np.concatenate([*(rows for rows, _ in taken), left]))
    return pa.concat_arrays([*(in_order for _, in_order in taken), others]).take(pa.array(places)), good


def _parts(rows: range, size: int) -> list[range]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _by_row(columns: Sequence[Places]) -> Places:
    return np.column_stack(columns).ravel()
