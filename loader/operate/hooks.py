"""Calls for help when a run has failed: a command of the user's, or a webhook.

Whatever the hook does or doesn't, it ends in time, and nothing it does changes what the run has done.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from loader import __version__
from loader.errors import LoaderError
from loader.settings import host_of, is_url

TEXT_VARIABLE = "LOADER_FAILURE"
# A hook may print its environment into a mail.
_SECRETS = ("DATABASE_URL", "LOADER_DATABASE_URL", "PGPASSWORD")
_MAX_WORDS = 300


class HookError(LoaderError):
    """Raised when the hook can't be called, fails or is too slow."""


def call(hook: str | Sequence[str], report: Mapping[str, Any], text: str, *, seconds: float) -> None:
    """Give `report` and the short `text` to the hook, and wait for it no longer than `seconds`.

    Raises:
        HookError: it can't be called, fails or is too slow.
    """
    if TEXT_VARIABLE in os.environ:
        return  # This run was itself started by a hook; without this the two could call each other for ever.
    body = json.dumps({"text": text, **report}).encode()
    if isinstance(hook, str) and is_url(hook):
        _post(hook, body, seconds)
    else:
        _run(shlex.split(hook) if isinstance(hook, str) else list(hook), body, text, seconds)


def _run(command: list[str], body: bytes, text: str, seconds: float) -> None:
    """Run a command, without a shell, with the report on its stdin."""
    environment = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    with _scratch() as errors:
        try:
            process = subprocess.Popen(  # noqa: S603 # the user's own command, from the settings
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,  # Ours is for the machine.
                stderr=errors,
                env=environment | {TEXT_VARIABLE: text},
                start_new_session=True,  # so that whatever it starts can be ended with it
            )
        except OSError as error:
            raise HookError(f"on_failure: can't run {command[0]}: {error.strerror}") from error
        try:
            process.communicate(body, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            _kill(process)
            raise HookError(f"on_failure: {command[0]} took longer than {seconds:g} s and was killed") from error
        except BaseException:  # Ctrl-C, which doesn't reach it
            _kill(process)
            raise
        if process.returncode:
            ended = f"exit code {process.returncode}" if process.returncode > 0 else f"signal {-process.returncode}"
            raise HookError(f"on_failure: {command[0]} failed with {ended}{_last_words(errors)}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _scratch() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return open(os.devnull, "r+b")  # noqa: PTH123 # A full disk may be what is to be told.


def _last_words(errors: IO[bytes]) -> str:
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - _MAX_WORDS))
    words = errors.read(_MAX_WORDS).decode(errors="replace").strip()
    return f": {words.splitlines()[-1]}" if words else ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The report goes to whom the user has named, and to nobody else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _post(url: str, body: bytes, seconds: float) -> None:
    """POST the report."""
    failures: list[str] = []
    late = f"took longer than {seconds:g} s"

    def post() -> None:
        headers = {"Content-Type": "application/json", "User-Agent": f"loader/{__version__}"}
        try:
            request = urllib.request.Request(url, body, headers)  # noqa: S310 # the settings allow http and https only
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=seconds):
                pass
        except urllib.error.HTTPError as error:
            failures.append(f"answered {error.code}{' (not followed)' if 300 <= error.code < 400 else ''}")  # noqa: PLR2004
            error.close()
        except urllib.error.URLError as error:
            is_late = isinstance(error.reason, TimeoutError)
            failures.append(late if is_late else f"can't be reached: {error.reason}")
        except TimeoutError:
            failures.append(late)
        except Exception as error:  # noqa: BLE001 # its answer may be anything
            failures.append(f"failed: {type(error).__name__}: {error}")

    # Name servers know no timeout, and an answer that comes byte by byte none that ends; a thread can be left behind.
    thread = threading.Thread(target=post, name="loader-hook", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        failures.append(late)
    if failures:
        # The rest of a webhook's address is often its password.
        raise HookError(f"on_failure: {host_of(url)} {failures[0]}")
