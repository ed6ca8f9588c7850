"""`plumb seeds`: the same alignment with several seeds, and whether what the project promises held on each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows import command
from flows.alignment.results import ABSENT
from flows.documents import read_json

TRAINED = ("dpo", "ppo", "best_of_n")
REWARD_ACCURACY = 0.75
UNSEEN_PROMPTS = 400  # fewer prove too little


def parse(text: str) -> list[int]:
    """The numbers of --seeds. Raises ValueError for anything else, and for one that stands there twice."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"--seeds {text}: write whole numbers separated by commas, for example 0,1,2")
    seeds = [int(part) for part in parts]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds {text}: a seed stands there twice; name each once, a repeated one tells nothing new")
    return seeds


@dataclass(frozen=True)
class Seed:
    """The documents that one seed's run left."""

    seed: int
    evaluate: dict[str, Any]
    reward: dict[str, Any]

    @classmethod
    def read(cls, seed: int, root: Path) -> "Seed":
        return cls(seed, *(read_json(root / "metrics" / f"{name}.json") or {} for name in ("evaluate", "reward")))

    def gold(self, model: str) -> float | None:
        return (self.evaluate.get("models", {}).get(model, {}).get("gold") or {}).get("mean")

    def versus_sft(self, model: str) -> dict[str, float]:
        return self.evaluate.get("versus_sft", {}).get(model) or {}

    @property
    def reward_accuracy(self) -> float | None:
        return self.reward.get("accuracy_where_judge_agrees")


def broken_promises(seed: Seed) -> list[str]:
    """One line for each promise that this seed did not keep."""
    broken = []
    base, sft = seed.gold("base"), seed.gold("sft")
    if base is None or sft is None or sft <= base:
        broken.append(f"seed {seed.seed}: gold of sft ({_text(sft)}) is not above base ({_text(base)})")
    for model in TRAINED:
        low = seed.versus_sft(model).get("ci_low")
        if low is None or low <= 0:
            broken.append(f"seed {seed.seed}: {model} is not clear of sft (difference {_interval(seed, model)})")
    prompts = seed.evaluate.get("prompts", 0)
    if prompts < UNSEEN_PROMPTS:
        broken.append(f"seed {seed.seed}: evaluated on {prompts} prompts, fewer than {UNSEEN_PROMPTS}")
    accuracy = seed.reward_accuracy
    if accuracy is None or accuracy < REWARD_ACCURACY:
        broken.append(f"seed {seed.seed}: reward model accuracy {_text(accuracy)} is below {REWARD_ACCURACY}")
    return broken


def report(seeds: list[Seed], console) -> int:
    """Print the table and every broken promise; returns the exit code."""
    show(seeds, console)
    broken = [line for seed in seeds for line in broken_promises(seed)]
    for line in broken:
        console.print(line, style="red", soft_wrap=True)
    if not broken:
        console.print("Every promise held on every seed.")
    return int(bool(broken))


def show(seeds: list[Seed], console) -> None:
    """Print one row per seed and model: gold, the paired difference to SFT with its 95% interval, accuracy."""
    rows = []
    for seed in seeds:
        for model in ("base", "sft", *TRAINED):
            name, accuracy = (str(seed.seed), _text(seed.reward_accuracy)) if model == "base" else ("", "")
            rows.append((name, model, _text(seed.gold(model)), _interval(seed, model), accuracy))
    console.print(command.table(("seed", "model", "gold", "minus sft [95% CI]", "reward accuracy"), rows))


def _interval(seed: Seed, model: str) -> str:
    row = seed.versus_sft(model)
    if "difference" not in row:
        return ABSENT
    return f"{row['difference']:+.3f} ({row['ci_low']:+.3f} to {row['ci_high']:+.3f})"


def _text(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.3f}"
