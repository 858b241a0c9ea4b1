"""Checks of the landing folder, its archive and its quarantine: what a load does there is tried out."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shlex
import stat
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

from loader import landing as landing_folder
from loader.landing import ARCHIVE, QUARANTINE, LandingFile
from loader.operate.checks_program import Check, Host
from loader.operate.findings import Finding, fail, megabytes, ok, warn, worst
from loader.scratch import sync_folder

_SHOWN = 3
# Not `.load-`: a loader that starts removes those from quarantine.
_PROBE = ".loader-doctor-"


class _Failed(Exception):
    """Raised when a step of a trial fails."""

    def __init__(self, doing: str, path: Path, error: OSError) -> None:
        super().__init__(f"can't {doing}: {error.strerror}")
        self.path, self.error = path, error


def landing(host: Host) -> Finding:
    """The landing folder is there, can be listed and written to."""
    folder = host.settings.landing
    if not folder.exists():
        return fail(f"landing folder {folder}: there is none", f"mkdir -p {shlex.quote(str(folder))}")
    if not folder.is_dir():
        return fail(f"landing folder {folder} is no folder", "name another one with --landing or LOADER_LANDING")
    try:
        os.listdir(folder)  # noqa: PTH208 # only whether it can be done
    except OSError as error:
        return fail(f"landing folder {folder}: can't list it: {error.strerror}", _remedy(folder, error))
    return _tried(folder, folder, "write, read, rename and delete")


def archive(host: Host) -> Finding:
    """A loaded file can move to the archive."""
    folder = host.settings.landing / ARCHIVE
    today = folder / datetime.now(UTC).date().isoformat()
    return _tried(host.settings.landing, today if today.exists() else folder, "files can move there")


def quarantine(host: Host) -> Finding:
    """Rejects can be written, and a refused file can move to quarantine."""
    return _tried(host.settings.landing, host.settings.landing / QUARANTINE, "files can be written and move there")


def one_file_system(host: Host) -> Finding:
    """A move to archive or quarantine is a rename."""
    folder = host.settings.landing
    device = folder.stat().st_dev
    found = [
        fail(
            f"{path} is on another file system than {folder}: no file can be renamed to it, each stays in landing",
            f"make {path} a plain folder of {folder}'s own file system, or name another landing folder",
        )
        for path in (folder / ARCHIVE, *sorted(folder.glob(f"{ARCHIVE}/*"))[-1:], folder / QUARANTINE)
        if path.is_dir() and path.stat().st_dev != device
    ]
    return worst(found[:1], "landing, archive and quarantine are on one file system")


def waiting_files(host: Host) -> Finding:
    """The files that wait can be read and moved, and their times lie in the past."""
    folder = host.settings.landing
    files = ready(host)
    found = []
    locked = [file for file in files if not os.access(file.path, os.R_OK)]
    if locked:
        found.append(
            fail(
                f"{_files(locked)} can't be read by this account and will stay",
                f"sudo setfacl -m u:{os.geteuid()}:r {shlex.join(str(file.path) for file in locked[:_SHOWN])}",
            )
        )
    if held := _held_by_sticky_bit(folder, files):
        found.append(
            fail(
                f"{_files(held)} belong to others, and {folder} has the sticky bit: "
                "they can be loaded, but not moved to the archive",
                f"chmod -t {shlex.quote(str(folder))}",
            )
        )
    now = datetime.now(UTC).timestamp()
    future = [file for file in files if file.mtime_ns / 1e9 > now + 1]
    if future:
        found.append(
            warn(
                f"{_files(future)} have a modification time in the future: each run waits the settle time for them, "
                "and they count as the newest; is the producer's clock wrong?",
                f"touch {shlex.join(str(file.path) for file in future[:_SHOWN])}",
            )
        )
    return worst(found, f"{len(files)} files wait, {megabytes(sum(file.size for file in files))}")


def ready(host: Host) -> list[LandingFile]:
    """Return the files that wait in landing, without waiting for the young ones."""
    return landing_folder.discover(host.settings.landing, settle=0, recursive=host.settings.recursive)


def _held_by_sticky_bit(folder: Path, files: list[LandingFile]) -> list[LandingFile]:
    place = folder.stat()
    me = os.geteuid()
    if not place.st_mode & stat.S_ISVTX or me in (0, place.st_uid):
        return []
    held = []
    for file in files:
        with suppress(OSError):
            if file.path.parent == folder and file.path.lstat().st_uid != me:
                held.append(file)
    return held


def _files(files: list[LandingFile]) -> str:
    names = ", ".join(file.path.name for file in files[:_SHOWN])
    return f"{len(files)} files ({names}{', ...' if len(files) > _SHOWN else ''})"


def _tried(landing: Path, folder: Path, achieved: str) -> Finding:
    try:
        _try_out(landing, folder)
    except _Failed as failed:
        return fail(f"{folder}: {failed}", _remedy(failed.path, failed.error))
    return ok(f"{folder}: {achieved}")


def _try_out(landing: Path, folder: Path) -> None:
    """Do with a file of our own what a load does with others; leave nothing behind.

    Raises:
        _Failed: a step can't be done.
    """
    mark = f"{_PROBE}{secrets.token_hex(8)}"
    probe, moved = landing / mark, folder / f"{mark}-moved"
    with ExitStack() as stack:
        if not folder.exists():
            # The first load makes it; here one of another name, since a check changes nothing.
            trial = landing / f"{mark}-folder"
            _step("make a folder", landing, trial.mkdir)
            stack.callback(_quietly, trial.rmdir)
            folder, moved = trial, trial / moved.name
        for path in (probe, moved):
            stack.callback(_quietly, path.unlink)
        _step("write a file", landing, lambda: _write(probe))
        _step("read a file", landing, probe.read_bytes)
        _step("move a file there", folder, lambda: probe.rename(moved))
        _step("make a name durable", folder, lambda: sync_folder(folder))
        _step("delete a file", folder, moved.unlink)


def _step(doing: str, path: Path, action: Callable[[], object]) -> None:
    try:
        action()
    except OSError as error:
        raise _Failed(doing, path, error) from error


def _write(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as in a load's scratch folder
        file.write(b"loader doctor\n")
        file.flush()
        os.fsync(descriptor)


def _quietly(action: Callable[[], object]) -> None:
    with suppress(OSError):
        action()


def _remedy(path: Path, error: OSError) -> str:
    place = shlex.quote(str(path))
    if error.errno == errno.EROFS:
        return f'sudo mount -o remount,rw "$(findmnt -n -o TARGET -T {place})"'
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"make room: df -h {place}; df -i {place}"
    if error.errno == errno.EXDEV:
        return "make archive and quarantine plain folders of the landing folder's own file system"
    if error.errno in (errno.EACCES, errno.EPERM):
        with suppress(OSError):
            if path.stat().st_uid == os.geteuid():
                return f"chmod u+rwx {place}"
        return f"sudo setfacl -m u:{os.geteuid()}:rwx {place}"
    return f"ls -ld {place}; df {place}"


CHECKS: list[Check] = [landing, archive, quarantine, one_file_system, waiting_files]
