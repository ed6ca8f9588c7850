"""One HTML file that says whether it worked: verdict, scores, what got worse, curves, examples, judge, lineage."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.artifacts import contracts
from tasks.artifacts.entrants import entrant
from tasks.common.rows import Row, read_jsonl
from tasks.config.report import ReportConfig
from tasks.scoring.left_out import sentence
from tasks.reporting import charts, findings, judge_card, measured, monitored, shown
from tasks.reporting.charts import Chart
from tasks.reporting.page import render
from tasks.common.hashes import content_hash

REPORT_FILE = "report.html"
HASH_LENGTH = 16
GOLD = {  # by gold.kind: what it is, and its unit
    "oracle": ("hearth's oracle (exact)", "0 to 1"),
    "reward_model": ("a reward model trained on held-out human pairs", "reward model's unit"),
    "judge": ("a language model that rates each answer", "mean rating, 0 to 1"),
}
# stage -> (metric in curves.jsonl, what it is, with its unit); those that a stage did not log are left out
CURVES = {
    "sft": (("loss", "loss (nats per token)"),),
    "reward": (("loss", "loss (nats)"), ("accuracy", "training accuracy")),
    "dpo": (
        ("loss", "loss (nats)"),
        ("rewards/margins", "implicit reward margin (nats × β)"),
        ("rewards/chosen", "implicit reward of chosen (nats × β)"),
    ),
    "ppo": (
        ("score", "proxy score of rollouts"),
        ("kl", "KL to SFT (nats per response)"),
        ("response_tokens", "response length (tokens)"),
        ("entropy", "entropy (nats per token)"),
    ),
}


def report(
    cfg: ReportConfig,
    sft: Path,
    reward: Path,
    dpo: Path,
    ppo: Path,
    compare_metrics: Path,
    judge_metrics: Path,
    reward_metrics: Path,
    ppo_metrics: Path,
    evaluate_metrics: Path,
    monitors_metrics: Path,
    evaluate: Path,
    monitors: Path,
    select: Path,
    gate_metrics: Path,
    out: Path,
) -> dict[str, float]:
    """Writes `report.html`, self-contained and a pure function of the inputs' bytes; returns its size.

    Folders of stages are read for `curves.jsonl` and hashed; a stage without curves has no chart.
    """
    card, gate = _read(judge_metrics), _read(gate_metrics)
    document = _read(evaluate_metrics)
    selection = _read(select / "selection.json")
    evaluation = shown.of_verdict(document, selection)
    scores = read_jsonl(evaluate / "scores.jsonl")
    folders = {"sft": sft, "reward": reward, "dpo": dpo, "ppo": ppo, "evaluate": evaluate, "select": select}
    kept = contracts.check(cfg.contracts, {
        "evaluate": document, "judge": card, "reward": _read(reward_metrics), "ppo": _read(ppo_metrics),
    })
    seen = monitored.of_candidate(
        read_jsonl(monitors / "findings.jsonl"), selection["method"], selection["checkpoint"]
    )
    training = [chart for stage in CURVES for chart in training_charts(stage, folders[stage] / "curves.jsonl")]
    content = {
        "title": cfg.title,
        "verdict": {**verdict_section(gate, evaluation, card), "contracts": contracts.summary(kept)},
        "contracts": contract_table(kept),
        "monitors": {
            "sentences": monitored.sentences(seen), "note": monitored.counted(_read(monitors_metrics)),
            "table": monitored.table(seen), "examples": monitored.examples(seen),
        },
        "training": training,
        "judge": judge_section(card, _read(compare_metrics)),
        "lineage": lineage(folders, gate),
        **candidate_sections(cfg, document, selection, scores),
        **evaluation_sections(evaluation),
    }
    out.mkdir(parents=True, exist_ok=True)
    page = render(content)
    (out / REPORT_FILE).write_text(page, encoding="utf-8")
    broken = sum(contract.holds is False for contract in kept)
    return {"bytes": float(len(page.encode())), "charts": float(page.count("<figure")), "contracts_broken": float(broken)}


def contract_table(kept: Sequence[contracts.Contract]) -> tuple[list[str], list[list[str]]]:
    """(head, rows): what each stage owes the next, and whether it was kept."""
    words = {True: "kept", False: "broken", None: "cannot be told"}
    rows = [[contract.stage, contract.name, words[contract.holds], contract.sentence] for contract in kept]
    return ["stage", "contract", "kept?", "seen"], rows


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def judge_section(card: Mapping[str, Any], compare: Mapping[str, float]) -> dict[str, Any]:
    """What the judges of the comparisons did and how far they can be believed, in words, tables and a chart."""
    asked = ("What was asked", *judge_card.asked_table(compare))
    if not card["pairs"]:
        return {"sentences": judge_card.sentences(card), "tables": [asked], "charts": []}
    interval = f"{card['confidence']:.0%} intervals by root"
    tables = [
        (f"What they did, of pairs and of single answers; {interval}", *judge_card.behaviour_table(card)),
        (f"Agreement with {judge_card.reference_name(card)}; {interval}", *judge_card.agreement_table(card)),
        ("By criterion, on all pairs", *judge_card.criteria_table(card)),
        ("What judges that are language models are told", *judge_card.templates_table(card)),
        asked,
    ]
    agreement = judge_card.agreement_intervals(card)
    unit = f"share of pairs labelled as {judge_card.reference_name(card)} does"
    drawn = [charts.intervals("Agreement of the labels", unit, agreement)] if agreement else []
    return {"sentences": judge_card.sentences(card), "tables": [one for one in tables if one[2]], "charts": drawn}


def verdict_section(
    gate: Mapping[str, Any], evaluation: Mapping[str, Any], card: Mapping[str, Any]
) -> dict[str, Any]:
    """The verdict, its reasons, and what the numbers below it rest on."""
    candidate = gate["candidate"]
    warnings = judge_card.warnings(card)
    seen = "its labels trained the models" if warnings else "training never sees it"
    return {
        "word": gate["verdict"],
        "candidate": f"{candidate['method']} ({candidate['checkpoint']})",
        "reference": gate["reference"],
        "reasons": gate["reasons"],
        "warnings": warnings,
        "scope": f"Gold is {GOLD[evaluation['gold_kind']][0]}; {seen}. The verdict rests on {gate['prompts']} prompts "
        f"that nothing else reads, at one-sided α = {gate['alpha']:g}; everything below on {evaluation['prompts']} other prompts of "
        f"{evaluation['roots']} roots, with {evaluation['confidence']:.0%} intervals by root."
        f"{sentence(evaluation)}{sentence(gate)}",
    }


def evaluation_sections(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Tables and charts that stand in evaluate.json alone."""
    models, unit = evaluation["models"], gold_unit(evaluation)
    gold = {name: _triple(numbers["gold"], "mean") for name, numbers in models.items()}
    versus = {name: _triple(numbers, "difference") for name, numbers in evaluation["versus_sft"].items()}
    served = {name: _triple(numbers, "difference") for name, numbers in evaluation.get("versus_champion", {}).items()}
    accuracy = evaluation["proxy"]
    kl = {name: numbers["kl"] for name, numbers in models.items() if "kl" in numbers}
    kl_errors = {name: 1.96 * models[name]["kl_standard_error"] for name in kl}
    return {
        "scores": {
            "caption": f"Unseen prompts, serving temperature; n = {evaluation['n']} for best of n",
            "head": score_head(evaluation),
            "rows": [score_row(name, numbers, evaluation) for name, numbers in models.items()],
            "adversarial": measured.adversarial_table(models),
            "ratings": measured.ratings_table(evaluation.get("ratings")),
            "charts": [
                charts.intervals("Gold by model", unit, gold),
                charts.intervals("Gold against SFT, paired", f"difference in {unit}", versus, zero=True),
                *(
                    [charts.intervals("Gold against the champion, paired", f"difference in {unit}", served, zero=True)]
                    if served else []
                ),
            ],
        },
        "proxy_note": f"The reward model orders two answers to one prompt as gold does in "
        f"{accuracy['pairwise_accuracy']:.1%} of {accuracy['pairs']:,} pairs. Where proxy rises and gold does not, "
        "the proxy is being fooled.",
        "proxy_charts": [
            charts.over_optimisation("Gold over distance", f"gain in {unit}", "gold", evaluation["over_optimisation"]),
            charts.over_optimisation(
                "Proxy over distance", "gain in proxy (reward model's unit)", "proxy", evaluation["over_optimisation"]
            ),
        ],
        "size_charts": [
            charts.bars("KL to SFT", "nats per response, 95% interval", kl, kl_errors),
            charts.bars("Length", "tokens per response", {name: numbers["length"] for name, numbers in models.items()}),
            charts.bars("Diversity", "distinct-2", {name: numbers["distinct_2"] for name, numbers in models.items()}),
        ],
        "examples": [{"gold": None, **example} for example in evaluation["examples"]],
    }


def gold_unit(evaluation: Mapping[str, Any]) -> str:
    return f"gold score ({GOLD[evaluation['gold_kind']][1]})"


def _triple(numbers: Mapping[str, float], name: str) -> tuple[float, float, float]:
    return numbers[name], numbers["ci_low"], numbers["ci_high"]


def score_head(evaluation: Mapping[str, Any]) -> list[str]:
    served = ["versus champion", "win rate"] if "versus_champion" in evaluation else []
    tail = ["proxy", "KL, nats", "tokens", "distinct-2", "refused harmful", "refused harmless"]
    return ["model", "gold", "versus SFT", "win rate", *served, *evaluation["axes"], *tail]


def score_row(name: str, numbers: Mapping[str, Any], evaluation: Mapping[str, Any]) -> list[str]:
    """One line of the table; a dash where a number does not exist."""
    gold = numbers["gold"]
    references = [one for one in ("versus_sft", "versus_champion") if one in evaluation]
    rates = [f"{numbers[rate]:.1%}" if rate in numbers else "–" for rate in ("refusal_rate", "over_refusal_rate")]
    return [
        name.replace("_", " "),
        f"{gold['mean']:.3f} [{gold['ci_low']:.3f}, {gold['ci_high']:.3f}]",
        *(text for one in references for text in _versus(evaluation[one].get(name))),
        *(f"{numbers[axis]:.2f}" for axis in evaluation["axes"]),
        f"{numbers['proxy']:.2f}",
        _kl(numbers),
        f"{numbers['length']:.1f}",
        f"{numbers['distinct_2']:.2f}",
        *rates,
    ]


def _versus(numbers: Mapping[str, Any] | None) -> tuple[str, str]:
    if not numbers:
        return "–", "–"
    interval = f"[{numbers['ci_low']:+.3f}, {numbers['ci_high']:+.3f}]"
    return f"{numbers['difference']:+.3f} {interval}", f"{numbers['win_rate']:.1%}"


def _kl(numbers: Mapping[str, Any]) -> str:
    """Measured, or bounded for best-of-n; a dash for a champion with another tokenizer."""
    if "kl" in numbers:
        return f"{numbers['kl']:.2f}"
    return f"≤ {numbers['kl_upper_bound']:.2f}" if "kl_upper_bound" in numbers else "–"


def candidate_sections(
    cfg: ReportConfig, evaluation: Mapping[str, Any], selection: Mapping[str, Any], scores: Sequence[Row]
) -> dict[str, Any]:
    """What the selected checkpoint changed against SFT on the select prompts."""
    candidate = findings.final_rows(scores, selection["method"], selection["checkpoint"])
    reference = findings.final_rows(scores, "sft", "final")
    differences = findings.axis_differences(candidate, reference, evaluation["axes"])
    models = evaluation["models"]
    ours = models[entrant(selection["method"], selection["checkpoint"])]
    return {
        "worse": findings.what_got_worse(differences, ours, models["sft"]),
        "disagreements": findings.disagreements(candidate, reference, cfg.examples),
    }


def training_charts(stage: str, file: Path) -> list[Chart]:
    """One chart per metric of CURVES that the stage logged at least twice."""
    points = read_jsonl(file) if file.is_file() else []
    found = []
    for metric, unit in CURVES[stage]:
        logged = [(point["step"], point[metric]) for point in points if metric in point]
        if len(logged) > 1:
            steps, values = zip(*logged, strict=True)
            found.append(charts.curves(f"{stage}: {metric}", unit, {stage: (steps, values)}))
    return found


def lineage(folders: Mapping[str, Path], gate: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(artifact, content hash) of what the report rests on."""
    hashed = [(name, content_hash(folder)[:HASH_LENGTH]) for name, folder in folders.items()]
    gated = [(f"{side} at the gate", gate[f"{side}_hash"][:HASH_LENGTH]) for side in ("candidate", "reference")]
    return hashed + gated
