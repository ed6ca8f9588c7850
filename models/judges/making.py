"""Judges made from plain settings, as params.yaml names them."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.judges.base import Judge, Row
from models.judges.human import read_verdicts
from models.judges.oracle import OracleJudge
from models.judges.simulated import SimulatedJudge
from models.judges.verdict_form import VerdictForm

JUDGE_KINDS = ("simulated", "oracle", "openai", "hf", "reward_model", "human")


def make_judge(
    spec: Mapping[str, Any], samples: Sequence[Row] = (), date: str | None = None, **shared: Any
) -> Judge:
    """A judge from its settings: "name", "kind", and what the kind's class takes; `shared` goes to simulated judges.

    `samples` are what people may have judged, each with its `prompt`; `date` is what the chat templates of local models
    take for today. Raises ValueError for an unknown kind, for settings that the kind refuses, and for a file or model
    that is not the one whose hash the settings state.
    """
    kind, settings = spec["kind"], {key: value for key, value in spec.items() if key != "kind"}
    if kind == "simulated":
        return SimulatedJudge(**settings, **shared)
    if kind == "oracle":
        return OracleJudge(settings["name"], settings["weights"], settings.get("tie_margin", 0.0))
    if kind == "openai":
        from models.judges.openai import OpenAIJudge

        return OpenAIJudge(**settings)
    check_files(spec)
    if kind == "hf":
        return _hf(**settings, date=date)
    if kind == "reward_model":
        return _reward_model(**settings, date=date)
    if kind == "human":
        return read_verdicts(settings["name"], Path(settings["file"]), samples, verdict_form(settings))
    raise ValueError(f"judge {spec.get('name')!r} has kind {kind!r}; known kinds are {', '.join(JUDGE_KINDS)}")


def verdict_form(spec: Mapping[str, Any]) -> VerdictForm:
    """How the file of a human judge says what ours says."""
    return VerdictForm(**{name: spec[name] for name in ("columns", "words", "policy") if spec.get(name)})


def check_files(spec: Mapping[str, Any]) -> None:
    """Raises ValueError for a file or model of a judge that is not there, or not the one whose hash its settings state;
    a model is not loaded for it."""
    if spec["kind"] == "human":
        path = Path(spec["file"])
        if not path.is_file():
            raise ValueError(f"judge {spec['name']!r}: {path} does not exist; set the judge's file to one that does")
        _check_hash(spec["name"], path, _file_hash(path), spec["sha256"])
    elif spec["kind"] in ("hf", "reward_model"):
        from models.lm.loading import weights_hash
        from models.lm.weights import check_model_directory

        path = Path(spec["path"])
        check_model_directory(path)
        _check_hash(spec["name"], path, weights_hash(path), spec["sha256"])


def make_pool(
    specs: Sequence[Mapping[str, Any]], samples: Sequence[Row] = (), date: str | None = None
) -> list[Judge]:
    """The judges of `specs`; simulated ones read each answer once between them, told apart by the row's id.

    Raises ValueError for a name that stands twice.
    """
    names = [spec["name"] for spec in specs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"judge {twice[0]!r} stands twice in the pool; give each judge its own name")
    shared = {"axes_of": _remembered_oracle()} if any(spec["kind"] == "simulated" for spec in specs) else {}
    return [make_judge(spec, samples, date, **(shared if spec["kind"] == "simulated" else {})) for spec in specs]


def _remembered_oracle() -> Callable[[Mapping[str, Any], str], Mapping[str, float]]:
    from models.hearth import oracle

    known: dict[tuple[str, str], Mapping[str, float]] = {}

    def axes_of(row: Mapping[str, Any], response: str) -> Mapping[str, float]:
        key = (row["id"], response)
        if key not in known:
            known[key] = oracle.score(row, response)
        return known[key]

    return axes_of


def _hf(name: str, path: str, sha256: str, weights: Mapping[str, float], **more: Any) -> Judge:
    from models.judges.hf import HfJudge

    return HfJudge.load(name, Path(path), weights, **more)


def _reward_model(
    name: str, path: str, sha256: str, epoch: int, temperature: float, rows_per_batch: int, date: str | None
) -> Judge:
    from models.chat.template import template_description
    from models.judges.reward_model import RewardModelJudge, RewardModelScorer

    scorer = RewardModelScorer.load(Path(path), None, rows_per_batch, date)
    description = {"kind": "reward_model", "name": name, "model": sha256, "epoch": epoch, "temperature": temperature,
                   **template_description(scorer.tokenizer)}
    return RewardModelJudge(name, scorer, description, temperature)


def _file_hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_hash(name: str, path: Path, actual: str, stated: str) -> None:
    """What a judge is made of stands in no dependency of the graph, so its hash in params.yaml says when it changed."""
    if actual != stated:
        raise ValueError(f"judge {name!r}: {path} has sha256 {actual}, params.yaml says {stated!r}; set the judge's "
                         "sha256 to the one found, so that a changed judge is judged by anew")
