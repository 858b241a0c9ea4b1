"""Checks of this machine: its file systems, its clock, its limits."""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from loader.landing import ARCHIVE, QUARANTINE
from loader.operate.checks_folder import ready
from loader.operate.checks_program import Check, Host
from loader.operate.findings import Finding, fail, megabytes, note, ok, warn

_NETWORK = re.compile(
    r"nfs4?|cifs|smb\w*|9p|afs|ceph|lustre|gpfs|beegfs\w*|gfs2|ocfs2|glusterfs|virtiofs|drvfs|vboxsf|prl_fs|davfs"
    r"|fuse\.(?!fuseblk|ntfs|overlay|bindfs|mergerfs|portal).+"
)
_IN_MEMORY = ("tmpfs", "ramfs")
_LITTLE_ROOM = 1_000_000_000
_NO_ROOM = 100_000_000
_SPILLED = 400_000_000  # at most, by each job
_CLOCK_SECONDS = 2.0
_FEW_INSTANCES = 128
_INOTIFY = Path("/proc/sys/fs/inotify")


class Mount(NamedTuple):
    """A mounted file system."""

    point: Path
    kind: str
    options: tuple[str, ...]


def mounts(table: str) -> list[Mount]:
    """Parse what /proc/self/mounts says; blanks and the like are spelled as octal numbers there."""
    fields = [line.split(" ") for line in table.splitlines()]
    return [
        Mount(
            Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), line[1])),
            line[2],
            tuple(line[3].split(",")),
        )
        for line in fields
        if len(line) > 3  # noqa: PLR2004
    ]


def mount_of(path: Path, known: list[Mount]) -> Mount | None:
    """Return the file system that `path` is on: of those mounted above it the deepest, and there the last."""
    path = path.resolve()
    above = [mount for mount in known if mount.point == path or mount.point in path.parents]
    return max(reversed(above), key=lambda mount: len(mount.point.parts), default=None)


def file_system(host: Host) -> Finding:
    """The landing folder is on a disk of this machine."""
    folder = host.settings.landing
    try:
        # A path need not be UTF-8.
        known = mounts(Path("/proc/self/mounts").read_text(errors="surrogateescape"))
    except OSError:
        return note("which file system the landing folder is on can't be known on this platform")
    mount = mount_of(folder, known)
    if mount is None:
        return note(f"no mounted file system is known to hold {folder}")
    if _NETWORK.fullmatch(mount.kind):
        return warn(
            f"{folder} is on a network file system ({mount.kind} at {mount.point}): no file events come from other "
            "hosts, times are those of its server's clock, and a rename or lock may be seen late",
            "loader watch --poll   # or loader run from cron; let producers write under a temporary name and rename",
        )
    if mount.kind in _IN_MEMORY:
        return warn(
            f"{folder} is in memory ({mount.kind} at {mount.point}): "
            "what is in landing, archive and quarantine is gone after a restart",
            "name a landing folder on a disk with --landing or LOADER_LANDING",
        )
    return ok(f"{folder} is on {mount.kind} at {mount.point}")


def free_space(host: Host) -> Finding:
    """There is room for quarantine."""
    folder = host.settings.landing
    usage = shutil.disk_usage(folder)
    place = shlex.quote(str(folder))
    if (inodes := os.statvfs(folder)).f_files and not inodes.f_favail:
        return fail(f"{folder}: no more files can be made, the file system is out of inodes", f"df -i {place}")
    waiting = sum(file.size for file in ready(host))
    room = f"{folder}: {megabytes(usage.free)} free, {megabytes(waiting)} waiting"
    if usage.free < _NO_ROOM:
        return fail(f"{room}: rejects can't be kept, and without that nothing of their file is loaded", _prune(place))
    # If every row of a file is rejected, quarantine takes as much as the file, and what is said of each row.
    if usage.free < max(_LITTLE_ROOM, 2 * waiting):
        return warn(f"{room}: rejects may not fit", _prune(place))
    return ok(room)


def temporary_space(host: Host) -> Finding:
    """There is room for rows that wait."""
    from loader import spill  # heavy

    folder = spill.folder()
    due = host.settings.jobs * _SPILLED
    slower = "rows of a large file wait in memory, and loading them into a large table takes longer"
    try:
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        return warn(f"{folder}: no temporary file can be made ({error.strerror}): {slower}", "export TMPDIR=/var/tmp")
    if free < due:
        return warn(
            f"{folder}: {megabytes(free)} free, {megabytes(due)} may be needed: {slower}",
            f"df -h {shlex.quote(folder)}   # or name another folder in TMPDIR",
        )
    return ok(f"{folder}: {megabytes(free)} free")


def file_clock(host: Host) -> Finding:
    """The file system tells the same time as this machine: whether a file is still in use is told by its time."""
    folder = host.settings.landing
    before = time.time()
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".loader-doctor-") as probe:
        stamped = os.fstat(probe.fileno()).st_mtime
    after = time.time()
    # Its times may be cut to whole seconds, or two.
    apart = max(before - _CLOCK_SECONDS - stamped, stamped - after, 0.0)
    if apart > _CLOCK_SECONDS:
        return warn(
            f"the file system of {folder} and this machine are {apart:,.0f} s apart: "
            "files settle too early or too late by as much",
            "timedatectl set-ntp true",
        )
    return ok("the file system and this machine tell the same time")


def inotify(host: Host) -> Finding:
    """There is room for a watch on each folder (Linux)."""
    if sys.platform != "linux" or not _INOTIFY.is_dir():
        return ok("no inotify on this platform")
    watches, instances = (int((_INOTIFY / name).read_text()) for name in ("max_user_watches", "max_user_instances"))
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = library.inotify_init1(os.O_CLOEXEC)
    if descriptor < 0:
        return warn(
            f"no more inotify instance can be had ({os.strerror(ctypes.get_errno())}; at most {instances} for each "
            "account): files are only found by looking again and again",
            _sysctl("max_user_instances", max(512, 2 * instances)),
        )
    os.close(descriptor)
    due = _folders(host.settings.landing) if host.settings.recursive else 1
    if due * 2 > watches:
        return warn(
            f"{due:,} folders are to be watched, and each account has {watches:,} inotify watches for all its programs",
            _sysctl("max_user_watches", max(524_288, due * 4)),
        )
    if instances < _FEW_INSTANCES:
        return note(f"each account has only {instances} inotify instances", _sysctl("max_user_instances", 512))
    return ok(f"{watches:,} inotify watches and {instances:,} instances for each account")


def _folders(landing: Path) -> int:
    ours = {landing / ARCHIVE, landing / QUARANTINE}
    count = 0
    for place, below, _ in os.walk(landing):
        below[:] = [name for name in below if not name.startswith(".") and Path(place, name) not in ours]
        count += 1
    return count


def _prune(place: str) -> str:
    return f"df -h {place}; loader prune --landing {place} --archive-days 30 --quarantine-days 90"


def _sysctl(name: str, value: int) -> str:
    return f"echo fs.inotify.{name}={value} | sudo tee -a /etc/sysctl.d/60-loader.conf && sudo sysctl --system"


CHECKS: list[Check] = [file_system, free_space, temporary_space, file_clock, inotify]
