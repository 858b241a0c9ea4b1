"""Writes the report: one HTML page that needs nothing from anywhere.

Its policy lets no request out and no script run but the two that are in it, each named by its hash; whatever comes from
files or the database is escaped besides.
"""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from string import Template
from typing import Any

from loader import __version__, resources
from loader.errors import UsageError
from loader.operate import page_sections
from loader.operate.page_data import PageData
from loader.operate.page_waiting import Quarantine
from loader.operate.words import moment

_NO_SCRIPT = '<noscript><p class="note">The charts need JavaScript. The tables have the same numbers.</p></noscript>'


def charting_library() -> str:
    """Return the JavaScript of Vega, Vega-Lite and Vega-Embed.

    Raises:
        UsageError: the extra is not installed.
    """
    try:
        import vl_convert
    except ImportError as error:
        raise UsageError("the report needs a charting library: pip install 'loader[report]'") from error
    library: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return library


def render(data: PageData | None, quarantine: Quarantine, *, database: str, days: int, library: str) -> str:
    """Return the page; `data` is None where nothing was ever loaded."""
    charts: dict[str, Any] = {}
    if data is None:
        sections = page_sections.nothing(quarantine)
        subtitle = escape(database)
    else:
        sections, charts = page_sections.everything(data, quarantine)
        span = f"{data.overview.first_day} to {data.overview.made_at:%Y-%m-%d}"
        subtitle = (
            f"{escape(database)} · the last {days} days, {span} · made {moment(data.overview.made_at)} · days are UTC"
        )
    scripts = [library, resources.asset("page.js")] if charts else []
    # As modules they keep their names to themselves.
    marked_up = [f'<script type="module">{script}</script>' for script in scripts]
    if charts:
        sections.insert(0, _NO_SCRIPT)
        marked_up.insert(0, f'<script type="application/json" id="charts">{_json(charts)}</script>')
    return Template(resources.asset("page.html")).substitute(
        hashes=" ".join(map(_hash, scripts)) or "'none'",
        style=resources.asset("page.css"),
        subtitle=subtitle,
        body="\n".join(sections),
        footer=f"loader {__version__}",
        scripts="\n".join(marked_up),
    )


def _json(value: Any) -> str:
    """Return JSON in which nothing can end a script element or begin a comment."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
