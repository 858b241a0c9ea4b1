"""Prometheus's text format: written, and read back as far as the loader has written it. Pure and light."""

from __future__ import annotations

import math
import re

from loader.names import printable

Labels = tuple[tuple[str, str], ...]
Samples = dict[tuple[str, Labels], float]  # by family and labels, without those that all of them share

# In the order of the file. Several files in one folder must agree in each word of it.
_FAMILIES = (
    ("loader_runs_total", "counter", "Runs, by exit code."),
    ("loader_run_seconds_total", "counter", "Time spent in runs."),
    ("loader_files_total", "counter", "Files dealt with, by status."),
    ("loader_rows_total", "counter", "Rows of loaded files, by outcome."),
    ("loader_rejects_total", "counter", "Rows that went to quarantine, by each of their codes."),
    ("loader_last_run_timestamp_seconds", "gauge", "When the last run ended."),
    ("loader_last_success_timestamp_seconds", "gauge", "When the last run ended that had exit code 0 or 3; 0: never."),
    ("loader_last_run_duration_seconds", "gauge", "How long the last run took."),
    ("loader_last_run_exit_code", "gauge", "The last run's exit code."),
    ("loader_landing_files", "gauge", "Files in the landing folder when the last run had ended."),
    ("loader_landing_bytes", "gauge", "Bytes in these files."),
    ("loader_landing_oldest_file_age_seconds", "gauge", "Age of the oldest of these files; 0 where there is none."),
)
BEGINNING = f"# HELP {_FAMILIES[0][0]} "
_SAMPLE = re.compile(r"(\w+)\{((?:[^\"\n]|\"(?:[^\"\\\n]|\\.)*\")*)\} (\S+)")
_LABEL = re.compile(r"(\w+)=\"((?:[^\"\\\n]|\\.)*)\"")
_ESCAPES = {"\\": r"\\", "\n": r"\n", '"': r"\""}
_UNESCAPED = {escape: character for character, escape in _ESCAPES.items()}


def text(samples: Samples, shared: dict[str, str]) -> str:
    """Return samples as text; each has the labels in `shared`, too."""
    lines = []
    for family, kind, words in _FAMILIES:
        own = [(labels, value) for (name, labels), value in samples.items() if name == family]
        if own:
            lines += [f"# HELP {family} {words}", f"# TYPE {family} {kind}"]
        lines += [f"{family}{{{_labels((*shared.items(), *labels))}}} {_number(value)}" for labels, value in own]
    return "\n".join(lines) + "\n"


def parse(content: str, shared: dict[str, str]) -> Samples:
    """Return the samples that have the labels in `shared`; what is no sample, or no sensible one, is left out."""
    known = {family for family, _, _ in _FAMILIES}
    expected = {name: _plain(value) for name, value in shared.items()}
    samples: Samples = {}
    for line in content.split("\n"):
        match = _SAMPLE.fullmatch(line)
        if match is None or match[1] not in known:
            continue
        labels = {name: _unescape(value) for name, value in _LABEL.findall(match[2])}
        value = _float(match[3])
        if value is not None and expected.items() <= labels.items():
            samples[match[1], tuple((name, text) for name, text in labels.items() if name not in shared)] = value
    return samples


def _labels(labels: Labels) -> str:
    return ",".join(f'{name}="{_escape(_plain(value))}"' for name, value in labels)


def _plain(value: str) -> str:
    return printable(value)  # the format is UTF-8, which a path may not be


def _escape(value: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in value)


def _unescape(value: str) -> str:
    return re.sub(r"\\.", lambda match: _UNESCAPED.get(match[0], match[0]), value)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(round(value, 3))


def _float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
