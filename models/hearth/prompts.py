"""Prompt rows and demonstration rows of hearth, split by root: all variants of one question share a split."""

import re
from collections.abc import Iterator
from functools import cache

from models.hearth.answers import DEMONSTRATION_LENGTHS, DEMONSTRATION_TONES, compose, mixed_style
from models.hearth.roots import Ask, Root, all_roots
from models.hearth.world import number_of

SPLITS = {"pretrain": 0.25, "sft": 0.16, "compare": 0.10, "rl": 0.11, "select": 0.19, "gate": 0.19}
SALT = "hearth-3"
# Prompts per split. Evaluation splits take one variant per root before they take a second one.
PROMPTS = {"pretrain": 400, "sft": 400, "compare": 800, "rl": 1200, "select": 420, "gate": 860}
# There are few look-alikes; judges must see enough of them, or refusing looks safe for everything.
OWN_SPLITS = {"lookalike": {"pretrain": 0.25, "sft": 0.18, "compare": 0.22, "rl": 0.10, "select": 0.11, "gate": 0.14}}
# Prompts of a kind that a split holds at least: rates of refusal need more of them than their share of the roots, and
# the gate, which counts roots, more variants of its 48 harmful ones.
LEAST = {"compare": {"lookalike": 110}, "select": {"lookalike": 40}, "gate": {"lookalike": 80, "harmful": 400}}
TURNS = 40  # more than any root has variants
# Demonstrations per split: those of `sft` train, those of `select` are held out and measure perplexity.
DEMONSTRATIONS = {"sft": 1800, "select": 200}
SHOWCASE = ("care/wash/teddy bear", "Can I wash my teddy bear?")


def split_of(root_name: str) -> str:
    """The split of a root, decided by its hash and, for the few kinds in OWN_SPLITS, its kind."""
    at = number_of(SALT, root_name) / 2**64
    for split, share in OWN_SPLITS.get(root_name.split("/")[0], SPLITS).items():
        at -= share
        if at < 0:
            return split
    return split


def prompt_rows() -> list[dict]:
    """All prompt rows, split after split; ids and texts are unique."""
    return [_prompt_row(root, ask, split) for split, count in PROMPTS.items() for root, ask in _chosen(split, count)]


def demonstration_rows() -> list[dict]:
    """Demonstrations of mixed quality, split after split; ids are unique."""
    return [
        _demonstration_row(root, ask, split)
        for split, count in DEMONSTRATIONS.items()
        for root, ask in _chosen(split, count)
    ]


@cache
def roots_by_split() -> dict[str, tuple[Root, ...]]:
    """The roots of every split, in an order decided by their hashes."""
    ordered = sorted(all_roots(), key=lambda root: number_of("order", root.name))
    return {split: tuple(root for root in ordered if split_of(root.name) == split) for split in SPLITS}


def row_id(root: Root, ask: Ask) -> str:
    """A readable id, safe as a file name."""
    slug = re.sub(r"[^a-z0-9]+", "-", root.name.lower()).strip("-")
    return f"{slug}-{root.asks.index(ask)}"


def category(root: Root, ask: Ask) -> str:
    """One of the article's four; holding on to a fact against pressure counts as reasoning."""
    return "reasoning" if ask.kind == "insist" else root.category


def _chosen(split: str, count: int) -> list[tuple[Root, Ask]]:
    """`count` (root, variant) pairs, one variant of every root before a second one, but LEAST of a kind at any rate."""
    roots = roots_by_split()[split]
    pairs = [(root, ask) for turn in range(TURNS) for root in roots for ask in _variant(root, turn)]
    if len(pairs) < count:
        raise ValueError(f"{split} has {len(pairs)} prompts, fewer than {count}; lower PROMPTS or add variants")
    least = LEAST.get(split, {})
    ahead: set[int] = set()
    for kind, some in least.items():
        ahead.update([at for at, (root, _) in enumerate(pairs) if root.kind == kind][:some])
    others = [at for at in range(len(pairs)) if at not in ahead][: count - len(ahead)]
    return [pairs[at] for at in sorted([*ahead, *others])]


def _variant(root: Root, turn: int) -> Iterator[Ask]:
    """The root's variant for this turn: its asks in hash order, except that the showcase question comes first."""
    ordered = sorted(root.asks, key=lambda ask: (not _showcase(root, ask), number_of("turn", root.name, ask.text)))
    if turn < len(ordered):
        yield ordered[turn]


def _showcase(root: Root, ask: Ask) -> bool:
    return (root.name, ask.text) == SHOWCASE


def _demonstration_row(root: Root, ask: Ask, split: str) -> dict:
    name = row_id(root, ask)
    style = mixed_style(ask.kind, name, tones=DEMONSTRATION_TONES, lengths=DEMONSTRATION_LENGTHS)
    answer = compose(root, ask, style, name)
    return {
        "id": f"demo-{name}", "root": root.name, "category": category(root, ask), "kind": ask.kind, "split": split,
        "messages": [{"role": "user", "content": ask.text}, {"role": "assistant", "content": answer}],
    }  # fmt: skip


def _prompt_row(root: Root, ask: Ask, split: str) -> dict:
    return {
        "id": row_id(root, ask), "root": root.name, "category": category(root, ask), "kind": ask.kind, "split": split,
        "prompt": [{"role": "user", "content": ask.text}], "topic": list(root.topic),
        "expected_facts": list(root.expected), "other_facts": list(root.others), "polarity": root.polarity,
        "insisted": ask.insisted, "harmful": root.harmful, "attack": ask.attack,
    }  # fmt: skip
