"""`python -m tasks.judging.anchors`: ask the judges of `compare` a fixed set of pairs again, past every store.

A hosted model may change behind its name, and stored answers would hide it. A judge's first answers are its baseline;
later ones are compared with those and never with the last ones, so that slow drift adds up. A baseline belongs to all
that is said to determine a judge, its epoch among it, and to the bytes of the anchor file: a raised epoch begins a new
one, as do other anchors.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tasks.judging.making import make_pool
from tasks.runner.watchdog import die_with_parents

if __name__ == "__main__":
    die_with_parents()  # before anything slow is imported: a parent that dies meanwhile must take us along

from models.endpoints.retries import AskingSettings
from models.judges.asking import Asker
from models.judges.base import Judge
from models.judges.budget import Budget
from models.judges.panel import PairVerdict
from models.judges.rounds import ask_both_orders
from tasks.common import errors
from tasks.common.rows import Row, read_jsonl
from tasks.config.compare import CompareConfig
from tasks.config.service import AnchorsConfig
from tasks.data.messages import as_messages, check_prompt
from tasks.data.values import BadRow
from tasks.judging.drift import Answers, baseline_file, drift_between, read_baseline, write_baseline
from tasks.judging.templates import with_template
from tasks.runner.params import read_params, stage_config
from tasks.runner.state import state_root

NAME = "anchors"
PARAMS_FILE = Path("params.yaml")
NOT_ASKED = ("human",)  # people's verdicts are imported
RECORDED = "recorded now"


def read_anchors(file: Path, minimum: int) -> list[Row]:
    """Rows with an `id`, a `prompt` as a conversation, and the responses `a` and `b`.

    A prompt may be a plain text, and an id may be missing. Raises DataError for fewer than `minimum` rows, a row
    without its texts, or an id that stands twice.
    """
    if not file.is_file():
        raise errors.DataError(f"anchors.file {file} does not exist; correct it in params.yaml, or set it to null")
    rows = [_anchor(row, number, file) for number, row in enumerate(read_jsonl(file), start=1)]
    ids = [row["id"] for row in rows]
    twice = sorted({one for one in ids if ids.count(one) > 1})
    if twice:
        raise errors.DataError(f"{file}: id {twice[0]!r} stands twice; give each anchor its own")
    if len(rows) < minimum:
        raise errors.DataError(f"{file} holds {len(rows)} anchors, below anchors.minimum_pairs={minimum}; add some")
    return rows


def _anchor(row: Row, number: int, file: Path) -> Row:
    prompt = row.get("prompt")
    try:
        turns = check_prompt(as_messages(prompt, "user"))
    except BadRow as reason:
        raise errors.DataError(
            f"{file}, anchor {number}: prompt must be a text, or turns with role and content ({reason.full})"
        ) from None
    for side in ("a", "b"):
        if not isinstance(row.get(side), str):
            raise errors.DataError(f"{file}, anchor {number} has no text {side!r}; an anchor has prompt, a and b")
    return {**row, "id": str(row.get("id", f"anchor-{number}")), "prompt": turns}


def ask_anchors(cfg: AnchorsConfig, compare: CompareConfig, state: Path) -> dict[str, Any]:
    """Ask every judge every anchor in both orders; compare with its baseline, or record that where there is none.

    Returns what was asked and paid, and by judge how far it moved (`tasks.judging.drift.Drift`) from which baseline;
    `refused` is None, or says in one line which judge moved further than `cfg.max_drift`, and what to do.
    Raises DataError for anchors or a judge that cannot be used, ConfigError for a budget that does not suffice, and
    JudgeError or JudgeUnreachable from a judge.
    """
    specs = [judge.model_dump() for judge in compare.judges if judge.kind not in NOT_ASKED]
    check_limit(cfg, compare)
    # With a budget of its own and no store: what is stored says nothing about today.
    asker = Asker(None, Budget(cfg.max_calls, cfg.max_cost), AskingSettings.of(compare.asking.model_dump()))
    anchors: list[Row] = []
    judges: dict[str, dict[str, Any]] = {}
    if cfg.file is not None and compare.given != "only" and specs:
        anchors = read_anchors(Path(cfg.file), cfg.minimum_pairs)
        pool = make_pool([with_template(spec) for spec in specs], date=compare.runtime.date)
        verdicts = _both_orders(asker, pool, anchors)
        file_hash = hashlib.sha256(Path(cfg.file).read_bytes()).hexdigest()
        for place, (spec, judge) in enumerate(zip(specs, pool, strict=True)):
            determined_by = {"judge": dict(getattr(judge, "description", spec)), "anchors": file_hash}
            answers = answers_of(place, anchors, verdicts)
            judges[spec["name"]] = _against_baseline(cfg, spec["name"], answers, determined_by, state / NAME)
    return {
        "anchors": len(anchors),
        "max_drift": cfg.max_drift,
        "judges": judges,
        "refused": refusal(cfg.max_drift, {spec["name"]: spec for spec in specs}, judges),
        **{name: getattr(asker.tally, name) for name in ("calls", "input_tokens", "output_tokens", "cost")},
    }


def check_limit(cfg: AnchorsConfig, compare: CompareConfig) -> None:
    """Raises ConfigError for a limit in money that no price can bring to an end."""
    if cfg.max_cost is not None and (free := compare.unpriced_judges):
        raise errors.ConfigError(
            f"anchors.max_cost={cfg.max_cost:g} would never end: judge {free[0]!r} has input_price and output_price 0; "
            "state its prices, or set anchors.max_cost to null"
        )


def _both_orders(asker: Asker, judges: Sequence[Judge], anchors: Sequence[Row]) -> list[PairVerdict]:
    verdicts = ask_both_orders(asker, judges, [(row, row["a"], row["b"]) for row in anchors], key=NAME)
    known = [verdict for verdict in verdicts if verdict is not None]
    if len(known) < len(verdicts):
        raise errors.ConfigError(
            f"anchors.max_calls or anchors.max_cost ended after {asker.budget.calls} calls for {asker.budget.cost:g}, "
            f"with {len(verdicts) - len(known)} of {len(verdicts)} anchors left; raise it, or use fewer anchors"
        )
    return known


def answers_of(place: int, anchors: Sequence[Row], verdicts: Sequence[PairVerdict]) -> Answers:
    """What the judge at `place` of the pool said, two answers an anchor."""
    return {
        f"{row['id']}: {order}": verdicts_of[place].p_first if verdicts_of[place].valid else None
        for row, verdict in zip(anchors, verdicts, strict=True)
        for order, verdicts_of in (("a first", verdict.a_first), ("b first", verdict.a_second))
    }


def _against_baseline(
    cfg: AnchorsConfig, name: str, answers: Answers, determined_by: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    file = baseline_file(folder, name, determined_by)
    baseline = read_baseline(file)
    invalid = sum(answer is None for answer in answers.values())
    if baseline is None:
        if len(answers) - invalid < 2 * cfg.minimum_pairs:
            raise errors.DataError(
                f"judge {name!r} gives a usable answer to {len(answers) - invalid} of {len(answers)} questions about "
                f"the anchors, fewer than 2 * anchors.minimum_pairs={2 * cfg.minimum_pairs}; correct its settings"
            )
        write_baseline(file, answers, determined_by)
    first, recorded = (baseline.answers, baseline.recorded) if baseline else (answers, RECORDED)
    return {**asdict(drift_between(first, answers)), "invalid": invalid, "baseline": recorded, "file": str(file)}


def refusal(
    max_drift: float, specs: Mapping[str, Mapping[str, Any]], judges: Mapping[str, Mapping[str, Any]]
) -> str | None:
    """Why no run should start, in one line about the judge that moved furthest; None where all are within the bound."""
    moved = {name: drift["moved"] for name, drift in judges.items() if drift["moved"] > max_drift}
    drifted = sorted(moved, key=moved.__getitem__, reverse=True)
    if not drifted:
        return None
    name, *others = drifted
    drift = judges[name]
    way_out = (
        "restore the model behind it, or raise the judge's epoch in params.yaml to accept the new one, which labels "
        "anew"
        if "epoch" in specs[name]
        else f"its code changed, so compare labels anew by itself: remove {drift['file']} to accept its new answers"
    )
    also = f" (and so did {', '.join(map(repr, others))})" if others else ""
    return (
        f"judge {name!r} drifted{also}: since {drift['baseline']} its answers to the anchors moved by "
        f"{drift['moved']:.3f} on average, anchors.max_drift is {max_drift:g}; {drift['changed']} of "
        f"{drift['answers']} name another winner; {way_out}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Command line entry; returns the exit code. The document goes to --out, also when a judge drifted."""
    parser = argparse.ArgumentParser(prog="python -m tasks.judging.anchors", description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, help="where to write what was found, as JSON; default: standard output")
    out = parser.parse_args(arguments).out
    try:
        params = read_params(PARAMS_FILE)
        document = ask_anchors(
            AnchorsConfig.model_validate(params[NAME]), stage_config(params, "compare"), state_root()
        )
        text = json.dumps(document, indent=2, sort_keys=True) + "\n"
        out.write_text(text, encoding="utf-8") if out else print(text, end="")
        if document["refused"]:
            raise errors.DriftError(document["refused"])
    except Exception as error:
        return errors.report_failure(NAME, error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
