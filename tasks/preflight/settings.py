"""What params alone say: settings of two sections that must fail together later."""

from __future__ import annotations

from collections.abc import Iterator

from models.judges.oracle import OracleScorer
from tasks.compare import check_split, given_row
from tasks.config.service import AnchorsConfig
from tasks.gold import training_pairs
from tasks.judging.anchors import check_limit, read_anchors
from tasks.judging.pairing import check_raters
from tasks.judging.splits import split_by_root
from tasks.ppo import ppo_settings
from tasks.preflight.checks import NOTE, Finding, check, refused
from tasks.preflight.project import Project


@check
def settings(project: Project) -> Iterator[Finding]:
    gold = project.config("gold")
    yield from refused("ppo", lambda: ppo_settings(project.config("ppo")))
    yield from refused("compare", lambda: check_raters(project.config("compare")))
    if gold.kind == "oracle":
        yield from refused("gold", lambda: OracleScorer(gold.weights))


@check
def given_comparisons(project: Project) -> Iterator[Finding]:
    """Whether the human comparisons suffice where nothing else trains."""
    gold, compare = project.config("gold"), project.config("compare")
    if not project.prepared.files:
        return
    if gold.kind == "reward_model":
        yield from refused("gold", lambda: training_pairs(project.rows("gold_preferences")))
    if compare.given == "only":
        given = [given_row(row) for row in project.rows("preferences")]
        yield from refused("compare", lambda: check_split(*split_by_root(given, compare.heldout_fraction), compare))


@check
def anchors(project: Project) -> Iterator[Finding]:
    """A run asks them only where it is told to: `plumb retrain` does, `plumb align` does with --anchors."""
    cfg, compare = AnchorsConfig.model_validate(project.params["anchors"]), project.config("compare")
    if cfg.file is None or compare.given == "only":
        return
    yield from refused("anchors", lambda: check_limit(cfg, compare), level=NOTE)
    yield from refused("anchors", lambda: read_anchors(project.reads_file(cfg.file), cfg.minimum_pairs), level=NOTE)
