"""Coverage-guided fuzzing of decode and validate: the verdict on every line of any bytes is the reference model's.

atheris is no dependency of the project. To run, for 300 seconds, from the root of a checkout:

    .venv/bin/python -m pip install atheris
    .venv/bin/python -m tests.fuzz_decode 300

An input on which the loader raises anything but FileRefused, or gives another verdict than the model, stops the run
and is written to a file `crash-...` in the current folder; `python -m tests.fuzz_decode 0 crash-...` tries it again.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

# What bytes are put together from, where single ones would hardly ever come together.
WORDS = (
    *('"event_id":', '"event_name":', '"event_time":', '"user_id":', '"properties":', '"more":', "{}", "[]", "}\\x0a{"),
    *(
        "true",
        "null",
        "NaN",
        "1e131072",
        "1e-16384",
        "0e9999999999",
        "-0.0",
        "\\\\u0000",
        "\\\\ud83c\\\\udf89",
        "\\\\ud800",
    ),
    *("2024-02-29T23:59:60Z", "0000-12-31T23:59:59-00:01", "9999-12-31T23:59:59.9999999Z", "+00:00", "-23:59", ".123"),
    *(
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "\\xef\\xbb\\xbf",
        "\\xed\\xa0\\x80",
        "\\xff",
        "\\x0d\\x0a",
        "\\x00",
        "\\\\u005f",
    ),
)


def main() -> None:
    """Fuzz for as long as the first argument says, in seconds; or try the inputs that the others name."""
    seconds, *inputs = sys.argv[1:]
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["loader"]):
        tests = importlib.import_module("tests.test_differential")

    def one_input(content: bytes) -> None:
        # The first byte, where it is no part of a text, says how the rest is cut into chunks.
        sizes = {b"\x01": 4, b"\x02": 7, b"\x03": 150}
        size = sizes.get(content[:1])
        wrong = tests.disagreements(content[1:] if size else content, chunk=size or 1 << 20)
        if wrong:
            raise AssertionError("\n".join(wrong))

    with tempfile.TemporaryDirectory() as folder:
        corpus, words = Path(folder, "corpus"), Path(folder, "words")
        corpus.mkdir()
        words.write_text(
            "".join(f'"{word}"\n' for word in (word.replace('"', '\\"') for word in WORDS)), encoding="utf-8"
        )
        for number, seed in enumerate([*tests.REMEMBERED, b"\n".join(tests.REMEMBERED[:5])]):
            Path(corpus, str(number)).write_bytes(seed + b"\n")
        options = [f"-max_total_time={seconds}", f"-dict={words}", "-max_len=6000", "-timeout=20", "-rss_limit_mb=4096"]
        atheris.Setup([sys.argv[0], *options, *(inputs or [str(corpus)])], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
