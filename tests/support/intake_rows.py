"""The params and rows that the tests of intake share."""

import json
from pathlib import Path

from tasks.config.data import DataConfig
from tasks.config.service import IntakeConfig
from tasks.intake.held_data import Forgotten, HeldData, Rules
from tasks.intake.inbound import parse
from tasks.intake.ledger import Entry
from tasks.intake.rows import Inbound, admit

NEAR = {"words": 3, "resemblance": 0.8, "containment": 0.9, "contained_words": 8}
INTAKE = {
    "inbox": None,
    "remote": "store",
    "verdicts": "verdicts.jsonl",
    "verdict_form": {},
    "max_object_mb": 1.0,
    "max_object_rows": 50,
    "max_total_mb": 10.0,
    "max_row_characters": 2000,
    "attempts": 3,
}
SHARES = {"sft": 0.3, "compare": 0.15, "rl": 0.2, "select": 0.1, "gate": 0.15, "preferences": 0.3, "gold": 0.0}
DATA = {
    "path": ".",
    "demonstrations": "demos.jsonl",
    "prompts": "prompts.jsonl",
    "preferences": "prefs.jsonl",
    "columns": {"demonstrations": None, "prompts": None, "preferences": None},
    "pairs": {"minimum_gap": 1.0},
    "bad_rows": "refuse",
    "max_characters": 1000,
    "near_repeats": NEAR,
    "splits": SHARES,
}
GATE_PROMPT = "Which day of the week comes right after Monday?"
PROMPTS = [
    {"id": "c", "split": "compare", "root": "cats", "prompt": "Why do cats purr?"},
    {"id": "r", "split": "rl", "root": "bread", "prompt": "How is bread made?"},
    {"id": "s", "split": "select", "root": "river", "prompt": "What is the name of the longest river?"},
    {"id": "g", "split": "gate", "root": "days", "prompt": GATE_PROMPT},
]
DEMO = {"prompt": "Say hello to my aunt", "completion": "Hello, aunt!"}
PAIR = {"prompt": "Name a colour", "chosen": "Blue.", "rejected": "No."}
POLICY = "0123456789abcdef"
VERDICT = {"prompt_id": "c", "first": "c#0", "second": "c#1", "policy": POLICY, "annotator": "ann", "verdict": "first"}
SAID = {"prompt": "Why do cats purr?", "first_text": "They are glad.", "second_text": "No.", "annotator": "ann",
        "verdict": "first"}  # fmt: skip


def intake_config(**changes) -> IntakeConfig:
    return IntakeConfig(**{**INTAKE, **changes})


def held(folder: Path, forgotten=Forgotten(), marks=frozenset(), form=(), **data) -> HeldData:
    intake = intake_config(verdict_form=dict(form))
    rules = Rules(DataConfig(**{**DATA, **data}), intake, ("instruction", "safety"), marks)
    return HeldData(folder, rules, forgotten)


def lines(*rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def taken(kind: str, *rows, into: HeldData):
    """What becomes of the rows of one object."""
    parsed = parse(f"{kind}/x.jsonl", lines(*rows), intake_config())
    (outcome,) = admit([Inbound("in/x.jsonl@v1", kind, parsed)], into, into.near_repeats)
    return outcome


ENTRY = Entry(
    "box", "in/a.jsonl", "e1", None, "2026-01-01T00:00:00Z", 7, "00", "demonstrations", "demos.jsonl", rows=1, good=1
)
