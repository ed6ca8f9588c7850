"""Load a packaged directory and what was registered from it, and compare their logits.

    python -m flows.serving.verify_model DIRECTORY REGISTERED

DIRECTORY is what the package stage made, REGISTERED the same model as MLflow keeps it, loaded as serving loads it.
Prints one line of JSON: {"difference": largest difference between two logits, "tokens": positions compared}.
A process of its own, because the flow never imports torch.
"""

import argparse
import json
from pathlib import Path

import torch

from models.chat.template import encode_prompt, load_tokenizer
from models.lm.loading import load_policy
from tasks.common.machine import device

QUESTIONS = ("Can I wash my teddy bear?", "What is two plus three?", "Please write a poem about the moon.")
RANDOM_TOKENS = 24


def probes(tokenizer, vocabulary: int) -> list[list[int]]:
    """Token ids to compare on: questions as they are asked in service, and tokens at random."""
    prompts = [encode_prompt(tokenizer, [{"role": "user", "content": text}]) for text in QUESTIONS]
    drawn = torch.randint(vocabulary, (RANDOM_TOKENS,), generator=torch.Generator().manual_seed(0))
    return [*prompts, drawn.tolist()]


def logits(model, rows: list[list[int]]) -> list[torch.Tensor]:
    """The logits of every row, (length, vocabulary) each, fp32 on the CPU; row by row, so that none is padded."""
    place = device()
    model = model.to(place).eval()
    with torch.inference_mode():
        return [model(torch.tensor([row], device=place)).logits[0].float().cpu() for row in rows]


def check_architecture(directory: Path, model, named: list[str]) -> None:
    """Raises ValueError unless the model is of an architecture that config.json names.

    transformers loads what `model_type` says; the allow-list of promotion was held against `architectures`.
    """
    loaded = type(model).__name__
    if loaded not in named:
        names = ", ".join(named)
        raise ValueError(f"{directory} names {names} in config.json, and loads as {loaded}; package it again")


def compare(directory: Path, registered: Path) -> dict[str, float]:
    """The largest difference; both in the dtype that the package was saved in.

    Raises ValueError when the architecture is not the one named, the tokenizers or the shapes differ, or a logit is not
    finite.
    """
    import mlflow

    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    dtype = config.get("dtype") or "float32"
    tokenizer, policy = load_tokenizer(directory), load_policy(directory, dtype=dtype)
    check_architecture(directory, policy, config["architectures"])
    rows = probes(tokenizer, policy.config.get_text_config().vocab_size)
    ours = logits(policy, rows)
    del policy
    loaded = mlflow.transformers.load_model(str(registered), return_type="components")
    check_architecture(registered, loaded["model"], config["architectures"])
    if probes(loaded["tokenizer"], ours[0].shape[1])[:-1] != rows[:-1]:
        raise ValueError(f"the tokenizer or chat template in {registered} is not that of {directory}")
    theirs = logits(loaded["model"].to(getattr(torch, dtype)), rows)
    if any(a.shape != b.shape for a, b in zip(ours, theirs, strict=True)):
        raise ValueError(f"the model in {registered} has another vocabulary than {directory}")
    if not all(torch.isfinite(values).all() for values in (*ours, *theirs)):
        raise ValueError(f"the logits of {directory} are not finite; its weights diverged")
    difference = max((a - b).abs().max().item() for a, b in zip(ours, theirs, strict=True))
    return {"difference": difference, "tokens": sum(len(row) for row in rows)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("registered", type=Path)
    arguments = parser.parse_args()
    print(json.dumps(compare(arguments.directory, arguments.registered)))
