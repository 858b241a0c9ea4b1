"""File names: safe to print, and of the files that the loader makes. Pure."""

from __future__ import annotations

import os
import unicodedata

from loader.landing import suffix

_MAX_NAME_BYTES = 255
# Room for a number in front of the ending, where the name is taken already.
_RESERVED_BYTES = 8


def printable(text: str) -> str:
    r"""Return `text` with whatever could steer a terminal or break a log line spelled as an escape.

    Control, format (bidirectional overrides among them), separator and unassigned characters become `\x..`, `\u....`;
    bytes that are not UTF-8 become `\x..`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if _is_plain(character) else _escape(character) for character in text)


def stored_name(name: str, digest: bytes, ending: str, number: int = 0) -> str:
    """Return `<stem>.<first 8 hex digits of the SHA-256><ending>` for an input file called `name`.

    The stem is shortened where the whole would be longer than a file name may be (255 bytes). `number` makes the name
    another one where it is taken.
    """
    known = suffix(name) or ""
    tail = f".{digest.hex()[:8]}{f'.{number}' if number else ''}{ending}"
    stem = os.fsencode(name.removesuffix(known))
    room = _MAX_NAME_BYTES - _RESERVED_BYTES - len(os.fsencode(tail))
    if len(stem) > room:
        # Cut between characters where it is UTF-8 at all.
        shortened = stem[:room].decode(errors="ignore") if _is_utf8(stem) else os.fsdecode(stem[:room])
        return shortened + tail
    return os.fsdecode(stem) + tail


def _is_plain(character: str) -> bool:
    return character == " " or unicodedata.category(character)[0] not in "CZ"


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 # a byte that was not UTF-8, as os.fsdecode holds it
        return f"\\x{code - 0xDC00:02x}"
    if code <= 0xFF:  # noqa: PLR2004
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
