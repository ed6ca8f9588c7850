"""Judges and samplers: their files, their variables, and whether those across a network answer and can be read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.chat.template import load_tokenizer
from models.hearth import oracle
from models.judges.asking import Asker, AskingSettings
from models.judges.base import Question, Verdict
from models.judges.budget import Budget
from models.judges.human import check_verdicts
from models.judges.remote_round import PROBE
from models.samplers import Prompt, make_sampler
from models.samplers.openai import KEY_VARIABLE, URL_VARIABLE
from models.sampling.sampler import SamplingSettings
from tasks.common.errors import one_line
from tasks.common.rows import Row
from tasks.config.compare import CompareConfig
from tasks.config.gold import GoldConfig
from tasks.config.shared import AskingConfig
from tasks.generate import check_tools
from tasks.judging.making import check_files, make_judge, verdict_form
from tasks.judging.templates import template_of, with_template
from tasks.preflight.checks import PROBLEM, Finding, check, refused
from tasks.preflight.project import Project

ATTEMPTS, PATIENCE = 3, 60.0  # calls for one answer, and seconds for it, at most
FILES = ("path", "file")
NETWORK_SAMPLER = "openai"
HEARTH_KINDS = ("oracle", "simulated")
COMPARED, SCORED = ("compare_prompts",), ("compare_prompts", "select_prompts", "gate_prompts")


@check
def judges(project: Project) -> Iterator[Finding]:
    for section, spec in project.judges():
        subject = f"{section}: {spec['name']}"
        for key in FILES:
            if key in spec:
                project.reads_file(spec[key])
        if spec.get("template_sha256"):
            project.reads_file(spec["template"])
        if spec["kind"] == "openai":
            project.reads_variable(spec["url_variable"])
            project.reads_variable(spec["key_variable"])
        yield from refused(subject, lambda: check_judge(spec))


def check_judge(spec: Mapping[str, Any]) -> None:
    """Raises what making this judge, or a first question to it, would raise; no model is loaded and nobody is asked."""
    check_files(spec)
    if spec["kind"] == "human":
        check_verdicts(Path(spec["file"]), verdict_form(spec))
    elif spec["kind"] == "reward_model":
        load_tokenizer(Path(spec["path"]))
    elif spec["kind"] == "hf":
        from models.judges.hf import HfJudge

        template = template_of(spec)
        HfJudge(spec["name"], None, load_tokenizer(Path(spec["path"])), spec["weights"], template=template)
    else:
        judge = make_judge(with_template(spec))
        if spec["kind"] == "openai":
            asyncio.run(_open(judge))


async def _open(judge: Any) -> None:
    """Reads its address and key; a connection is made with the first call only."""
    async with judge:
        pass


@check
def answers_of_judges(project: Project) -> Iterator[Finding]:
    """One call to each judge across a network, of which nothing is stored."""
    if not project.asks:
        return
    compare, gold = project.config("compare"), project.config("gold")
    for section, spec in project.judges():
        if spec["kind"] == "openai":
            cfg = compare if section == "compare.judges" else gold
            yield from refused(f"{section}: {spec['name']}", lambda: _ask(project, spec, cfg))


def _ask(project: Project, spec: Mapping[str, Any], cfg: CompareConfig | GoldConfig) -> None:
    """Raises ValueError for a judge whose answer cannot be read, or whose budget has no room for one call; what asking
    it raises."""
    rates = isinstance(cfg, GoldConfig) or cfg.labels == "ratings"
    question = Question(PROBE.row, PROBE.first, None if rates else PROBE.second, key="preflight")
    limits = cfg.budget.model_dump(include={"max_calls", "max_cost"}) if cfg.budget else {}
    asker = Asker(None, Budget(**limits), _patience(cfg.asking))
    try:
        (answer,) = asker.ask([(make_judge(with_template(spec)), question)])
    finally:
        project.add(asker.tally)
    if answer is None:
        raise ValueError(f"its budget ({_named(limits)}) has no room for one call; raise it, or set it to null")
    if not answer or (isinstance(answer, Verdict) and not answer.valid):
        replies = [reply for of_kind in asker.unreadable.values() for reply in of_kind]
        why = replies[0] if replies else "it refuses it; use another model"
        raise ValueError(f"it answers an easy question so that it cannot be read: {why}")


def _patience(asking: AskingConfig | None) -> AskingSettings:
    by = AskingSettings.of(asking and asking.model_dump())
    return replace(by, concurrency=1, attempts=min(by.attempts, ATTEMPTS), patience=min(by.patience, PATIENCE))


def _named(limits: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in limits.items() if value is not None)


@check
def sampler(project: Project) -> Iterator[Finding]:
    cfg = project.config("generate")
    if "sampler" not in project.roles or cfg.sampler in ("batched", "continuous"):
        return
    if cfg.sampler == NETWORK_SAMPLER:
        project.reads_variable(URL_VARIABLE)
        project.reads_variable(KEY_VARIABLE)
    yield from refused("generate.sampler", lambda: check_tools(cfg.sampler, project.rows("compare_prompts")))
    yield from refused("generate.sampler", lambda: _check_sampler(project))


def _check_sampler(project: Project) -> None:
    cfg = project.config("generate")
    made = make_sampler(cfg.sampler, None, project.tokenizer, 1, cfg.served_model, _patience(cfg.asking))
    if project.asks and cfg.sampler == NETWORK_SAMPLER:
        project.tally.calls += 1
        prompt = Prompt("preflight", PROBE.row["prompt"], ())
        made.sample([prompt], 1, SamplingSettings(cfg.temperatures[0], 1, cfg.runtime.seed))


# --- scorers that know hearth's world alone, on data that may be another's ---


@check
def hearth_scorers(project: Project) -> Iterator[Finding]:
    compare = project.config("compare")
    names = [judge.name for judge in compare.judges if judge.kind in HEARTH_KINDS] if compare.given != "only" else []
    if names:
        remedy = "give judges of kind openai, hf, reward_model or human, or set compare.given to only"
        yield from _strangers(project, f"compare.judges: {', '.join(names)}", COMPARED, remedy)
    if project.config("gold").kind == "oracle":
        yield from _strangers(project, "gold (kind oracle)", SCORED, "set gold.kind to reward_model or judge")


def _strangers(project: Project, who: str, files: tuple[str, ...], remedy: str) -> Iterator[Finding]:
    rows = [row for file in files for row in project.rows(file)]
    unknown = [(row, reason) for row in rows if (reason := _refusal(row))]
    if unknown:
        row, reason = unknown[0]
        text = (
            f"{len(unknown)} of {len(rows)} prompts are not hearth's, whose world alone it knows, the first is "
            f"{row['id']} ({reason.partition(';')[0]})"
        )
        yield Finding(PROBLEM, who, text, remedy)


def _refusal(row: Row) -> str | None:
    """Why the oracle, which knows hearth's world alone, cannot score an answer to this prompt; None where it can."""
    try:
        oracle.score(row, "I do not know.")
    except (ValueError, KeyError, TypeError) as error:
        return one_line(error)
    return None
