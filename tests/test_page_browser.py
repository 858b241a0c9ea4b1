"""`loader report` in a real Chromium: charts are drawn, nothing is fetched, nothing hostile runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.pages import HOSTILE, Report, load_all_sorts
from tests.support import Load, Query, event, write_ndjson

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"), pytest.mark.slow]

CHARTS = ["rows", "set-aside", "codes", "throughput", "sizes", "lateness", "names"]
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
_FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
# WCAG 2: 4.5 is what small text needs.
_CONTRAST = """
selector => {
  const element = document.querySelector(selector), style = getComputedStyle(element);
  let ground = element;
  while (/rgba\\(.*, 0\\)/.test(getComputedStyle(ground).backgroundColor)) ground = ground.parentElement;
  const ink = element instanceof SVGElement ? style.fill : style.color;
  const light = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map((value) => value / 255)
    .map((value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
  const both = [light(ink), light(getComputedStyle(ground).backgroundColor)].sort((a, b) => b - a);
  return (both[0] + 0.05) / (both[1] + 0.05);
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        yield found
        found.close()


@contextmanager
def shown(browser: Any, path: Path, *, width: int = 1200, scheme: str = "light", drawn: bool = True) -> Iterator[Any]:
    """Open the page; any word on the console, error or request is a failure."""
    trouble: list[str] = []
    requests: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    tab = context.new_page()
    tab.on("console", lambda message: trouble.append(message.text))
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(path.as_uri())
    if drawn:
        tab.wait_for_selector("body[data-drawn]")
    yield tab
    context.close()
    assert (trouble, requests) == ([], [path.as_uri()])


def test_every_chart_is_drawn(load: Load, landing: Path, report: Report, browser: Any, tmp_path: Path) -> None:
    load_all_sorts(load, landing)
    report()
    with shown(browser, tmp_path / "page.html") as tab:
        for chart in CHARTS:
            marks = tab.locator(f"#chart-{chart} svg .mark-rect path[aria-label], #chart-{chart} svg .mark-symbol path")
            boxes = [mark.bounding_box() for mark in marks.all()]
            assert any(box and box["width"] > 3 and box["height"] > 3 for box in boxes), chart


def test_days_stand_in_their_order_even_where_some_have_no_reject(
    load: Load, landing: Path, report: Report, browser: Any, tmp_path: Path, query: Query
) -> None:
    write_ndjson(landing / "a.ndjson", event(), "{")
    load()
    query(
        "UPDATE loader_files SET started_at = started_at - interval '2 days', finished_at = now() - interval '2 days'"
    )
    write_ndjson(landing / "b.ndjson", event())
    load()
    report("--days", "5")
    with shown(browser, tmp_path / "page.html") as tab:
        (rows, codes) = (
            tab.locator(f"#chart-{chart} svg .role-axis-label text").all_text_contents()[:5]
            for chart in ("rows", "codes")
        )
        assert rows == codes


def test_a_bar_says_on_hover_what_its_table_says(
    load: Load, landing: Path, report: Report, browser: Any, tmp_path: Path
) -> None:
    write_ndjson(landing / "a.ndjson", *[event(event_name="only") for _ in range(12)])
    load()
    report()
    with shown(browser, tmp_path / "page.html") as tab:
        tab.locator("#chart-names svg .mark-rect path").first.hover()
        tip = tab.locator("#vg-tooltip-element.visible")
        assert " ".join(tip.inner_text().split()) == "name only events 12"
        assert tab.locator("#table-names tbody td").all_text_contents() == ["only", "12", "100.00%"]


def test_nothing_hostile_runs_and_all_of_it_can_be_read(
    load: Load, landing: Path, report: Report, browser: Any, tmp_path: Path
) -> None:
    load_all_sorts(load, landing)
    report()
    with shown(browser, tmp_path / "page.html") as tab:
        assert tab.evaluate("typeof hacked") == "undefined"
        assert tab.locator("main script, main img, main b:not(.tile b)").count() == 0
        tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        text = tab.locator("main").inner_text()
        assert text.count(HOSTILE) >= 3  # the event name, the rejected line, a rejected event_id
        assert "<img src=x onerror=hacked=1>\\u202egnp.ndjson" in text
        assert tab.locator("#chart-names svg").text_content().count("</script><script>hacked") == 1
        for bar in tab.locator("#chart-names svg .mark-rect path").all():
            bar.hover()  # the tip shows the name, too
        assert tab.evaluate("typeof hacked") == "undefined"


@pytest.mark.parametrize("width", [390, 760, 1200])
def test_the_page_is_never_wider_than_the_window(
    width: int, load: Load, landing: Path, report: Report, browser: Any, tmp_path: Path
) -> None:
    load_all_sorts(load, landing)
    write_ndjson(landing / f"{'long' * 50}.ndjson", event(event_name="n" * 500), "x" * 500)
    load()
    report()
    with shown(browser, tmp_path / "page.html", width=width) as tab:
        tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        for chart in CHARTS:
            box, place = (
                tab.locator(f"#chart-{chart} svg").bounding_box(),
                tab.locator(f"#chart-{chart}").bounding_box(),
            )
            assert box["width"] <= place["width"] + 1, chart
            assert box["width"] > 250, chart


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_in_the_light_and_in_the_dark(
    scheme: str, load: Load, landing: Path, report: Report, browser: Any, tmp_path: Path
) -> None:
    load_all_sorts(load, landing)
    report()
    with shown(browser, tmp_path / "page.html", scheme=scheme) as tab:
        for selector in (
            "h1",
            ".note",
            "summary",
            ".tile span",
            ".tile.bad b",
            "#table-refused td",
            "#chart-rows text",
        ):
            assert tab.evaluate(_CONTRAST, selector) > 4.5, selector


def test_charts_follow_when_the_reader_turns_the_light_off(
    load: Load, landing: Path, report: Report, browser: Any, tmp_path: Path
) -> None:
    load_all_sorts(load, landing)
    report()
    with shown(browser, tmp_path / "page.html") as tab:
        before = tab.evaluate("getComputedStyle(document.querySelector('#chart-rows text')).fill")
        tab.emulate_media(color_scheme="dark")
        tab.wait_for_selector("body[data-drawn=dark]")
        assert tab.evaluate("getComputedStyle(document.querySelector('#chart-rows text')).fill") != before
        assert tab.locator("#chart-rows svg").count() == 1


def test_the_page_of_an_empty_database_opens(report: Report, browser: Any, tmp_path: Path) -> None:
    report()
    with shown(browser, tmp_path / "page.html", width=390, drawn=False) as tab:
        assert tab.locator("h2").inner_text() == "Nothing has been loaded yet"
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
