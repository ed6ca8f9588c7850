"""Judges made from plain settings, as params.yaml names them."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.judges.base import Judge, Row
from models.judges.verdict_form import VerdictForm
from tasks.config.shared import resolved
from tasks.config.judges import JUDGES


def make_judge(spec: Mapping[str, Any], samples: Sequence[Row] = (), date: str | None = None) -> Judge:
    """A judge from its settings: "name", "kind", and what the kind takes.

    `samples` are what people may have judged, each with its `prompt`; `date` is what the chat templates of local models
    take for today. Raises ValueError for an unknown kind, for settings that the kind refuses, and for a file or model
    that is not the one whose hash the settings state.
    """
    return make_pool([spec], samples, date)[0]


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
    given = {"samples": samples, "date": date, "axes_of": _remembered_oracle()}
    return [_made(spec, given) for spec in specs]


def _made(spec: Mapping[str, Any], given: Mapping[str, Any]) -> Judge:
    kind = JUDGES[spec["kind"]]
    check_files(spec)
    settings = {key: value for key, value in spec.items() if key != "kind"}
    return resolved(kind.make)(**settings, **{name: given[name] for name in kind.needs})


def _remembered_oracle() -> Callable[[Mapping[str, Any], str], Mapping[str, float]]:
    from models.hearth import oracle

    known: dict[tuple[str, str], Mapping[str, float]] = {}

    def axes_of(row: Mapping[str, Any], response: str) -> Mapping[str, float]:
        key = (row["id"], response)
        if key not in known:
            known[key] = oracle.score(row, response)
        return known[key]

    return axes_of


def hf(*, path: str, sha256: str, **settings: Any) -> Judge:
    from models.judges.hf import HfJudge

    return HfJudge.load(path=Path(path), **settings)


def reward_model(
    name: str, path: str, sha256: str, epoch: int, temperature: float, rows_per_batch: int, date: str | None
) -> Judge:
    from models.chat.template import template_description
    from models.judges.reward_model import RewardModelJudge, RewardModelScorer

    scorer = RewardModelScorer.load(Path(path), None, rows_per_batch, date)
    description = {"kind": "reward_model", "name": name, "model": sha256, "epoch": epoch, "temperature": temperature,
                   **template_description(scorer.tokenizer)}
    return RewardModelJudge(name, scorer, description, temperature)


def human(*, name: str, file: str, samples: Sequence[Row], **settings: Any) -> Judge:
    from models.judges.human import read_verdicts

    return read_verdicts(name, Path(file), samples, verdict_form(settings))


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
        with open(path, "rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    elif spec["kind"] in ("hf", "reward_model"):
        from models.lm.loading import weights_hash
        from models.lm.weights import check_model_directory

        path = Path(spec["path"])
        check_model_directory(path)
        actual = weights_hash(path)
    else:
        return
    # What a judge is made of stands in no dependency of the graph, so its hash in params.yaml says when it changed.
    if actual != spec["sha256"]:
        raise ValueError(f"judge {spec['name']!r}: {path} has sha256 {actual}, params.yaml says {spec['sha256']!r}; "
                         "set the judge's sha256 to the one found, so that a changed judge is judged by anew")
