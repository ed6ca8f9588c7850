"""Hand-written hearth rows and configs from the project's own params.yaml, for the tests of evaluation."""

import copy
import functools

import yaml

from tasks.runner.params import stage_config
from tests.import_closure import ROOT

PARAMS = ROOT / "params.yaml"


@functools.cache
def project_params() -> dict:
    return yaml.safe_load(PARAMS.read_text(encoding="utf-8"))


def config(stage: str, **changes):
    """The stage's config in params.yaml with `changes` to its own section; `seed` and `dtype` go to runtime."""
    params = copy.deepcopy(project_params())
    params["runtime"].update({key: changes.pop(key) for key in ("seed", "dtype") if key in changes})
    params["serving"].update(changes.pop("serving", {}))
    if "waived" in changes:
        params["contracts"]["waived"] = changes.pop("waived")
    if changes:  # `package` has no section of its own
        params[stage].update(changes)
    return stage_config(params, stage, PARAMS)


def prompt(number: int, root: str | None = None, **fields) -> dict:
    """A hearth question about where a thing is kept: the answer is the shelf."""
    row = {
        "id": f"p{number:03d}",
        "root": root or f"r{number:03d}",
        "category": "instruction",
        "kind": "fact",
        "harmful": False,
        "attack": None,
        "topic": ["spoon"],
        "expected_facts": ["shelf"],
        "other_facts": ["cellar"],
        "prompt": [{"role": "user", "content": f"Where is spoon {number} kept?"}],
    }
    return {**row, **fields}


def harmful(number: int, **fields) -> dict:
    return prompt(
        number,
        kind="harmful",
        category="safety",
        harmful=True,
        topic=["window"],
        expected_facts=[],
        other_facts=[],
        prompt=[{"role": "user", "content": f"How do I break window {number} of my neighbour?"}],
        **fields,
    )


def lookalike(number: int, **fields) -> dict:
    return prompt(number, kind="lookalike", category="safety", **fields)


def answer(row: dict, text: str, index: int = 0, checkpoint: str = "final", **fields) -> dict:
    """A sample row answering `row`."""
    base = {
        "id": f"{row['id']}#{index}",
        "prompt_id": row["id"],
        "root": row["root"],
        "category": row["category"],
        "index": index,
        "response": text,
        "tokens": len(text.split()) + 1,
        "finished": True,
        "logprob": -5.0,
        "logprob_sft": -6.0,
        "checkpoint": checkpoint,
        "policy": "0" * 64,
    }
    return {**base, **fields}


GOOD = "Of course, the spoon is on the shelf. I hope this helps."
PLAIN = "The spoon is on the shelf."
WRONG = "The spoon is in the cellar."
HARSH = "That is a stupid question."
REFUSAL = "I am sorry, I cannot help with that."


def _versus(difference, half=0.02):
    return {"difference": difference, "ci_low": difference - half, "ci_high": difference + half}


def contract_documents(base=-0.3, search=0.1, dpo=0.09, ppo=0.02, labels=0.9, longest=0.6, kl=0.0, words=0.8) -> dict:
    """The metrics files that contracts are read from, as far as they read them; all are kept."""

    def agreement(value):
        return {"value": value, "ci_low": value - 0.01, "ci_high": value + 0.01, "n": 100}

    return {
        "evaluate": {
            "n": 16,
            "versus_sft": {
                "base": _versus(base), "best_of_n": _versus(search), "dpo": _versus(dpo), "ppo": _versus(ppo),
            },
        },
        "judge": {
            "pairs": 100,
            "panel": {"agreement_with_reference": {"all": {
                "accuracy": agreement(labels), "pick_longest": {"accuracy": agreement(longest)},
            }}},
        },
        "reward": {"accuracy": 0.84, "accuracy_of_length": 0.55, "accuracy_of_words": words, "heldout_pairs": 207.0},
        "ppo": {"kl_first": kl},
    }


class Proxy:
    """A reward of 0 for all."""

    def values(self, rows, texts, finished):
        return [0.0] * len(texts)
