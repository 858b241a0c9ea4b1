"""The pieces of HTML that the report is made of. Pure.

Every word that is put in goes through `escape`, but for `body`, which is made of these pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from loader.operate.page_words import number

Cell = str | int | float


def section(title: str, note: str, body: str, *, half: bool = False) -> str:
    """Return a section; `half` lets it share its line where the screen is wide."""
    kind = ' class="half"' if half else ""
    return f'<section{kind}><h2>{escape(title)}</h2><p class="note">{escape(note)}</p>{body}</section>'


def tile(key: str, label: str, value: str, note: str, *, bad: bool = False) -> str:
    """Return a headline number."""
    kind = "tile bad" if bad else "tile"
    return (
        f'<div class="{kind}" id="tile-{key}"><span>{escape(label)}</span><b>{escape(value)}</b>'
        f"<small>{escape(note)}</small></div>"
    )


def chart(key: str) -> str:
    """Return the place for a chart."""
    return f'<div class="chart" id="{key}"></div>'


def quote(text: str, verbatim: str) -> str:
    """Return something that was said about a text, and the text."""
    return f'<div class="example"><p>{escape(text)}</p><pre>{escape(verbatim)}</pre></div>'


def details(body: str, summary: str = "Numbers") -> str:
    """Return what opens on a click."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def table(key: str, heads: Sequence[str], rows: Iterable[Sequence[Cell]], *, long: int | None = None) -> str:
    """Return a table; numbers stand on the right, column `long` may wrap."""
    rows = list(rows)
    numeric = {place for row in rows for place, cell in enumerate(row) if not isinstance(cell, str)}
    head = "".join(
        f"<th{' class=n' if place in numeric else ''}>{escape(text)}</th>" for place, text in enumerate(heads)
    )
    body = "".join(
        f"<tr>{''.join(_cell(cell, wraps=place == long) for place, cell in enumerate(row))}</tr>" for row in rows
    )
    return (
        f'<div class="scroll"><table id="table-{key}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _cell(cell: Cell, *, wraps: bool) -> str:
    if not isinstance(cell, str):
        return f'<td class="n">{number(cell)}</td>'
    return f'<td class="long">{escape(cell)}</td>' if wraps else f"<td>{escape(cell)}</td>"
