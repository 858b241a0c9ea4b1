"""`on_failure`: who is called, when, with what; and that a hook can change nothing."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from loader import cli
from loader.errors import UsageError
from loader.settings import read
from tests.support import Load, Query, event, write_ndjson

DOWN = "postgresql://me:hunter2@127.0.0.1:1/db"
SECRET = "T0KEN"
HOSTILE = "evil\n\x1b[31m\u202e\udcff$(touch x);`id`.ndjson"


@pytest.fixture
def told(tmp_path: Path) -> Callable[[], list[tuple[str, dict[str, Any]]]]:
    """What the hook of `script` was given, a pair of text and report for each call."""

    def calls() -> list[tuple[str, dict[str, Any]]]:
        file = tmp_path / "told"
        return [tuple(json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []

    return calls


@pytest.fixture
def script(tmp_path: Path) -> list[str]:
    """A hook that writes down what it is given."""
    path = tmp_path / "hook.py"
    path.write_text(
        "import json, os, sys\n"
        "print('to stdout')\n"
        f"with open({str(tmp_path / 'told')!r}, 'a') as file:\n"
        "    report = json.load(sys.stdin)\n"
        "    report['environment'] = dict(os.environ)\n"
        "    print(json.dumps([os.environ['LOADER_FAILURE'], report]), file=file)\n"
    )
    return [sys.executable, str(path)]


class Webhook(ThreadingHTTPServer):
    """A server on this machine that answers as told, and keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.headers: dict[str, str] = {}
        self.received: list[tuple[str, dict[str, str], Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/services/{SECRET}"


class _Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, dict(self.headers), json.loads(body)))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self) -> None:
        self.server.received.append((self.path, dict(self.headers), None))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Webhook() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run(landing: Path, hook: str | list[str], *arguments: str, conninfo: str = DOWN) -> int:
    where = ["--landing", str(landing), "--database-url", conninfo]
    command = hook if isinstance(hook, str) else shlex.join(hook)
    return cli.main(["run", "--quiet", "--settle", "0", *where, "--on-failure", command, *arguments])


def test_a_database_that_is_down_is_told_to_the_command(
    landing: Path, script: list[str], told: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_ndjson(landing / "a.ndjson", event())
    assert run(landing, script, "--json") == 1
    captured = capfd.readouterr()
    assert json.loads(captured.out)["exit_code"] == 1, "and nothing of the hook's is in it"
    ((text, report),) = told()
    assert text.startswith("loader run: exit code 1: can't connect to database 'db' on 127.0.0.1")
    assert report["text"] == text
    assert report["error"].startswith("can't connect")
    assert (report["exit_code"], report["files"], report["landing"]) == (1, [], str(landing))
    assert captured.err.count("\n") == 1, "the hook's success is no news"
    assert path.exists()


def test_a_process_of_its_own_calls_the_hook_of_its_environment(
    landing: Path, tmp_path: Path, script: list[str], told: Any
) -> None:
    write_ndjson(landing / "a.ndjson", event())
    command = [sys.executable, "-m", "loader", "run", "--quiet", "--json", "--settle", "0", "--landing", str(landing)]
    environment = os.environ | {"DATABASE_URL": DOWN, "LOADER_ON_FAILURE": shlex.join(script)}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    ((_, report),) = told()
    printed = json.loads(done.stdout)
    assert (report["error"], report["files"]) == (printed["error"], printed["files"])
    assert done.stderr.count("\n") == 1


def test_a_refused_file_is_told_with_the_report(load: Load, landing: Path, script: list[str], told: Any) -> None:
    (landing / "a.parquet").write_bytes(b"no Parquet")
    write_ndjson(landing / "b.ndjson", event())
    code, printed = load("--on-failure", shlex.join(script))
    assert code == 1
    ((text, report),) = told()
    assert text.startswith("loader run: exit code 1: a.parquet: refused: wrong_extension: ")
    assert report["files"] == printed["files"]
    assert report["inserted"] == 1


def test_rejected_rows_are_told_only_on_demand(load: Load, landing: Path, script: list[str], told: Any) -> None:
    write_ndjson(landing / "a.ndjson", event(), "{")
    assert load("--on-failure", shlex.join(script))[0] == 3
    assert told() == []
    write_ndjson(landing / "b.ndjson", event(), "{", "[")
    assert load("--on-failure", shlex.join(script), "--on-failure-rows")[0] == 3
    assert [text for text, _ in told()] == ["loader run: exit code 3: 2 rows in quarantine"]


def test_success_idle_runs_and_wrong_usage_call_nobody(
    load: Load, landing: Path, tmp_path: Path, script: list[str], told: Any
) -> None:
    hook = ("--on-failure", shlex.join(script), "--on-failure-rows")
    assert load(*hook)[0] == 0
    write_ndjson(landing / "a.ndjson", event())
    assert load(*hook)[0] == 0
    assert run(tmp_path / "gone", script) == 2
    assert told() == []


def test_a_crash_is_told_and_stays_a_crash(
    landing: Path, script: list[str], told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("a defect, password=hunter2")

    monkeypatch.setattr("loader.run.run", crash)
    write_ndjson(landing / "a.ndjson", event())
    with pytest.raises(RuntimeError, match="a defect"):
        run(landing, script)
    assert [text for text, _ in told()] == [
        "loader run: exit code 1: internal error: RuntimeError: a defect, password=***"
    ]


def test_ctrl_c_calls_nobody(landing: Path, script: list[str], told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("loader.run.run", interrupt)
    write_ndjson(landing / "a.ndjson", event())
    assert run(landing, script) == 130
    assert told() == []


def test_no_password_is_sent(
    landing: Path, script: list[str], told: Any, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_URL", "LOADER_DATABASE_URL"):
        monkeypatch.setenv(name, DOWN)
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    write_ndjson(landing / "a.ndjson", event())
    assert run(landing, script) == 1
    assert run(landing, webhook.url) == 1
    assert len(told()) == len(webhook.received) == 1
    assert "hunter2" not in json.dumps([told(), webhook.received])


def test_hostile_names_reach_the_hook_as_data(load: Load, landing: Path, script: list[str], told: Any) -> None:
    (landing / (HOSTILE + ".gz")).write_bytes(b"no gzip")
    assert load("--on-failure", shlex.join(script))[0] == 1
    ((text, report),) = told()
    name = r"evil\x0a\x1b[31m\u202e\xff$(touch x);`id`.ndjson.gz"
    assert report["files"][0]["name"] == name
    assert f"{name}: refused" in text
    assert text.isprintable()


def test_a_command_runs_without_a_shell(landing: Path, tmp_path: Path, script: list[str], told: Any) -> None:
    write_ndjson(landing / "a.ndjson", event())
    assert run(landing, f"{shlex.join(script)} ; touch {tmp_path}/made") == 1
    assert len(told()) == 1
    assert not (tmp_path / "made").exists()


def test_a_list_in_the_settings_file_is_a_command(landing: Path, tmp_path: Path, script: list[str], told: Any) -> None:
    write_ndjson(landing / "a.ndjson", event())
    config = tmp_path / "settings.toml"
    config.write_text(
        f"landing = {json.dumps(str(landing))}\ndatabase_url = {json.dumps(DOWN)}\non_failure = {json.dumps(script)}\n"
    )
    assert cli.main(["run", "--quiet", "--settle", "0", "--config", str(config)]) == 1
    assert len(told()) == 1


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        (["/nonexistent/command"], "can't run /nonexistent/command: No such file or directory"),
        (["false"], "false failed with exit code 1"),
        (["sh", "-c", "echo first >&2; echo last words >&2; exit 7"], "sh failed with exit code 7: last words"),
        (["sh", "-c", "kill -9 $$"], "sh failed with signal 9"),
        (["sh", "-c", r"printf 'bad \033[31m\377' >&2; exit 1"], r"exit code 1: bad \x1b[31m"),
    ],
)
def test_a_hook_that_fails_is_one_line_after_the_original_error(
    landing: Path, hook: list[str], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    write_ndjson(landing / "a.ndjson", event())
    assert run(landing, hook) == 1
    first, second = capfd.readouterr().err.splitlines()
    assert first.startswith("loader: can't connect")
    assert second.startswith("loader: on_failure: ")
    assert words in second


def test_a_hook_that_hangs_is_killed_with_all_that_it_started(
    landing: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_ndjson(landing / "a.ndjson", event())
    command = ["sh", "-c", f"sleep 600 & echo $! > {tmp_path}/pid; wait"]
    assert run(landing, command, "--on-failure-seconds", "1") == 1
    assert "on_failure: sh took longer than 1 s and was killed" in capfd.readouterr().err
    child = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not _is_running(child):
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    pytest.fail("a child of the hook is still there")


def _is_running(process: int) -> bool:
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
    return done.stdout.strip() not in ("", "Z")


def test_a_hook_that_fails_changes_nothing_of_what_was_loaded(load: Load, query: Query, landing: Path) -> None:
    write_ndjson(landing / "a.ndjson", event())
    (landing / "b.parquet").write_bytes(b"no Parquet")
    code, report = load("--on-failure", "false")
    assert (code, report["exit_code"], report["inserted"]) == (1, 1, 1)
    assert query("SELECT count(*) FROM events") == [(1,)]


def test_a_hook_that_does_not_read_a_large_report_is_fine(
    database: str, landing: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(600):
        (landing / f"{number}.ndjson.gz").write_bytes(b"no gzip %d" % number)
    assert run(landing, "true", "--json", conninfo=database) == 1
    captured = capfd.readouterr()
    assert len(captured.out) > 100_000
    assert "on_failure" not in captured.err


def test_a_run_that_a_hook_starts_calls_no_hook(landing: Path, tmp_path: Path) -> None:
    write_ndjson(landing / "a.ndjson", event())
    inner = [sys.executable, "-m", "loader", "run", "--landing", str(landing), "--database-url", DOWN, "--settle", "0"]
    count = ["sh", "-c", f'echo called >> {tmp_path}/calls; "$@"; true', "sh", *inner, "--on-failure"]
    hook = shlex.join([*count, shlex.join(["sh", "-c", f"echo inner >> {tmp_path}/calls"])])
    assert run(landing, hook) == 1
    assert (tmp_path / "calls").read_text() == "called\n"


def test_a_webhook_gets_the_report(landing: Path, webhook: Webhook, capsys: pytest.CaptureFixture[str]) -> None:
    write_ndjson(landing / "a.ndjson", event())
    assert run(landing, webhook.url) == 1
    ((path, headers, report),) = webhook.received
    assert path == f"/services/{SECRET}"
    assert headers["Content-Type"] == "application/json"
    assert report["exit_code"] == 1
    assert report["text"].startswith("loader run: exit code 1: can't connect")
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(("status", "words"), [(500, "answered 500"), (404, "answered 404")])
def test_a_webhook_that_refuses_is_a_line_without_its_secret(
    landing: Path, webhook: Webhook, status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    webhook.status = status
    write_ndjson(landing / "a.ndjson", event())
    assert run(landing, webhook.url) == 1
    error = capsys.readouterr().err
    assert f"loader: on_failure: 127.0.0.1:{webhook.server_address[1]} {words}" in error
    assert SECRET not in error


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_webhook_is_not_followed_elsewhere(
    landing: Path, webhook: Webhook, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    webhook.status = status
    webhook.headers = {"Location": webhook.url}
    write_ndjson(landing / "a.ndjson", event())
    assert run(landing, webhook.url) == 1
    assert len(webhook.received) == 1
    assert f"answered {status} (not followed)" in capsys.readouterr().err


@pytest.mark.parametrize("is_talking", [False, True])
def test_a_webhook_that_hangs_is_left_behind(
    landing: Path, is_talking: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silent, or byte by byte without an end."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    write_ndjson(landing / "a.ndjson", event())
    ended = threading.Event()

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while not ended.wait(0.1) and is_talking:
                connection.sendall(b"H" if connection.fileno() else b"")
            ended.wait()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/{SECRET}"
        assert run(landing, url, "--on-failure-seconds", "1") == 1
        ended.set()
        thread.join()
    assert "took longer than 1 s" in capsys.readouterr().err


def test_a_webhook_that_is_not_there_is_a_line(landing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_ndjson(landing / "a.ndjson", event())
    assert run(landing, f"http://127.0.0.1:1/{SECRET}") == 1
    error = capsys.readouterr().err
    assert "on_failure: 127.0.0.1:1 can't be reached" in error
    assert SECRET not in error


@pytest.mark.parametrize(
    "hook", ["", "   ", "a 'b", "http://", "https:///x", f"https://me:{SECRET}@h/x", f"http://h/ {SECRET}", "a\0b"]
)
def test_a_hook_that_makes_no_sense_is_wrong_usage_and_is_not_shown(hook: str) -> None:
    with pytest.raises(UsageError, match="on_failure: ") as caught:
        read({"on_failure": hook}, environment={})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "[7]", '[""]', "true", '{a = "b"}'])
def test_a_hook_of_another_type_is_wrong_usage(tmp_path: Path, text: str) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(f"on_failure = {text}\n")
    with pytest.raises(UsageError, match="on_failure: "):
        read({}, config=config, environment={})
