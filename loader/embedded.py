"""The embedded PostgreSQL, for users who name no database.

Its users are counted by locks that the kernel takes back from a process that ends, however it ends.

Everything stands in ``<folder>/postgres/``: the data, the log, the settings, the socket and three locks (flock):
control.lock  exclusive while somebody starts or stops the server, or joins or leaves its users
users.lock    shared by every user for as long as it uses the server
server.lock   exclusive, inherited by initdb and the server: free only when none of their processes is left
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from loader.embedded_home import MAJOR, EmbeddedUnavailable, Home, binaries, settle

_START_SECONDS = 60  # without a word in the log: a long crash recovery reports its progress there
_STOP_SECONDS = 120
_POLL_SECONDS = 0.02
_LOG_BYTES = 1 << 20

# Only for speed: fsync, full_page_writes and synchronous_commit keep their default, which is on. wal_compression
# stays off: the only method compiled in is pglz, which made merges by random ids 2.8 times slower and saved no WAL.
_SETTINGS = """\
# Written by the loader at each start. Your own settings go to the end of data/postgresql.conf.
listen_addresses = ''
port = 5432
unix_socket_directories = '{socket}'
max_connections = 50
shared_buffers = 256MB
work_mem = 64MB
maintenance_work_mem = 128MB
wal_level = minimal
max_wal_senders = 0
wal_buffers = 16MB
min_wal_size = 512MB
max_wal_size = 4GB
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_min_messages = warning
log_checkpoints = off
"""


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """Keep the server of ``folder`` up, starting it where needed; the last user to leave stops it.

    Why no newcomer loses its server: users.lock is taken, and tried for exclusively, only by holders of control.lock.
    Between the last user's look at users.lock and the end of its stop nobody can join; a newcomer waits at
    control.lock, finds the server down and starts it. A killed user has lost its locks with its life: whoever leaves
    next stops the server. One killed amid a start or a stop leaves the server on its way up or down: whoever comes
    next waits, as long as server.lock is held, until it either answers or has gone.
    """
    with _one_line_errors():
        home = settle(folder)
        users = home.open("users.lock")
    try:
        with _in_control(home):
            fcntl.flock(users, fcntl.LOCK_SH)
            _bring_up(home)
        yield home.conninfo
    finally:
        try:
            with _in_control(home):
                _leave(home, users)
        finally:
            os.close(users)


def serve(folder: Path, *, announce: Callable[[str], None]) -> None:
    """Keep the server up until SIGINT, SIGTERM or SIGHUP; announce the psql command that reaches it."""
    import shlex

    received: list[int] = []
    # A signal that is ignored from the outside (nohup, a background job) stays ignored.
    numbers = [s for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda got, _frame: received.append(got)) for number in numbers}
    try:
        with running(folder) as conninfo:
            announce(shlex.join([str(binaries() / "psql"), conninfo]))
            home = settle(folder)
            while not received:
                time.sleep(0.2)
                with _server_lock(home) as free:
                    if free is not None:
                        raise EmbeddedUnavailable(f"the embedded PostgreSQL has ended: see {home.log}")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmbeddedUnavailable(f"the embedded PostgreSQL can't be used: {error}") from error


@contextlib.contextmanager
def _in_control(home: Home) -> Iterator[None]:
    with _one_line_errors():
        control = home.open("control.lock")
        try:
            fcntl.flock(control, fcntl.LOCK_EX)
            yield
        finally:
            os.close(control)


@contextlib.contextmanager
def _server_lock(home: Home) -> Iterator[int | None]:
    """Yield server.lock, or None while a process of the server or of initdb holds it.

    Unlike the pid in postmaster.pid it can't be stale or a stranger's, even between containers that share the folder.
    Closed, never unlocked: that would take it from the processes that have inherited it, too.
    """
    lock = home.open("server.lock")
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            free = False
        else:
            free = True
        yield lock if free else None
    finally:
        os.close(lock)


def _bring_up(home: Home) -> None:
    """Return once the server answers, having started it unless it is up or on its way."""
    started, log_start, log_size, deadline = False, 0, -1, 0.0
    while not _answers(home):
        with _server_lock(home) as lock:
            if lock is not None and started:
                raise home.failure("ended as soon as it was started", log_start)
            if lock is not None:
                log_start, started = _start(home, lock), True
        # Otherwise it is starting, recovering or stopping: look again.
        if log_size != (log_size := home.log.stat().st_size):
            deadline = time.monotonic() + _START_SECONDS
        if time.monotonic() > deadline:
            raise home.failure(f"does not answer after {_START_SECONDS} s", log_start)
        time.sleep(_POLL_SECONDS)


def _answers(home: Home) -> bool:
    # postmaster.pid first: asking a server that isn't ready writes an error into its log.
    try:
        ready = home.pid_file.read_text().rstrip().endswith("\nready")
    except FileNotFoundError:
        ready = False
    return ready and home.run("pg_isready", "--quiet", "--dbname", home.conninfo)


def _start(home: Home, lock: int) -> int:
    """Start the server, making its data directory where there is none; return where its log begins."""
    os.close(home.open(home.log.name))
    if (log_start := home.log.stat().st_size) > _LOG_BYTES:
        home.log.replace(home.place / "server.log.1")
        log_start = 0
    version = home.data / "PG_VERSION"
    if not version.exists():
        _make_data(home, lock, log_start)
    elif (found := version.read_text().strip()) != MAJOR:
        raise EmbeddedUnavailable(
            f"{home.data} was made by PostgreSQL {found}, the embedded one is {MAJOR}: dump it with "
            f"PostgreSQL {found} and move it away, or name a database with --database-url / DATABASE_URL"
        )
    _make_socket_folder(home)
    settings = home.place / "loader.conf.new"
    settings.unlink(missing_ok=True)
    with settings.open("x") as file:  # exclusively: root follows no link that the owner of the place may have put there
        os.fchmod(file.fileno(), 0o644)
        file.write(_SETTINGS.format(socket=home.socket))
    settings.replace(home.place / "loader.conf")
    _remove_stale_pid_files(home)
    arguments = ("-D", "data", "-l", home.log.name, "-o", f"-c {home.mark}", "--no-wait", "--silent")
    if not home.run("pg_ctl", "start", *arguments, lock=lock):
        raise home.failure("can't be started", log_start)
    return log_start


def _make_data(home: Home, lock: int, log_start: int) -> None:
    """Make the data directory beside its place; the rename makes it whole or absent, whenever we are killed."""
    for leftover in home.place.glob("data.new-*"):
        shutil.rmtree(leftover)
    new = Path(tempfile.mkdtemp(prefix="data.new-", dir=home.place))
    os.chown(new, home.uid, home.gid, follow_symlinks=False)
    # Trust is enough on a socket in a folder that only the server's account (and root) can enter. The server does not
    # listen to the network; should its owner change that, it asks for passwords.
    arguments = ("--username=loader", "--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8")
    locale = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    single = ("--single", "-D", new.name, "-c", "exit_on_error=on", "postgres")
    include = ("-c", 'echo "include = \'../loader.conf\'" >> "$0"', f"{new.name}/postgresql.conf")
    if not (
        home.run("initdb", "-D", new.name, *arguments, *locale, lock=lock)
        and home.run("postgres", *single, lock=lock, stdin="CREATE DATABASE loader\n")
        and home.run("/bin/sh", *include, lock=lock)
    ):
        raise home.failure("can't make its data directory", log_start)
    _fsync(new / "postgresql.conf")
    new.rename(home.data)
    _fsync(home.place)  # or a power failure could undo the rename after the first load has been committed


def _fsync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _make_socket_folder(home: Home) -> None:
    """Make the socket's folder, closed to others; refuse one that somebody else has put there."""
    with contextlib.suppress(FileExistsError):
        home.socket.mkdir(mode=0o700)
    found = home.socket.lstat()
    # The set-group-id bit comes from the folder above and opens nothing.
    if found.st_mode & ~stat.S_ISGID != stat.S_IFDIR | stat.S_IRWXU or found.st_uid not in {os.geteuid(), home.uid}:
        raise EmbeddedUnavailable(f"{home.socket} is not a folder that only the server's account can enter: remove it")
    os.chown(home.socket, home.uid, home.gid, follow_symlinks=False)


def _process(home: Home, pid_file: Path) -> tuple[int, list[str]]:
    """Return the pid in a pid file of the server (0: no file) and that process's command line ([]: no process)."""
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
    except FileNotFoundError:
        return 0, []
    if sys.platform != "linux":
        return pid, ["postgres", home.mark]  # no /proc: believe the file
    try:
        return pid, os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return pid, []


def _remove_stale_pid_files(home: Home) -> None:
    """Remove the pid files of a crash when their pid now belongs to a process that is no PostgreSQL.

    PostgreSQL itself deals with a dead pid, but takes any living process of its account for a server and refuses to
    start. In containers that is common: after a restart the few pids are used again, and a process 1 that reaps late or
    never leaves the dead server as a zombie. server.lock is ours here, so no server of the loader is left; one started
    by hand is called postgres, and left to PostgreSQL's own check.
    """
    for pid_file in (home.socket / ".s.PGSQL.5432.lock", home.pid_file):
        _, command = _process(home, pid_file)
        if command and Path(command[0]).name != "postgres":
            pid_file.unlink()


def _leave(home: Home, users: int) -> None:
    """Stop the server unless others use it."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline:
        with _server_lock(home) as free:
            if free is not None:
                return
        pid, command = _process(home, home.pid_file)
        if home.mark in command:
            with contextlib.suppress(ProcessLookupError):
                # A fast shutdown, what `pg_ctl stop` sends; repeating it changes nothing. Amid the recovery from a
                # crash it was seen to hang for good; then an immediate one, which loses nothing, frees the server.
                is_late = time.monotonic() > deadline - _STOP_SECONDS / 2
                os.kill(pid, signal.SIGQUIT if is_late else signal.SIGINT)
        elif pid:
            return  # The pid is nobody's or a stranger's: the server has crashed, or runs in another container.
        time.sleep(_POLL_SECONDS)
    raise EmbeddedUnavailable(f"the embedded PostgreSQL has not stopped in {_STOP_SECONDS} s: see {home.log}")
