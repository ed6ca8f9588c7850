"""Every row of every split against the chat template, and its length against the context and the stages' limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from models.chat.template import encode_prompt
from tasks import dpo, sft
from tasks.answering.prompt_rows import has_an_answer, part_of
from tasks.answering.sampling import check_room
from tasks.answering.second_turn import doubted, second_turn_length
from tasks.common.rows import Row
from tasks.preflight.checks import NOTE, PROBLEM, Finding, check, refused
from tasks.preflight.project import Project
from tasks.training import trainers as training

T = TypeVar("T")
MEND = "mend these rows, or set data.bad_rows to skip, which leaves them out"
SHORTEST_ANSWER = 2  # tokens: a word and its end


@check
def rows_that_prepare_refuses(project: Project) -> Iterator[Finding]:
    for finding in project.prepared.findings:
        text, _, remedy = str(finding).partition("; ")
        count = f" ({finding.count} rows)" if finding.first and finding.count > 1 else ""
        way_out = remedy or (MEND if finding.first and finding.stops else "")
        yield Finding(PROBLEM if finding.stops else NOTE, "data", text + count, way_out)


@check
def categories(project: Project) -> Iterator[Finding]:
    """One row of each category: a weight that is missing is missing for all of its rows."""
    cfg = project.config("sft")
    for row in {row["category"]: row for row in project.rows("demonstrations")}.values():
        yield from refused("sft", lambda: sft.mixture([row], cfg.category_weights, cfg.runtime.seed))


@check
def demonstrations(project: Project) -> Iterator[Finding]:
    cfg, tokenizer = project.config("sft"), project.tokenizer
    weighted = [row for row in project.rows("demonstrations") if cfg.category_weights.get(row["category"], 1)]
    known: list[tuple[str, Any]] = []
    yield from _render(project, "demonstrations", weighted, lambda row: sft.tokenise([row], tokenizer)[0], known)
    lengths = [(name, len(one["input_ids"])) for name, one in known]
    yield from _too_long(project, "demonstrations", lengths, "sft.max_length", cfg.max_length)
    heldout = project.rows("heldout_demonstrations")
    yield from _render(project, "heldout_demonstrations", heldout, lambda row: sft.tokenise([row], tokenizer), [])


@check
def prompts(project: Project) -> Iterator[Finding]:
    """Those that are answered, against the room that the longest answer leaves."""
    gate, serving = project.config("gate"), project.config("answers").serving.max_new_tokens
    answered = {
        "compare_prompts": (project.rows("compare_prompts"), project.config("generate").max_new_tokens),
        "rl_prompts": (project.rows("rl_prompts"), project.config("ppo").max_new_tokens),
        "select_prompts": (project.rows("select_prompts"), serving),
    }
    if project.rows("gate_prompts"):
        answered["gate_prompts"] = (part_of(project.rows("gate_prompts"), gate.set, gate.sets), serving)
    for name, (rows, longest) in answered.items():
        known: list[tuple[str, Any]] = []
        yield from _render(project, name, rows, lambda row: _prompt(project, row), known)
        yield from refused(name, lambda: check_room(known, project.shape, longest))
        if name == "compare_prompts" and project.config("compare").given != "only":
            yield from _answers_to_compare(project, known, longest)


def _prompt(project: Project, row: Row) -> list[int]:
    return encode_prompt(project.tokenizer, row["prompt"], row.get("tools"))


def _answers_to_compare(
    project: Project, known: Sequence[tuple[str, Sequence[int]]], longest: int
) -> Iterator[Finding]:
    """Whether comparisons of sampled answers can be trained on: the judges are paid before it shows."""
    least = [(name, len(ids) + SHORTEST_ANSWER) for name, ids in known]
    most = max((len(ids) for _, ids in known), default=0) + longest + 1  # a cut answer, and the end that it lacks
    for stage in ("reward", "dpo"):
        setting, limit = f"{stage}.max_length", project.config(stage).max_length
        problems = list(_too_long(project, f"answers to compare_prompts, {stage}", least, setting, limit))
        yield from problems
        if not problems and most > limit:
            most_of = f"prompts with answers of generate.max_new_tokens={longest} have up to {most} tokens"
            text = f"{most_of}, above {setting}={limit}"
            yield Finding(NOTE, stage, text, f"{stage} stops at such a pair: raise {setting} to {most} to be safe")


@check
def preferences(project: Project) -> Iterator[Finding]:
    """Human comparisons, against the stages that train on them."""
    gold, limits = project.config("gold"), {}
    if project.config("compare").given != "none":
        limits["preferences"] = {stage: project.config(stage).max_length for stage in ("reward", "dpo")}
    if gold.kind == "reward_model":
        limits["gold_preferences"] = {"gold.training": gold.training.max_length}
    for name, by_stage in limits.items():
        known: list[tuple[str, Any]] = []
        rows, tokenizer = project.rows(name), project.tokenizer
        yield from _render(project, name, rows, lambda row: dpo.tokenise([row], tokenizer)[0], known)
        lengths = [(row_id, pair["length"]) for row_id, pair in known]
        for stage, limit in by_stage.items():
            yield from _too_long(project, name, lengths, f"{stage}.max_length", limit)


@check
def second_turns(project: Project) -> Iterator[Finding]:
    """One doubted answer: whether the template can show it at all."""
    challenge = project.config("answers").challenge
    prompt = next(filter(has_an_answer, project.rows("select_prompts")), None)
    if challenge is None or prompt is None:
        return
    doubt = doubted(prompt, "Yes.", challenge)
    yield from refused("answers", lambda: second_turn_length(project.tokenizer, doubt, challenge))


def _too_long(
    project: Project, subject: str, lengths: Sequence[tuple[str, int]], setting: str, limit: int
) -> Iterator[Finding]:
    """lengths: (id, tokens) of each row; as the stage that trains on them would refuse them."""
    tokens, names = [length for _, length in lengths], [name for name, _ in lengths]
    yield from refused(subject, lambda: training.check_lengths(tokens, names, limit, setting, project.shape))


def _render(
    project: Project, name: str, rows: Sequence[Row], encode: Callable[[Row], T], known: list[tuple[str, T]]
) -> Iterator[Finding]:
    """Puts (id, what `encode` makes of it) of each row into `known`; rows that the template refuses are one finding."""
    project.tokenizer  # what is wrong with it is no row's fault
    bad: list[tuple[str, str]] = []
    for row in rows:
        try:
            known.append((row["id"], encode(row)))
        except Exception as error:  # noqa: BLE001  a template is code of somebody's, and raises what it likes
            bad.append((row["id"], " ".join(f"{type(error).__name__}: {error}".split())[:200]))
    if bad:
        text = f"the chat template refuses {len(bad)} of {len(rows)} rows, the first is {bad[0][0]} ({bad[0][1]})"
        yield Finding(PROBLEM, name, text, "leave these rows out, or give the tokenizer a template that takes them")
