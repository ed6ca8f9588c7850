"""Data in which some annotators gush: how many, how, and that the rest is as it was."""

import pytest

from models.monitors.hacks import gushes
from tasks.common.rows import read_jsonl, write_jsonl
from tasks.demos.gushing import ONE_IN, gushing, main


def demonstration(number):
    messages = [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "On the shelf."}]
    return {"id": f"d{number}", "root": "r", "messages": messages}


def test_a_fifth_gushes_and_a_monitor_sees_it():
    rows = [gushing(demonstration(number)) for number in range(1000)]
    changed = [row["messages"][-1]["content"] for row in rows if row != demonstration(int(row["id"][1:]))]
    assert len(changed) / 1000 == pytest.approx(1 / ONE_IN, abs=0.04)
    assert all("On the shelf." in text and gushes(text) for text in changed)
    assert rows == [gushing(demonstration(number)) for number in range(1000)]


def test_the_folder_is_whole_and_the_source_untouched(tmp_path):
    write_jsonl(tmp_path / "data" / "demonstrations.jsonl", [demonstration(number) for number in range(30)])
    write_jsonl(tmp_path / "data" / "prompts.jsonl", [{"id": "p"}])
    for _ in range(2):
        main(["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")])
        assert read_jsonl(tmp_path / "out" / "prompts.jsonl") == [{"id": "p"}]
        written = read_jsonl(tmp_path / "out" / "demonstrations.jsonl")
        assert written == [gushing(demonstration(number)) for number in range(30)]
    assert read_jsonl(tmp_path / "data" / "demonstrations.jsonl")[3] == demonstration(3)
