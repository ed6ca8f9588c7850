"""What is asked again, and what is asked once: refused objects, verdicts that wait, odd keys, a thousand objects."""

import json
import sys

import pytest

from tasks.common.rows import read_jsonl, write_jsonl
from tests.support.intake_project import DRIVER, demonstration, lines, make_project
from tests.support.s3_servers import Proxy, moto, rclone  # noqa: F401

pytestmark = pytest.mark.services
POLICY = "0123456789abcdef"
BEATEN_ONCE = DRIVER.replace(  # somebody moves plumb/data when we are about to, the first time
    "if name ==",
    """if name == "committed":
        __import__("subprocess").run(["git", "push", "-q", "origin", "HEAD:refs/heads/plumb/data"], check=True)
    if name ==""",
)


def started(server, place, objects: dict[str, bytes], **intake):
    bucket = server.bucket()
    server.put(bucket, {f"in/{key}": content for key, content in objects.items()})
    return make_project(place, server, f"s3://{bucket}/in", **intake)


def entries(project) -> list[dict]:
    text = project.files()["data/items.intake/objects.jsonl"]
    return [line for line in map(json.loads, filter(None, text.split("\n"))) if line["type"] == "object"]


def change(project, **intake) -> None:
    params = (project.folder / "params.yaml").read_text()
    for key, value in intake.items():
        line = next(line for line in params.splitlines() if line.startswith(f"  {key}: "))
        params = params.replace(line, f"  {key}: {value}")
    (project.folder / "params.yaml").write_text(params)


def taken(project) -> tuple[int, int]:
    """(good, objects) of one more intake."""
    known, answer = len(entries(project)) if project.line() else 0, project.intake()
    assert answer.returncode == 0, answer.stderr
    new = entries(project)[known:]
    return sum(entry["good"] for entry in new), len(new)


MANY = {"demonstrations/many.jsonl": lines(*map(demonstration, range(1, 5))),
        "demonstrations/long.jsonl": lines(demonstration(7), {**demonstration(8), "note": "x" * 400})}


def test_what_params_refused_is_asked_again_when_they_change_and_never_otherwise(moto, tmp_path):
    project = started(moto, tmp_path, MANY, max_object_rows=3, max_row_characters=200)
    assert taken(project) == (1, 2)
    assert [entry["by"] for entry in entries(project)] == [
        {"intake.max_row_characters": 200}, {"intake.max_object_rows": 3}]
    bucket = project.inbox.split("/")[2]
    moto.put(bucket, {f"in/{key}": content for key, content in MANY.items()})
    change(project, max_total_mb=500.0, attempts=4)
    assert taken(project) == (0, 0), "stored again under the same params"
    change(project, max_object_rows=4)
    assert taken(project) == (4, 1)
    change(project, max_row_characters=1000)
    assert taken(project) == (1, 1), "the row that was too long; the other is here already"
    assert taken(project) == (0, 0)
    assert project.pulled()["demonstrations.jsonl"].count(b"\n") == 1 + 6


def test_a_limit_of_bytes_is_asked_again_without_a_read_before(moto, tmp_path):
    objects = {"demonstrations/many.jsonl": MANY["demonstrations/many.jsonl"]}
    project = started(moto, tmp_path, objects, max_object_mb=0.0001)
    with Proxy(project.server) as proxy:
        project.server = proxy.server
        assert taken(project) == (0, 1) and not reads(proxy)
        change(project, max_object_mb=1.0)
        assert taken(project) == (4, 1) and reads(proxy) == 1


def test_a_verdict_waits_for_its_prompt(moto, tmp_path):
    """It came first; other news do not ask it again, its prompt does, and then it is known."""
    said = {"prompt_id": "p-late", "first": "p-late#0", "second": "p-late#1", "policy": POLICY, "annotator": "ann",
            "verdict": "first"}
    project = started(moto, tmp_path, {"verdicts/v.jsonl": lines(said, {**said, "annotator": "bob"}, {"x": 1})})
    assert taken(project) == (0, 1) and taken(project) == (0, 0)
    moto.put(project.inbox.split("/")[2], {"in/demonstrations/a.jsonl": lines(demonstration(1))})
    assert taken(project) == (1, 1), "only the demonstration"
    data = project.folder / "data" / "items"
    project.do("git", "checkout", "origin/plumb/data", "--", "data")
    project.do("dvc", "pull", "-q")
    late = {"id": "p-late", "split": "compare", "prompt": "What do hedgehogs eat in winter?"}
    prompts = [*read_jsonl(data / "prompts.jsonl"), late]
    (data / "prompts.jsonl").unlink()
    write_jsonl(data / "prompts.jsonl", prompts)
    project.do("dvc", "add", "-q", "data/items")
    project.do("dvc", "push", "-q")
    project.do("git", "commit", "-qam", "a prompt")
    assert taken(project) == (2, 1) and taken(project) == (0, 0)
    assert entries(project)[-1]["quarantined"] == 1
    verdicts = [json.loads(line) for line in project.pulled()["verdicts.jsonl"].splitlines()]
    assert sorted((row["annotator"], row["prompt_id"]) for row in verdicts) == [("ann", "p-late"), ("bob", "p-late")]


SEPARATORS = ("\n", "\r", "\x85", "\u2028", "\u2029", "\x0c", "\x0b", "\x1e")


def test_keys_may_hold_line_separators(rclone, tmp_path):
    """Each is taken in once, named on one line, and its rows and the ledger can be read."""
    objects = {f"demonstrations/a{sign}{i}.jsonl": lines(demonstration(i)) for i, sign in enumerate(SEPARATORS, 1)}
    project = started(rclone, tmp_path, objects)
    answer = project.intake(COLUMNS="200")
    assert answer.returncode == 0, answer.stderr
    assert not any(sign in answer.stdout for sign in SEPARATORS[1:])
    assert "demonstrations/a\\n1.jsonl" in answer.stdout and "demonstrations/a\\u20284.jsonl" in answer.stdout
    assert {entry["key"] for entry in entries(project)} == {f"in/{key}" for key in objects}
    assert sum(entry["good"] for entry in entries(project)) == len(objects) and taken(project) == (0, 0)
    rows = [json.loads(line) for line in project.pulled()["demonstrations.jsonl"].decode().split("\n") if line]
    assert len(rows) == 1 + len(objects) and all(row.get("origin", "").isprintable() for row in rows)


def reads(proxy: Proxy) -> int:
    return sum(one.method == "GET" and "/in/" in one.path for one in proxy.seen)


def test_a_thousand_small_objects_are_listed_by_the_page_and_read_once(moto, tmp_path):
    """1,001 objects are two pages; another intake is first in between, and what was read is not read again."""
    objects = {f"demonstrations/{i:04}.jsonl": lines(demonstration(i)) for i in range(1, 1002)}
    project = started(moto, tmp_path, objects)
    bucket = project.inbox.split("/")[2]
    with Proxy(project.server) as proxy:
        project.server = proxy.server
        answer = project.run([sys.executable, "-c", BEATEN_ONCE, "none"])
        assert answer.returncode == 0, answer.stderr
        assert reads(proxy) == len(objects)
        assert answer.stdout.count("another was first") == 1
        asked = [one for one in proxy.seen if one.path == f"/{bucket}" and one.method == "GET"]
        assert len(asked) == 2 * answer.stdout.split("\n").count("listed") == 4
        assert len(proxy.seen) == reads(proxy) + len(asked), "nothing else is asked of the inbox"
        proxy.seen.clear()
        assert taken(project) == (0, 0) and reads(proxy) == 0 and len(proxy.seen) == 2
    assert len(entries(project)) == len(objects)
