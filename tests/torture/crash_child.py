"""Runs `loader` in this process, and stops it at a named step: for good (SIGKILL), or until the parent says go on.

    python crash_child.py --step "COMMIT sent" --nth 2 --mode kill --set loader.decode.BLOCK_BYTES=65536 -- run ...

The product has no hook for this: what is named here is wrapped from outside. A name that is gone is an error, so that
no step is left out in silence. It imports nothing of the tests, so that nothing but the loader is in the process.

modes: kill   SIGKILL to itself at the nth time that the step is reached
       wait   prints "reached", and goes on when a line comes in on stdin
       count  never stops; prints at the end how often the step was reached

With the step "changed the disk" it also keeps a journal, named by --journal: one JSON object a line, for each change in
the folder where the journal lies, each fsync there, and each COMMIT. `disk.py` reads it.
"""

from __future__ import annotations

import argparse
import base64
import functools
import importlib
import json
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg
from psycopg import generators, sql
from psycopg.pq import ExecStatus

from loader import (
    account,
    archive,
    cli,
    compare,
    decode,
    ledger,
    merge,
    pipeline,
    publish,
    quarantine,
    settle,
    staging,
    units,
)

_PACKAGE = str(Path(cli.__file__).parent) + os.sep


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Stop:
    """Called each time the step is reached; stops the process at the nth."""

    def __init__(self, mode: str, nth: int, journal: Path | None = None) -> None:
        self.count = 0
        self.journal = journal
        self._mode = mode
        self._nth = nth
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self.count += 1
            if self.count != self._nth or self._mode == "count":
                return
        if self._mode == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        _tell("reached")
        sys.stdin.readline()


Install = Callable[[Stop], None]


def before(owner: Any, name: str) -> Install:
    return _around(owner, name, afterwards=False)


def after(owner: Any, name: str) -> Install:
    return _around(owner, name, afterwards=True)


def _around(owner: Any, name: str, *, afterwards: bool) -> Install:
    original = getattr(owner, name)
    is_static = isinstance(vars(owner).get(name), staticmethod)

    def install(stop: Stop) -> None:
        @functools.wraps(original)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            if not afterwards:
                stop()
            result = original(*arguments, **named)
            if afterwards:
                stop()
            return result

        setattr(owner, name, staticmethod(wrapped) if is_static else wrapped)

    return install


def each_item(owner: Any, name: str) -> Install:
    """Stop at the nth item of a generator, before it is handed over."""
    original = getattr(owner, name)

    def install(stop: Stop) -> None:
        @functools.wraps(original)
        def wrapped(*arguments: Any, **named: Any) -> Iterator[Any]:
            for item in original(*arguments, **named):
                stop()
                yield item

        setattr(owner, name, wrapped)

    return install


def on_path(name: str, is_meant: Callable[[Path], bool], *, afterwards: bool) -> Install:
    """Stop before or after a change of the disk after which there is a path that is meant."""

    def install(stop: Stop) -> None:
        original = getattr(os, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            meant = is_meant(Path(arguments[1 if name == "rename" else 0]))
            if meant and not afterwards:
                stop()
            result = original(*arguments, **named)
            if meant and afterwards:
                stop()
            return result

        setattr(os, name, wrapped)

    return install


def rename_to(ending: str, *, afterwards: bool) -> Install:
    return on_path("rename", lambda path: path.name.endswith(ending), afterwards=afterwards)


def after_statement(text: str) -> Install:
    """Stop after a statement that holds `text` has been answered."""

    def install(stop: Stop) -> None:
        original = psycopg.Connection.execute

        def execute(self: psycopg.Connection[Any], query: Any, *arguments: Any, **named: Any) -> Any:
            result = original(self, query, *arguments, **named)
            spelled = query.as_string(self) if isinstance(query, sql.Composable) else query
            if text in (spelled.decode() if isinstance(spelled, bytes) else spelled):
                stop()
            return result

        psycopg.Connection.execute = execute  # type: ignore[method-assign]

    return install


def commit_sent(stop: Stop) -> None:
    """Stop when COMMIT is on its way to the server and its answer has not been read."""
    original: Any = psycopg.Connection._exec_command

    def exec_command(self: psycopg.Connection[Any], command: Any, **named: Any) -> Any:
        if command != b"COMMIT":
            return (yield from original(self, command, **named))
        self._check_connection_ok()
        self.pgconn.send_query(command)
        while self.pgconn.flush():
            pass
        stop()
        (result,) = yield from generators.execute(self.pgconn)
        if result.status == ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(result)
        return result

    setattr(psycopg.Connection, "_exec_command", exec_command)  # noqa: B010


def half_a_block(stop: Stop) -> None:
    """Stop when the server has half of the bytes of a write to COPY."""
    original = psycopg.Copy.write

    def write(self: psycopg.Copy, buffer: Any) -> None:
        original(self, buffer[: len(buffer) // 2])
        self.connection.pgconn.flush()
        stop()
        original(self, buffer[len(buffer) // 2 :])

    psycopg.Copy.write = write  # type: ignore[method-assign]


def any_call(stop: Stop) -> None:
    """Stop at the nth time that any function of the loader is entered or left, in whatever thread."""

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event in ("call", "return") and frame.f_code.co_filename.startswith(_PACKAGE):
            stop()

    threading.setprofile(profile)
    sys.setprofile(profile)


class Journal:
    """Notes what becomes of the disk, in the order in which it does, and when something is committed."""

    def __init__(self, stop: Stop) -> None:
        if stop.journal is None:
            raise SystemExit("--journal must say where to")
        self._stop = stop
        self._folder = str(stop.journal.parent) + os.sep
        self._lock = threading.RLock()  # A change and its note are one, whichever thread comes next.
        self._opened: dict[int, str] = {}  # by descriptor: the path of the file or folder
        self._to = os.open(stop.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for name in ("mkdir", "rmdir", "unlink", "remove", "rename", "replace", "link", "symlink", "truncate"):
            self._wrap(name)
        self._open, self._fsync = os.open, os.fsync
        setattr(os, "open", self._opening)  # noqa: B010
        setattr(os, "fsync", self._syncing)  # noqa: B010
        self._note_commits()

    def _note(self, what: str, *paths: str, **more: object) -> None:
        with self._lock:
            record = {"what": what, "paths": paths, "thread": threading.get_ident(), **more}
            os.write(self._to, json.dumps(record).encode() + b"\n")
            self._stop()

    def _is_meant(self, path: str) -> bool:
        return path.startswith(self._folder)

    def _path(self, path: Any, folder: int | None) -> str:
        """The path of what is named in an open folder, or by its path."""
        return str(Path(self._opened[folder], path)) if folder is not None else os.fspath(path)

    def _wrap(self, name: str) -> None:
        original = getattr(os, name)
        takes_two = name in ("rename", "replace", "link", "symlink")

        @functools.wraps(original)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            folders = [named.get("dir_fd", named.get("src_dir_fd")), named.get("dst_dir_fd")]
            paths = [self._path(*place) for place in zip(arguments[: 1 + takes_two], folders, strict=False)]
            with self._lock:
                result = original(*arguments, **named)
                for descriptor, path in self._opened.items():
                    if takes_two and path == paths[0]:
                        self._opened[descriptor] = paths[1]
                if self._is_meant(paths[-1]):
                    self._note(name, *paths)
            return result

        setattr(os, name, wrapped)

    def _opening(self, path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        name = self._path(path, named.get("dir_fd"))
        with self._lock:
            is_new = bool(flags & os.O_CREAT) and not os.path.lexists(name)
            descriptor = self._open(path, flags, *arguments, **named)
            self._opened[descriptor] = name
            if is_new and self._is_meant(name):
                self._note("create", name)
        return descriptor

    def _syncing(self, descriptor: int) -> None:
        with self._lock:
            self._fsync(descriptor)
            path = self._opened[descriptor]
            status = os.fstat(descriptor)
            if not os.path.samestat(status, os.stat(path)):  # noqa: PTH116
                raise SystemExit(f"{path} is not what was synced")
            if self._is_meant(path) and stat.S_ISDIR(status.st_mode):
                self._note("fsync folder", path)
            elif self._is_meant(path):
                self._note("fsync", path, content=base64.b64encode(Path(path).read_bytes()).decode())

    def _note_commits(self) -> None:
        """Note which files are written into the ledger, and the COMMIT that follows: before it is sent and after."""
        record = ledger.record
        command: Any = psycopg.Connection._exec_command

        def recording(connection: Any, entries: Any) -> None:
            record(connection, entries)
            self._note("ledger", files=[entry.name for entry in entries])

        def exec_command(connection: Any, text: Any, **named: Any) -> Any:
            if text == b"COMMIT":
                self._note("COMMIT")
            result = yield from command(connection, text, **named)
            if text == b"COMMIT":
                self._note("committed")
            return result

        setattr(ledger, "record", recording)  # noqa: B010
        setattr(psycopg.Connection, "_exec_command", exec_command)  # noqa: B010


def changed_the_disk(stop: Stop) -> None:
    """Stop after any change of the disk, any fsync, and around COMMIT; each is in the journal."""
    Journal(stop)


def _to_archive(path: Path) -> bool:
    return path.parent.parent.name == "archive"


STEPS: dict[str, Install] = {
    "claimed": after(ledger, "claim"),
    "decoded a shared block": each_item(decode.BlockReader, "share"),
    "decoded a block": each_item(decode.BlockReader, "stream"),
    "made the staging table": after_statement("CREATE TEMPORARY TABLE"),
    "wrote half a block to COPY": half_a_block,
    "wrote to COPY": after(psycopg.Copy, "write"),
    "sorted a unit": each_item(units.Units, "due"),
    "copied into events": after(staging, "copy_into_events"),
    "staged": after(staging, "stage"),
    "merged, not told apart": before(compare, "tell_apart"),
    "merged a unit": after(merge.Merger, "merge"),
    "merged all": before(pipeline.Pipeline, "_explain_set_aside"),
    "accounted": after(account, "account"),
    "quarantine written, not renamed": rename_to(".rejected.ndjson", afterwards=False),
    "quarantine renamed": rename_to(".rejected.ndjson", afterwards=True),
    "quarantine published": after(publish.Publisher, "publish"),
    "ledger not written": before(ledger, "record"),
    "ledger written": after(ledger, "record"),
    "COMMIT sent": commit_sent,
    "committed": after(pipeline.Pipeline, "_transaction"),
    "not archived": before(settle, "archive"),
    "made the archive's folder": on_path("mkdir", lambda path: path.parent.name == "archive", afterwards=True),
    "chose a name in the archive": after(archive, "_free_name"),
    "archived": on_path("rename", _to_archive, afterwards=True),
    "refusal: .error.json written, not renamed": rename_to(".error.json", afterwards=False),
    "refusal: .error.json renamed": rename_to(".error.json", afterwards=True),
    "refusal: not in the ledger": after(quarantine, "write_error"),
    "refusal: in the ledger": before(settle, "put_in_quarantine"),
    "refusal: moved": after(settle, "put_in_quarantine"),
    "migration: made its own table": after_statement("CREATE TABLE IF NOT EXISTS loader_migrations"),
    "migration: applied": after_statement("CREATE TABLE events"),
    "migration: recorded": after_statement("INSERT INTO loader_migrations"),
    "any call": any_call,
    "changed the disk": changed_the_disk,
}


def _set(assignment: str) -> None:
    """Set a constant of the loader: `loader.decode.BLOCK_BYTES=65536`, with the value in JSON."""
    target, _, value = assignment.partition("=")
    module_name, _, name = target.rpartition(".")
    module = importlib.import_module(module_name)
    getattr(module, name)  # It must be there.
    setattr(module, name, json.loads(value))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--step", choices=STEPS)
    parser.add_argument("--nth", type=int, default=1)
    parser.add_argument("--mode", choices=["kill", "wait", "count"], default="kill")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--journal", type=Path)
    parser.add_argument("arguments", nargs="+")
    options = parser.parse_args()
    for assignment in options.set:
        _set(assignment)
    stop = Stop(options.mode, options.nth, options.journal)
    if options.step is not None:
        STEPS[options.step](stop)
    code = cli.main(options.arguments)
    sys.setprofile(None)
    if options.mode == "count":
        _tell(str(stop.count))
    return code


if __name__ == "__main__":
    sys.exit(main())
