"""The pairs that `compare` judges, for people, with their texts' hashes: what `plumb pairs` writes.

The columns are those that a verdict needs (models/judges/verdict_form.py), so whatever a labelling tool adds of its
own, its export can be read: by the hashes, by the texts, or by the ids with the policy's hash.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from models.judges.base import uniform
from models.judges.shown import prompt_sha256, prompt_text, text_sha256
from tasks.__main__ import DVC_FILE, PARAMS_FILE
from tasks.common.errors import DataError
from tasks.common.rows import Row, read_jsonl, write_jsonl
from tasks.config.compare import CompareConfig
from tasks.judging.pairing import Filtered, chosen_pairs, drawn_prompts, needs_ratings, samples_by_prompt
from tasks.runner.params import read_params, stage_config
from tasks.runner.pipeline import bind, load_pipeline

FORMULAS = ("=", "+", "-", "@")
ENDINGS = (".csv", ".jsonl", ".json")


def label_pairs(cfg: CompareConfig, samples: Sequence[Row], prompts: Sequence[Row], judged: Sequence[Row]) -> list[Row]:
    """One row for each pair that `compare` would judge; which response comes first is drawn for each.

    `judged` are the pairs that it judged: where the choice hangs on ratings they are the pairs. Raises DataError where
    there are none then, and for samples that are not those that were judged.
    """
    by_id = {row["id"]: row for row in prompts}
    if needs_ratings(cfg):
        pairs = _rated_pairs(samples, judged)
    else:
        drawn = drawn_prompts(cfg, samples_by_prompt(samples)[0])
        pairs = [pair for group in drawn.values() for pair in chosen_pairs(cfg, group, {}, Filtered())]
    return [_row(by_id[a["prompt_id"]], a, b, cfg.runtime.seed) for a, b in pairs]


def _rated_pairs(samples: Sequence[Row], judged: Sequence[Row]) -> list[tuple[Row, Row]]:
    by_id = {sample["id"]: sample for sample in samples}
    if not judged or any(row[side] not in by_id for row in judged for side in "ab"):
        raise DataError("which pairs meet hangs on ratings, and the samples at hand were not judged yet; run `plumb "
                        "align` first, or set compare.strategy to random and compare.filters.min_rating_gap to null")
    return [(by_id[row["a"]], by_id[row["b"]]) for row in judged]


def _row(prompt: Row, a: Row, b: Row, seed: int) -> Row:
    first, second = (a, b) if uniform("shown first", seed, a["id"], b["id"]) < 0.5 else (b, a)
    return {
        "prompt_id": prompt["id"],
        "prompt": prompt_text(prompt["prompt"]),
        "first_text": first["response"],
        "second_text": second["response"],
        "first": first["id"],
        "second": second["id"],
        "policy": first["policy"],
        "prompt_sha256": prompt_sha256(prompt["prompt"]),
        "first_sha256": text_sha256(first["response"]),
        "second_sha256": text_sha256(second["response"]),
    }


def write_pairs(path: Path, rows: Sequence[Row]) -> None:
    """Write rows by the ending of the name. Raises DataError for another ending, and for a file that is there."""
    if path.suffix not in ENDINGS:
        raise DataError(f"{path} is none of {', '.join(ENDINGS)}; name the file so")
    if path.exists():
        raise DataError(f"{path} exists, and may hold verdicts already; name another file")
    if path.suffix == ".jsonl":
        write_jsonl(path, rows)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8-sig", newline="") as file:  # the mark tells spreadsheets that it is UTF-8
            writer = csv.DictWriter(file, [*rows[0], "annotator", "verdict", "at"])
            writer.writeheader()
            writer.writerows({name: _inert(cell) for name, cell in row.items()} for row in rows)


def _inert(cell: str) -> str:
    """A space before what a spreadsheet takes for a formula, such as a list's "- milk": people would judge its error.
    Space around a text changes no hash."""
    return f" {cell}" if cell.startswith(FORMULAS) else cell


def document(out: Path) -> Mapping[str, object]:
    """Write the pairs of the project in the current folder; what was written."""
    params = read_params(PARAMS_FILE)
    binding = bind(load_pipeline(DVC_FILE), params, "compare")
    sampled = binding.inputs["generate"] / "samples.jsonl"
    if not sampled.exists():
        raise DataError(f"there are no samples at {sampled}; run `plumb align`, which draws them in the stage generate")
    judged = binding.out / "pairs.jsonl"
    samples, prompts = read_jsonl(sampled), read_jsonl(binding.inputs["compare_prompts"])
    already = read_jsonl(judged) if judged.exists() else []
    rows = label_pairs(stage_config(params, "compare"), samples, prompts, already)
    if not rows:
        raise DataError("no prompt has two different samples that the filters let through; see compare.filters")
    write_pairs(out, rows)
    return {"file": str(out), "pairs": len(rows), "policy": rows[0]["policy"]}
