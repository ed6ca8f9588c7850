"""Pick the candidate: the method and checkpoint that gold likes best on the select prompts."""

import json
from pathlib import Path

from tasks.artifacts.entrants import ranked
from tasks.artifacts.snapshots import FINAL, SELECTION_FILE
from tasks.common.errors import DataError
from tasks.common.rows import read_jsonl
from tasks.config.select import SelectConfig


def select(cfg: SelectConfig, evaluate: Path, out: Path) -> dict[str, float]:
    """Writes `selection.json`: {"method", "checkpoint", "gold", "kl", "candidates": [...]}, best first.

    The candidate's own gold here is optimistic, being a maximum: only the gate's prompts can prove anything.
    Raises DataError when none of `cfg.methods` was scored.
    """
    scores = read_jsonl(evaluate / "scores.jsonl")
    if cfg.checkpoints == FINAL:
        scores = [row for row in scores if row["checkpoint"] == FINAL]
    candidates = ranked(scores, cfg.methods)
    if not candidates:
        raise DataError(f"scores.jsonl has no row of {', '.join(cfg.methods)}; correct select.methods or run evaluate")
    out.mkdir(parents=True, exist_ok=True)
    document = {**candidates[0], "candidates": candidates}
    (out / SELECTION_FILE).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return {"candidates": float(len(candidates)), **{field: candidates[0][field] for field in ("gold", "kl")}}

