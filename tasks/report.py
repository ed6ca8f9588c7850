"""One HTML file that says whether it worked: verdict, scores, what got worse, curves, examples, judge, lineage."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.artifacts import contracts
from tasks.artifacts.entrants import entrant
from tasks.artifacts.snapshots import FINAL, SELECTION_FILE
from tasks.common.rows import Row, read_jsonl
from tasks.config.report import ReportConfig
from tasks.scoring.left_out import sentence
from tasks.reporting import charts, findings, judge_card, measured, monitored, shown
from tasks.reporting.charts import Chart
from tasks.reporting.page import render
from tasks.reporting.shown import ABSENT, Table
from tasks.common.hashes import content_hash

REPORT_FILE = "report.html"
HASH_LENGTH = 16
REFERENCES = {"versus_sft": "SFT", "versus_champion": "the champion"}  # of evaluate.json
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
    policies: Mapping[str, Path],
    reward: Path,
    evaluate: Path,
    monitors: Path,
    select: Path,
    metrics: Mapping[str, Path],
    out: Path,
) -> dict[str, float]:
    """Writes `report.html`, self-contained and a pure function of the inputs' bytes; returns its size.

    Folders of stages are read for `curves.jsonl` and hashed; a stage without curves has no chart.
    """
    documents = {name: _read(path) for name, path in metrics.items()}
    card, gate = documents["judge"], documents["gate"]
    selection = _read(select / SELECTION_FILE)
    evaluation = shown.of_verdict(documents["evaluate"], selection)
    scores = read_jsonl(evaluate / "scores.jsonl")
    trained = {**policies, "reward": reward}
    folders = {**{stage: trained[stage] for stage in CURVES}, "evaluate": evaluate, "select": select}
    kept = contracts.check(cfg.contracts, documents, selection["method"])
    seen = monitored.of_candidate(
        read_jsonl(monitors / "findings.jsonl"), selection["method"], selection["checkpoint"]
    )
    training = [chart for stage in CURVES for chart in training_charts(stage, folders[stage] / "curves.jsonl")]
    content = {
        "title": cfg.title,
        "verdict": {**verdict_section(gate, evaluation, card), "contracts": contracts.summary(kept)},
        "contracts": contract_table(kept),
        "monitors": {
            "sentences": monitored.sentences(seen), "note": monitored.counted(documents["monitors"]),
            "table": monitored.table(seen), "examples": monitored.examples(seen),
        },
        "training": training,
        "judge": judge_section(card, documents["compare"]),
        "lineage": lineage(folders, gate),
        **candidate_sections(cfg, documents["evaluate"], selection, scores),
        **evaluation_sections(evaluation),
    }
    out.mkdir(parents=True, exist_ok=True)
    page = render(content)
    (out / REPORT_FILE).write_text(page, encoding="utf-8")
    broken = sum(contract.holds is False for contract in kept)
    counts = {"bytes": len(page.encode()), "charts": page.count("<figure"), "contracts_broken": broken}
    return {name: float(count) for name, count in counts.items()}


def contract_table(kept: Sequence[contracts.Contract]) -> Table:
    """What each stage owes the next, and whether it was kept."""
    words = {True: "kept", False: "broken", None: "cannot be told"}
    rows = [[contract.stage, contract.name, words[contract.holds], contract.sentence] for contract in kept]
    return ["stage", "contract", "kept?", "seen"], rows


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def judge_section(card: Mapping[str, Any], compare: Mapping[str, float]) -> dict[str, Any]:
    """What the judges of the comparisons did and how far they can be believed, in words, tables and a chart."""
    reference, drawn = judge_card.reference_name(card), []
    tables = judge_card.tables(card, compare)
    if not card["pairs"]:
        tables = {name: table for name, table in tables.items() if name == "Asked"}
    elif agreement := judge_card.agreement_intervals(card):
        unit = f"share of pairs labelled as {reference} does"
        drawn = [charts.intervals("Agreement of the labels", unit, agreement)]
    interval = f"{card['confidence']:.0%} intervals by root"
    captions = {
        "What they did": f"What they did, of pairs and of single answers; {interval}",
        "Agreement": f"Agreement with {reference}; {interval}",
        "By criterion": "By criterion, on all pairs",
        "Told": "What judges that are language models are told",
        "Asked": "What was asked",
    }
    shown_tables = [(captions[name], *table) for name, table in tables.items()]
    return {"sentences": judge_card.sentences(card), "tables": shown_tables, "charts": drawn}


def verdict_section(
    gate: Mapping[str, Any], evaluation: Mapping[str, Any], card: Mapping[str, Any]
) -> dict[str, Any]:
    """The verdict, its reasons, and what the numbers below it rest on."""
    candidate = gate["candidate"]
    warnings = judge_card.warnings(card)
    trained = "its labels trained the models" if warnings else "training never sees it"
    return {
        "word": gate["verdict"],
        "candidate": f"{candidate['method']} ({candidate['checkpoint']})",
        "reference": gate["reference"],
        "reasons": gate["reasons"],
        "warnings": warnings,
        "scope": f"Gold is {GOLD[evaluation['gold_kind']][0]}; {trained}. The verdict rests on {gate['prompts']} "
        f"prompts that nothing else reads, at one-sided α = {gate['alpha']:g}; everything below on "
        f"{evaluation['prompts']} other prompts of {evaluation['roots']} roots, with "
        f"{evaluation['confidence']:.0%} intervals by root."
        f"{sentence(evaluation)}{sentence(gate)}",
    }


def evaluation_sections(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Tables and charts that stand in evaluate.json alone."""
    models, unit, curves = evaluation["models"], gold_unit(evaluation), evaluation["over_optimisation"]
    accuracy = evaluation["proxy"]
    kl = {name: scores["kl"] for name, scores in models.items() if "kl" in scores}
    kl_errors = {name: 1.96 * models[name]["kl_standard_error"] for name in kl}
    rows = [score_row(name, scores, evaluation) for name, scores in models.items()]
    gold = {name: _triple(scores["gold"], "mean") for name, scores in models.items()}
    drawn = [charts.intervals("Gold by model", unit, gold)]
    for name, reference in REFERENCES.items():
        if versus := {model: _triple(one, "difference") for model, one in evaluation.get(name, {}).items()}:
            title = f"Gold against {reference}, paired"
            drawn.append(charts.intervals(title, f"difference in {unit}", versus, zero=True))
    return {
        "scores": {
            "caption": f"Unseen prompts, serving temperature; n = {evaluation['n']} for best of n",
            "head": [head for head, _ in rows[0]],
            "rows": [[text for _, text in row] for row in rows],
            "adversarial": measured.adversarial_table(models),
            "ratings": measured.ratings_table(evaluation.get("ratings")),
            "charts": drawn,
        },
        "proxy_note": f"The reward model orders two answers to one prompt as gold does in "
        f"{accuracy['pairwise_accuracy']:.1%} of {accuracy['pairs']:,} pairs. Where proxy rises and gold does not, "
        "the proxy is being fooled.",
        "proxy_charts": [
            charts.over_optimisation("Gold over distance", f"gain in {unit}", "gold", curves),
            charts.over_optimisation("Proxy over distance", "gain in proxy (reward model's unit)", "proxy", curves),
        ],
        "size_charts": [
            charts.bars("KL to SFT", "nats per response, 95% interval", kl, kl_errors),
            charts.bars("Length", "tokens per response", {name: scores["length"] for name, scores in models.items()}),
            charts.bars("Diversity", "distinct-2", {name: scores["distinct_2"] for name, scores in models.items()}),
        ],
        "examples": [{"gold": None, **example} for example in evaluation["examples"]],
    }


def gold_unit(evaluation: Mapping[str, Any]) -> str:
    return f"gold score ({GOLD[evaluation['gold_kind']][1]})"


def _triple(interval: Mapping[str, float], name: str) -> tuple[float, float, float]:
    return interval[name], interval["ci_low"], interval["ci_high"]


def score_row(name: str, scores: Mapping[str, Any], evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(head, text) of one line of the table; a dash where a number does not exist."""
    versus = []
    for reference, head in (("versus_sft", "versus SFT"), ("versus_champion", "versus champion")):
        if reference in evaluation:
            gain = evaluation[reference].get(name)
            interval = shown.with_interval("{:+.3f}", *_triple(gain, "difference")) if gain else ABSENT
            versus += [(head, interval), ("win rate", shown.share(gain and gain["win_rate"]))]
    return [
        ("model", shown.plain(name)),
        ("gold", shown.with_interval("{:.3f}", *_triple(scores["gold"], "mean"))),
        *versus,
        *((axis, f"{scores[axis]:.2f}") for axis in evaluation["axes"]),
        ("proxy", f"{scores['proxy']:.2f}"),
        ("KL, nats", _kl(scores)),
        ("tokens", f"{scores['length']:.1f}"),
        ("distinct-2", f"{scores['distinct_2']:.2f}"),
        ("refused harmful", shown.share(scores.get("refusal_rate"))),
        ("refused harmless", shown.share(scores.get("over_refusal_rate"))),
    ]


def _kl(scores: Mapping[str, Any]) -> str:
    """Measured, or bounded for best-of-n; a dash for a champion with another tokenizer."""
    if "kl" in scores:
        return f"{scores['kl']:.2f}"
    return f"≤ {scores['kl_upper_bound']:.2f}" if "kl_upper_bound" in scores else ABSENT


def candidate_sections(
    cfg: ReportConfig, evaluation: Mapping[str, Any], selection: Mapping[str, Any], scores: Sequence[Row]
) -> dict[str, Any]:
    """What the selected checkpoint changed against SFT on the select prompts."""
    candidate = findings.first_samples(scores, selection["method"], selection["checkpoint"])
    reference = findings.first_samples(scores, "sft", FINAL)
    models, name = evaluation["models"], entrant(selection["method"], selection["checkpoint"])
    axes = evaluation["versus_sft"][name]["axes"]
    return {
        "worse": findings.what_got_worse(axes, models[name], models["sft"], evaluation["confidence"]),
        "disagreements": findings.disagreements(candidate, reference, cfg.examples),
    }


def training_charts(stage: str, file: Path) -> list[Chart]:
    """One chart per metric of CURVES that the stage logged at least twice."""
    points = read_jsonl(file) if file.is_file() else []
    drawn = []
    for metric, unit in CURVES[stage]:
        logged = [(point["step"], point[metric]) for point in points if metric in point]
        if len(logged) > 1:
            drawn.append(charts.curve(f"{stage}: {metric}", unit, stage, *zip(*logged, strict=True)))
    return drawn


def lineage(folders: Mapping[str, Path], gate: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(artifact, content hash) of what the report rests on."""
    hashed = [(name, content_hash(folder)[:HASH_LENGTH]) for name, folder in folders.items()]
    gated = [(f"{side} at the gate", gate[f"{side}_hash"][:HASH_LENGTH]) for side in ("candidate", "reference")]
    return hashed + gated
