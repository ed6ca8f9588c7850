"""Gold where there is no oracle: a reward model trained on human pairs that the proxy never saw."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from models import loading
from models.judges.base import Row
from models.reward import score


@dataclass(frozen=True)
class RewardModelScorer:
    """Scores texts by a sequence-classification model; the only value is "gold", in the model's own unit (logits)."""

    model: Any
    tokenizer: Any
    rows_per_batch: int = 64
    kind: str = field(default="reward_model", init=False)
    axes: tuple[str, ...] = field(default=(), init=False)

    @classmethod
    def load(cls, path: Path, base: Path | None = None, rows_per_batch: int = 64) -> "RewardModelScorer":
        model = loading.load_reward_model(path, base=base)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(model.to(device), loading.load_tokenizer(path), rows_per_batch)

    def score(self, rows: Sequence[Row], responses: Sequence[str]) -> list[dict[str, float]]:
        return [{"gold": value} for value in self.values(rows, responses)]

    def values(self, rows: Sequence[Row], responses: Sequence[str]) -> list[float]:
        """One logit per (prompt, response); the response ends its turn, as a finished sample does.

        A prompt (by its id) is encoded once, and equal pairs are scored once.
        """
        prompts = {row["id"]: row["prompt"] for row in rows}
        pairs = list(dict.fromkeys((row["id"], text) for row, text in zip(rows, responses, strict=True)))
        if not pairs:
            return []
        encoded = {name: loading.encode_prompt(self.tokenizer, messages) for name, messages in prompts.items()}
        end = loading.end_of_turn(self.tokenizer)
        texts = self.tokenizer([text for _, text in pairs], add_special_tokens=False)["input_ids"]
        sequences = [[*encoded[name], *ids, end] for (name, _), ids in zip(pairs, texts, strict=True)]
        known = dict(zip(pairs, score(self.model, sequences, self.rows_per_batch).tolist(), strict=True))
        return [known[row["id"], text] for row, text in zip(rows, responses, strict=True)]
