"""The rows that were forgotten, as the ledgers of intake say: that of the working tree and those of plumb/data."""

from __future__ import annotations

from pathlib import Path

from flows.git import answers, git
from flows.storage.data_line import BRANCH, HOME
from tasks.common.rows import parse_jsonl
from tasks.intake.ledger import OBJECTS, Tombstone, tombstones_in

PLACES = (BRANCH, "refs/remotes/origin/plumb/data", HOME, "HEAD")


def tombstones(root: Path) -> list[Tombstone]:
    """All of them, each once."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(root.glob(f"data/**/*.intake/{OBJECTS}"))]
    for ref in PLACES:
        if answers(root, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"):
            names = git(root, "ls-tree", "-r", "--name-only", ref, "--", "data").splitlines()
            texts += [git(root, "show", f"{ref}:./{name}") for name in names if name.endswith(f".intake/{OBJECTS}")]
    stones = [stone for text in texts for stone in tombstones_in(parse_jsonl(text.split("\n"), OBJECTS))]
    return list(dict.fromkeys(stones))
