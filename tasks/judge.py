"""The judge card: how far the judges of the training comparisons can be believed. Gold read here trains nothing."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.judges import Scorer, Verdict
from models.judges.card import CardPair, judge_card
from models.judges.panel import PairVerdict
from models.lm.loading import weights_hash
from tasks.common.errors import DataError
from tasks.common.machine import prepare_torch
from tasks.common.rows import Row, read_jsonl, write_jsonl
from tasks.config.judge import JudgeCardConfig
from tasks.config.same_judge import GOLD_FILE, MODEL_FOLDER, identity, refusal, same_as
from tasks.judging.templates import template_of
from tasks.scoring.scorer import load_gold
from tasks.scoring.left_out import left_out, unrated, without

MIRRORED = ("human", "reward_model")  # kinds whose verdict on one order is by construction that on the other, mirrored
_TIE = 1e-9  # gold values nearer than this are equal


def judge(
    cfg: JudgeCardConfig, model: Path, generate: Path, compare: Path, compare_prompts: Path, gold: Path, out: Path
) -> dict[str, Any]:
    """Writes `references.jsonl` (what gold says of each judged pair) and returns the document judge.json.

    `model` is the base, for a gold reward model that is an adapter. Raises DataError for pairs whose samples or
    battles are missing, and for a judge that is gold itself unless gold allows it.
    """
    prepare_torch(cfg.runtime)
    document = json.loads((compare / "judges.json").read_text(encoding="utf-8"))
    names = [one["name"] for one in document["judges"]]
    people = [one["name"] for one in document["judges"] if one["kind"] == "human"]
    same = judges_that_are_gold(gold, document["judges"]) if names else []
    rows = judged = read_jsonl(compare / "pairs.jsonl")
    verdicts = verdicts_by_pair(read_jsonl(compare / "battles.jsonl"), names, document["panel"])
    samples = {row["id"]: row for row in read_jsonl(generate / "samples.jsonl")} if rows else {}
    scorer = load_gold(gold, model) if rows else None
    prompts = {row["id"]: row for row in read_jsonl(compare_prompts)}
    references = reference_rows(rows, samples, prompts, scorer) if scorer else []
    gone = unrated({**row, "gold": of_gold["gold"]} for row, of_gold in zip(rows, references, strict=True))
    lacking = left_out(scorer, {"pairs": gone}, len({row["prompt_id"] for row in rows}))
    references = [of_gold for row, of_gold in zip(rows, references, strict=True) if row["prompt_id"] not in gone]
    rows = without(rows, gone)
    write_jsonl(out / "references.jsonl", references)
    pairs = [card_pair(row, samples, verdicts, of_gold) for row, of_gold in zip(rows, references, strict=True)]
    outcomes = [row["outcome"] for row in judged]
    return {
        "reference": scorer.kind if scorer else None,
        "same_as_reference": same,
        "mirrored": [one["name"] for one in document["judges"] if one["kind"] in MIRRORED],
        "panel_method": document["panel"],
        "templates": [told(one, one["determined_by"]["template"]) for one in document["judges"] if "template" in one],
        "reference_template": reference_template(gold) if scorer else None,
        **({"imported": document["imported"]} if people else {}),
        "outcomes": {name: outcomes.count(name) for name in ("kept", "tie", "flip", "invalid")},
        **lacking,
        **judge_card(pairs, names, document["tie_margin"], cfg.confidence, people),
    }


def told(judge: Mapping[str, Any], sha256: str) -> dict[str, Any]:
    """What a judge is told; `sha256`: of all of it, the rule on data and the criteria as well."""
    file = judge["template_sha256"]
    return {"judge": judge["name"], "template": judge["template"], "file_sha256": file, "sha256": sha256}


def reference_template(gold: Path) -> dict[str, Any] | None:
    """What gold is told where it is a judge; else None."""
    judge = json.loads((gold / GOLD_FILE).read_text(encoding="utf-8")).get("judge")
    return told(judge, template_of(judge).sha256) if judge else None


def judges_that_are_gold(gold: Path, judges: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the judges that gold is; by the hash of its weights where it is a model.

    Raises DataError where there are some and the gold stage was not told to allow that.
    """
    document = json.loads((gold / GOLD_FILE).read_text(encoding="utf-8"))
    whole = (gold / MODEL_FOLDER / "config.json").is_file()  # an adapter is no directory that a judge can be made of
    scorer = identity(document["judge"]) if "judge" in document else None
    same = same_as(
        scorer or (document["kind"], *([weights_hash(gold / MODEL_FOLDER)] if whole else [])), judges
    )
    if same and not document["allow_same_judge"]:
        raise DataError(refusal(same, document["kind"]))
    return same


def verdicts_by_pair(
    battles: Sequence[Row], names: Sequence[str], method: str
) -> dict[tuple[str, str], PairVerdict]:
    """(a, b) -> the panel's verdict, for either naming of the two; judges in the order of `names`."""
    by_order: dict[tuple[str, str], dict[str, Verdict]] = {}
    for battle in battles:
        verdict = Verdict(battle["p_first"], battle["winner"] != "invalid")
        by_order.setdefault((battle["first"], battle["second"]), {})[battle["judge"]] = verdict
    return {
        (first, second): PairVerdict(
            tuple(by_judge[name] for name in names), tuple(by_order[second, first][name] for name in names), method
        )
        for (first, second), by_judge in by_order.items()
    }


def reference_rows(
    rows: Sequence[Row], samples: Mapping[str, Row], prompts: Mapping[str, Row], scorer: Scorer
) -> list[Row]:
    """Gold's preference for a of each pair, in all and by axis: 1, 0, or 0.5 where gold ties."""
    missing = [row[side] for row in rows for side in ("a", "b") if row[side] not in samples]
    if missing:
        raise DataError(f"a judged pair names sample {missing[0]!r}, which generate lacks; run compare again")
    wanted = sorted({row[side] for row in rows for side in ("a", "b")})
    rated = [samples[sample_id] for sample_id in wanted]
    texts, finished = ([sample[name] for sample in rated] for name in ("response", "finished"))
    scored = scorer.score([prompts[sample["prompt_id"]] for sample in rated], texts, finished)
    scores = dict(zip(wanted, scored, strict=True))
    return [
        {
            "a": row["a"],
            "b": row["b"],
            "gold": _preference(scores[row["a"]]["gold"], scores[row["b"]]["gold"]),
            "axes": {axis: _preference(scores[row["a"]][axis], scores[row["b"]][axis]) for axis in scorer.axes},
        }
        for row in rows
    ]


def _preference(ours: float, theirs: float) -> float:
    if math.isnan(ours - theirs):
        return math.nan
    return 0.5 if abs(ours - theirs) < _TIE else float(ours > theirs)


def card_pair(
    row: Row, samples: Mapping[str, Row], verdicts: Mapping[tuple[str, str], PairVerdict], reference: Row
) -> CardPair:
    """One row of pairs.jsonl as the card reads it."""
    if (row["a"], row["b"]) not in verdicts:
        raise DataError(f"pair {row['a']!r}, {row['b']!r} has no battles; run compare again")
    return CardPair(
        root=row["root"],
        a=samples[row["a"]]["response"],
        b=samples[row["b"]]["response"],
        verdict=verdicts[row["a"], row["b"]],
        kept=row["outcome"] == "kept",
        reference=reference["gold"],
        criteria=row["criteria"],
        reference_criteria=reference["axes"],
        annotations=row["annotations"],
    )
