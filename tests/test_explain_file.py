"""`loader explain FILE`: how a file stands, and why."""

from __future__ import annotations

import json
import os
import shutil
import time
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest

from loader import cli
from tests.support import Ask, Load, Report, event, write_ndjson
from tests.test_status import claim

LONG_AGO = 1_600_000_000


def explained(ask: Ask, target: object, *arguments: str) -> Report:
    _, out = ask("explain", str(target), "--json", "--settle", "0", *arguments)
    found: Report = json.loads(out)
    return found


def words(ask: Ask, target: object, *arguments: str) -> str:
    _, out = ask("explain", str(target), *arguments)
    assert max(map(len, out.splitlines())) <= 80 or "/" in max(out.splitlines(), key=len)
    return " ".join(out.split())


def test_a_ready_file_says_so(landing: Path, ask: Ask) -> None:
    path = write_ndjson(landing / "a.ndjson", event())
    found = explained(ask, path)
    assert (found["status"], found["place"], found["left_alone"], found["ledger"]) == ("ready", "landing", None, [])
    assert found["sha256"] == sha256(path.read_bytes()).hexdigest()
    assert found["size"] == path.stat().st_size
    assert "ready: the next run loads it" in words(ask, path, "--settle", "0")
    assert ask("explain", str(path))[0] == 0


def test_a_name_is_looked_for_in_the_landing_folder(landing: Path, ask: Ask) -> None:
    path = write_ndjson(landing / "a.ndjson", event())
    assert explained(ask, "a.ndjson")["path"] == str(path)


def test_a_young_file_says_how_long_it_must_be_still(landing: Path, ask: Ask) -> None:
    path = write_ndjson(landing / "a.ndjson", event())
    code, out = ask("explain", str(path), "--settle", "1000", "--json")
    found = json.loads(out)
    assert (code, found["status"], found["left_alone"]["code"]) == (0, "not_ready", "settling")
    assert "changed less than 1000 s ago" in found["verdict"]
    os.utime(path, (time.time() + 5000, time.time() + 5000))
    assert explained(ask, path)["left_alone"]["code"] == "settling"


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("a.ndjson.tmp", "temporary_name", "its name ends in .tmp"),
        ("a.ndjson~", "temporary_name", "its name ends in ~"),
        (".a.ndjson", "hidden_name", "starts with a dot"),
        ("a.csv", "unknown_suffix", "its name ends in none of .ndjson, .jsonl,"),
        ("a.NDJSON", "unknown_suffix", "its name ends in none of .ndjson, .jsonl,"),
    ],
)
def test_a_name_that_is_left_alone_says_why(landing: Path, ask: Ask, name: str, code: str, reason: str) -> None:
    path = write_ndjson(landing / name, event())
    found = explained(ask, path)
    assert (found["status"], found["left_alone"]["code"]) == ("not_ready", code)
    assert reason in found["verdict"]


def test_what_is_no_regular_file_says_so(landing: Path, tmp_path: Path, ask: Ask) -> None:
    (landing / "link.ndjson").symlink_to(write_ndjson(tmp_path / "target.ndjson", event()))
    os.mkfifo(landing / "fifo.ndjson")
    link, fifo = explained(ask, landing / "link.ndjson"), explained(ask, landing / "fifo.ndjson")
    assert link["left_alone"] == {"code": "not_a_file", "reason": "it is a symlink, which is never followed"}
    assert fifo["left_alone"] == {"code": "not_a_file", "reason": "it is not a regular file"}
    assert link["sha256"] is None


def test_a_file_in_a_folder_below_says_what_finds_it(landing: Path, ask: Ask) -> None:
    (landing / "below").mkdir()
    path = write_ndjson(landing / "below" / "a.ndjson", event())
    assert explained(ask, path)["left_alone"]["code"] == "below_landing"
    assert explained(ask, path, "--recursive")["status"] == "ready"


def test_a_file_elsewhere_says_how_to_load_it(tmp_path: Path, ask: Ask) -> None:
    path = write_ndjson(tmp_path / "a.ndjson", event())
    found = explained(ask, path)
    assert (found["status"], found["place"]) == ("not_loaded", "elsewhere")


def test_a_loaded_file_is_known_by_name_by_hash_and_by_its_place_in_the_archive(
    landing: Path, load: Load, ask: Ask
) -> None:
    digest = sha256(write_ndjson(landing / "a.ndjson", event(), event(user_id=7)).read_bytes()).hexdigest()
    load()
    (archived,) = landing.glob("archive/*/*")
    (rejects,) = landing.glob("quarantine/*")
    for target in ("a.ndjson", digest, digest[:7].upper(), archived, archived.name, rejects, rejects.name):
        found = explained(ask, target)
        assert (found["status"], found["sha256"]) == ("loaded", digest), target
        assert [entry["rows_read"] for entry in found["ledger"]] == [2]
        assert found["rejects"] == [str(rejects)]
        assert found["archived"] == (None if target == archived else str(archived))
    assert "2 rows read: 1 inserted, 1 rejected reasons: 1 wrong_type" in words(ask, "a.ndjson")


def test_a_content_that_was_loaded_under_another_name_will_be_skipped(landing: Path, load: Load, ask: Ask) -> None:
    path = write_ndjson(landing / "a.ndjson", event())
    copy = shutil.copy(path, landing / "b.tmp")
    load()
    again = Path(copy).rename(landing / "b.ndjson")
    found = explained(ask, again)
    assert found["status"] == "skipped"
    assert "loaded as a.ndjson" in found["verdict"]
    assert "the next run skips this file" in found["verdict"]
    _, report = load()
    assert report["files"][0]["status"] == "skipped"


def test_the_content_decides_not_the_name(landing: Path, load: Load, ask: Ask) -> None:
    write_ndjson(landing / "a.ndjson", event())
    load()
    path = write_ndjson(landing / "a.ndjson", event())
    found = explained(ask, path)
    assert (found["status"], found["ledger"]) == ("ready", [])


def test_a_name_that_came_with_several_contents_lists_them(landing: Path, load: Load, ask: Ask) -> None:
    for _ in range(2):
        write_ndjson(landing / "a.ndjson", event())
        load()
    found = explained(ask, "a.ndjson")
    assert (found["status"], len(found["ledger"]), found["sha256"]) == ("several", 2, None)
    assert "the ledger has 2 such contents, newest first" in words(ask, "a.ndjson")


def test_a_refused_file_says_why(landing: Path, load: Load, ask: Ask) -> None:
    path = landing / "a.ndjson.gz"
    path.write_bytes(b"no gzip")
    content = path.read_bytes()
    load()
    (moved,) = landing.glob("quarantine/*.gz")
    (error,) = landing.glob("quarantine/*.error.json")
    for target in ("a.ndjson.gz", moved, moved.name, error, error.name, sha256(content).hexdigest()[:8]):
        found = explained(ask, target)
        assert found["status"] == "refused", target
        assert "wrong_extension: the name says gzip" in found["verdict"]
        assert found["refusal"]["code"] == "wrong_extension"
        assert found["refusal"]["path"] == str(error)
    path.write_bytes(content)
    assert "the next run tries it again" in explained(ask, path)["verdict"] or explained(ask, path)["problem"]


def test_a_refused_content_that_is_dropped_again_is_tried_again(landing: Path, load: Load, ask: Ask) -> None:
    path = write_ndjson(landing / "a.ndjson", event(user_id=7))
    content = path.read_bytes()
    load("--max-rejects", "0")
    path.write_bytes(content)
    found = explained(ask, path)
    assert found["status"] == "refused"
    assert "over_budget" in found["verdict"]
    assert "the next run tries it again" in found["verdict"]


def test_a_content_that_belies_its_name_would_be_refused(landing: Path, ask: Ask) -> None:
    path = write_ndjson(landing / "a.parquet", event())
    found = explained(ask, path)
    assert (found["status"], found["problem"]["code"]) == ("would_be_refused", "wrong_extension")


def test_a_file_in_hand_is_busy(landing: Path, database: str, ask: Ask) -> None:
    path = write_ndjson(landing / "a.ndjson", event())
    with psycopg.connect(database) as connection:
        claim(connection, path)
        found = explained(ask, path)
        assert found["status"] == "busy"
        assert found["in_flight"]["process"] == connection.info.backend_pid
        assert "a loader has it in hand" in words(ask, path)
    assert explained(ask, path)["status"] == "ready"


def test_a_file_in_the_archive_that_the_ledger_does_not_know_says_so(landing: Path, ask: Ask) -> None:
    folder = landing / "archive" / "2024-05-01"
    folder.mkdir(parents=True)
    path = write_ndjson(folder / "a.01234567.ndjson", event())
    found = explained(ask, path)
    assert found["status"] == "unknown"
    assert "the ledger of this database doesn't know its content" in found["verdict"]


def test_an_unknown_file_is_exit_code_1(ask: Ask) -> None:
    code, out = ask("explain", "none.ndjson")
    assert code == 1
    assert "no run has dealt with such a file" in " ".join(out.split())
    assert ask("explain", "0123abcd")[0] == 1


def test_a_folder_is_a_usage_error(landing: Path, ask: Ask) -> None:
    assert ask("explain", str(landing)) == (2, "")


def test_without_a_database_the_folders_still_tell(landing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_ndjson(landing / "a.ndjson.part", event())
    write_ndjson(landing / "b.ndjson", event())
    where = ["--landing", str(landing), "--database-url", "postgresql://127.0.0.1:1/x", "--settle", "0"]
    for name, status in (("a.ndjson.part", "not_ready"), ("b.ndjson", "ready"), ("c.ndjson", "unknown")):
        assert cli.main(["explain", name, "--json", *where]) == 1
        captured = capsys.readouterr()
        found = json.loads(captured.out)
        assert found["status"] == status
        assert "can't connect" in found["error"]
        assert captured.err.count("\n") == 1
