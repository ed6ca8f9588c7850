"""Whether the splits can show what the gate and the monitors are asked for."""

from __future__ import annotations

from collections.abc import Iterator

from models.hearth import oracle
from tasks.answering.prompt_rows import part_of
from tasks.config.gate import GateConfig
from tasks.config.gold import GoldConfig
from tasks.preflight.checks import NOTE, Finding, check, refused
from tasks.preflight.project import Project
from tasks.verdict.decision import GUARDED, Compared, least, power_of_each
from tasks.verdict.power import prompts_for_mean

NO_PROMOTION = "the verdict cannot be promote"


@check
def gate_prompts(project: Project) -> Iterator[Finding]:
    cfg, rows = project.config("gate"), project.rows("gate_prompts")
    if not rows:
        return
    missing = list(refused("gate", lambda: part_of(rows, cfg.set, cfg.sets)))
    yield from missing
    if missing:
        return
    gold = project.config("gold")
    pairs = Compared([], [], part_of(rows, cfg.set, cfg.sets), _axes(gold), gold.kind)
    yield from _size(cfg, pairs)
    yield from _guards(cfg, pairs)


def _axes(gold: GoldConfig) -> tuple[str, ...]:
    if gold.judge is not None:
        return tuple(gold.judge.weights)
    return tuple(oracle.AXES) if gold.kind == "oracle" else ()


def _size(cfg: GateConfig, pairs: Compared) -> Iterator[Finding]:
    """The least number of prompts: answers that differ little from each other need no more."""
    count = len(pairs.prompts)
    if count < least(cfg, cfg.minimum_prompts, pairs.roots):
        text = (
            f"{count} prompts of {len(set(pairs.roots))} roots are fewer than "
            f"gate.minimum_prompts={cfg.minimum_prompts} of gate.minimum_roots={cfg.minimum_roots}: {NO_PROMOTION}"
        )
        yield Finding(NOTE, "gate", text, "give more prompts, or raise data.splits.gate")
        return
    measured = sum(guard is not None and pairs.measures(name) for name, guard in cfg.guards)
    power = power_of_each(cfg, pairs, measured)
    wanted = prompts_for_mean([0.0] * count, pairs.roots, cfg.minimum_effect, cfg.look_alpha, power)
    if count < wanted:
        text = (
            f"{count} prompts cannot show gate.minimum_effect={cfg.minimum_effect:g} with gate.power={cfg.power:g}; at "
            f"least {wanted} are needed, and more where answers differ much"
        )
        yield Finding(NOTE, "gate", text, "give more prompts, raise data.splits.gate, or ask for a larger effect")


def _guards(cfg: GateConfig, pairs: Compared) -> Iterator[Finding]:
    for name, guard in cfg.guards:
        if guard is None:
            continue
        if not pairs.measures(name):
            text = f"guard {name} is not measured, as these prompts or this gold cannot show it: {NO_PROMOTION}"
            remedy = "mark prompts with harmful: true or false, take a gold that has the axis"
            yield Finding(NOTE, "gate", text, f"{remedy}, or set gate.guards.{name} to null")
            continue
        roots = [prompt["root"] for prompt in filter(GUARDED[name][1], pairs.prompts)]
        if len(roots) < least(cfg, guard.minimum_prompts, roots):
            text = (
                f"guard {name} wants {guard.minimum_prompts} prompts of {cfg.minimum_roots} roots that show it, and "
                f"{len(roots)} of {len(set(roots))} do: {NO_PROMOTION}"
            )
            yield Finding(NOTE, "gate", text, f"give more of them, or lower gate.guards.{name}.minimum_prompts")


@check
def monitors(project: Project) -> Iterator[Finding]:
    limits = project.config("monitors").limits.get("perplexity")
    rows = project.prepared.files
    if limits is not None and limits.relative is not None and rows and not rows["heldout_demonstrations"]:
        text = "no demonstration is held out, so perplexity is measured on those that trained SFT"
        yield Finding(NOTE, "monitors", text, "give demonstrations of roots that fall into select, or set their split")
