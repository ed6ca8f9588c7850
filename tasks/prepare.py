"""Reads a team's data, checks every row, and splits it by root; no later stage sees another's questions."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping, Sequence

from tasks import formats
from tasks.config.shared import DataConfig, NearRepeatsConfig, PrepareConfig
from tasks.errors import DataError
from tasks.near_repeats import HeldOut
from tasks.rows import Row, write_jsonl

HELD_OUT = ("select", "gate", "gold")
KEPT_APART = ("gate", "select", "gold")  # the gate's prompts are the last to go
REPEATS = "it repeats a held-out prompt"
HELDOUT_DEMONSTRATIONS = "heldout_demonstrations"
PARSERS: dict[str, Callable[[Mapping[str, Any]], Row]] = {
    "demonstrations": formats.demonstration,
    "prompts": formats.prompt,
    "preferences": formats.preference,
}
KIND_SPLITS = {
    "demonstrations": ("sft",),
    "prompts": ("compare", "rl", "select", "gate"),
    "preferences": ("preferences", "gold"),
}
KIND_OF = {split: kind for kind, splits in KIND_SPLITS.items() for split in splits}
KIND_OF[HELDOUT_DEMONSTRATIONS] = "demonstrations"


@dataclass(frozen=True)
class Read:
    """Rows of one kind, and how many were left out for which reason."""

    rows: list[Row]
    skipped: Counter[str]


def prepare(cfg: PrepareConfig, data: Path, out: Path) -> dict[str, float]:
    """Write each split's file below `out`; demonstrations whose root falls into `select` are held out from training.

    `skipped_KIND` counts bad rows and those that repeat a held-out prompt, `near_repeats_SPLIT` rows that were left out
    of a split because they nearly repeat one (data.near_repeats), `unused_KIND` rows in a split that nothing of their
    kind is read from, by their own `split` or by their root.

    Raises DataError naming file and row for a bad row (unless data.bad_rows is `skip`), duplicate ids, a question in
    two splits of which one is held out, or no data.
    """
    kinds = {kind: read_kind(data / file, kind, cfg.data) for kind, file in files_of(cfg.data).items()}
    split_rows = {split: [] for splits in KIND_SPLITS.values() for split in splits}
    for kind, read in kinds.items():
        for split, rows in _split(kind, read.rows, cfg.data).items():
            split_rows[split] += rows
    for kind, repeats in _take_out_repeats(split_rows, cfg.data).items():
        kinds[kind].skipped[REPEATS] += repeats
    heldout = _in_split("select", "demonstrations", kinds["demonstrations"].rows, cfg.data)
    near_repeats, heldout = _take_out_near_repeats(split_rows, heldout, cfg.data.near_repeats)
    _check_needed(split_rows, near_repeats)
    _check_apart(split_rows)
    write_jsonl(out / "demonstrations.jsonl", split_rows["sft"])
    write_jsonl(out / "heldout_demonstrations.jsonl", heldout)
    for split in KIND_SPLITS["prompts"]:
        write_jsonl(out / f"{split}_prompts.jsonl", _one_per_prompt(split_rows[split]))
    write_jsonl(out / "preferences.jsonl", split_rows["preferences"])
    write_jsonl(out / "gold_preferences.jsonl", split_rows["gold"])
    return _metrics(kinds, split_rows, heldout, near_repeats)


def files_of(data: DataConfig) -> dict[str, str]:
    """The file that each kind of rows is read from; several kinds may share one.

    Prompts stand in a file of their own, or else in that of the preferences, or else in that of the demonstrations.
    """
    files = {"demonstrations": data.demonstrations, "prompts": data.prompts or data.preferences or data.demonstrations}
    return {**files, "preferences": data.preferences} if data.preferences else files


def read_kind(path: Path, kind: str, data: DataConfig) -> Read:
    """All rows of one kind in a file, named and checked.

    Raises DataError naming file and row for a bad row (unless data.bad_rows is `skip`), for ids that occur twice, or
    when no row is left.
    """
    rows, skipped = [], Counter()
    for number, source in enumerate(formats.read_table(path), start=1):
        try:
            content = formats.limited(PARSERS[kind](source), data.max_characters)
            rows.append(formats.named(source, content, f"{kind}-{path.name.split('.')[0]}", number))
        except formats.BadRow as reason:
            if data.bad_rows == "refuse":
                raise DataError(f"{path}, row {number}: {reason}; mend it, or set data.bad_rows to skip") from None
            skipped[str(reason)] += 1
    _check_ids(rows, path)
    if not rows:
        raise DataError(f"{path}: every row was skipped ({dict(skipped)})")
    return Read(rows, skipped)


def _check_ids(rows: Sequence[Row], path: Path) -> None:
    doubled = [name for name, count in Counter(row["id"] for row in rows).items() if count > 1]
    if doubled:
        raise DataError(f"{path}: id {doubled[0]!r}{_and_more(doubled)} occurs more than once; ids must be unique")


def _and_more(found: Sequence[Any]) -> str:
    """How many there are besides the one that is named."""
    return f" (and {len(found) - 1} more)" if len(found) > 1 else ""


# --- splits ---


def _split(kind: str, rows: Iterable[Row], data: DataConfig) -> dict[str, list[Row]]:
    """Rows by split. A row may name its own; all others go by the hash of their root."""
    shares = shares_of(kind, data)
    result: dict[str, list[Row]] = {split: [] for split in KIND_SPLITS[kind]}
    for row in rows:
        split = row.get("split") or split_of(row["root"], shares)
        if split in result:
            result[split].append(row)
    return result


def _in_split(split: str, kind: str, rows: Iterable[Row], data: DataConfig) -> list[Row]:
    """The rows of one split, which may be one that this kind does not train on."""
    shares = shares_of(kind, data)
    return [row for row in rows if (row.get("split") or split_of(row["root"], shares)) == split]


def shares_of(kind: str, data: DataConfig) -> dict[str, float]:
    """The splits that a file's roots are shared among: the held-out ones, and those of every kind read from it.

    Held-out splits come first and keep their share whatever the file, so a root that is held out in one file
    is held out in all.
    """
    files = files_of(data)
    together = [other for other, name in files.items() if name == files[kind]]
    held_out = {split: getattr(data.splits, split) for split in HELD_OUT}
    own = {
        split: getattr(data.splits, split)
        for other in together for split in KIND_SPLITS[other] if split not in HELD_OUT
    }
    rest, total = 1 - sum(held_out.values()), sum(own.values())
    return {**held_out, **{split: rest * share / total for split, share in own.items() if total}}


def split_of(root: str, shares: Mapping[str, float]) -> str | None:
    """The split of a root: its hash, as a number in [0, 1), falls into one of the shares laid end to end."""
    position = int.from_bytes(hashlib.sha256(f"split {root}".encode()).digest()[:8], "big") / 2**64
    for split, share in shares.items():
        if position < share:
            return split
        position -= share
    return None


def _one_per_prompt(rows: Sequence[Row]) -> list[Row]:
    """Preferences repeat prompts; a prompt is asked once."""
    seen: dict[str, Row] = {}
    for row in rows:
        seen.setdefault(str(row["prompt"]), row)
    return list(seen.values())


def _check_needed(split_rows: Mapping[str, Sequence[Row]], near_repeats: Mapping[str, int]) -> None:
    for split in ("sft", "rl", "select", "gate"):
        if not split_rows[split] and near_repeats[split]:
            raise DataError(
                f"all {near_repeats[split]} rows of the split {split!r} nearly repeat a held-out prompt; give variants "
                "of one question one root, or raise data.near_repeats.resemblance and .containment"
            )
        if not split_rows[split]:
            raise DataError(f"no rows fall into the split {split!r}; raise data.splits.{split}, or add rows")
    if not split_rows["compare"] and not split_rows["preferences"]:
        raise DataError("there is nothing to compare: no prompts in the split 'compare' and no preferences")


def _check_apart(split_rows: Mapping[str, Sequence[Row]]) -> None:
    """Raises DataError when a root that is held out occurs in another split."""
    roots = {split: {row["root"] for row in rows} for split, rows in split_rows.items()}
    for held_out in HELD_OUT:
        for split in roots:
            shared = roots[held_out] & roots[split] if split != held_out else set()
            if shared:
                raise DataError(
                    f"root {min(shared)!r}{_and_more(list(shared))} is both in {held_out!r} and in {split!r}; give all "
                    "variants of one question one root and one split"
                )


def _asked(row: Row) -> tuple[tuple[str, str], ...]:
    """What a row asks, turn by turn; case and spaces make no difference."""
    turns = row["prompt"] if "prompt" in row else row["messages"][:-1]
    return tuple((turn["role"], " ".join(turn["content"].casefold().split())) for turn in turns)


def _take_out_repeats(split_rows: dict[str, list[Row]], data: DataConfig) -> Counter[str]:
    """Takes rows that ask, under a root of their own, what a held-out row asks; returns how many, by kind.

    Of two held-out splits the one named first in `KEPT_APART` keeps its row.
    Raises DataError naming the first such row unless data.bad_rows is `skip`.
    """
    taken: Counter[str] = Counter()
    for place, held_out in enumerate(KEPT_APART):
        asked = {_asked(row): row["root"] for row in split_rows[held_out]}
        for split in [other for other in split_rows if other not in KEPT_APART[: place + 1]]:
            repeats = [row for row in split_rows[split] if asked.get(_asked(row), row["root"]) != row["root"]]
            if repeats and data.bad_rows == "refuse":
                raise DataError(
                    f"row {repeats[0]['id']!r}{_and_more(repeats)} of split {split!r} asks, under another root, what a "
                    f"row of {held_out!r} asks; give both one root, or set data.bad_rows to skip, which leaves it out "
                    f"of {split!r}"
                )
            if repeats:
                gone = {row["id"] for row in repeats}
                split_rows[split] = [row for row in split_rows[split] if row["id"] not in gone]
                taken[KIND_OF[split]] += len(repeats)
    return taken


def _take_out_near_repeats(
    split_rows: dict[str, list[Row]], heldout: list[Row], cfg: NearRepeatsConfig
) -> tuple[Counter[str], list[Row]]:
    """Takes rows that nearly repeat, under a root of their own, a row of a split that is held out.

    Of two held-out splits the one named first in `KEPT_APART` keeps its row; held-out demonstrations answer questions of
    `select`, and are kept apart from the gate. Returns how many rows went, by split, and those of `heldout` that stay.
    """
    rows_by_split = {**split_rows, HELDOUT_DEMONSTRATIONS: heldout}
    taken: Counter[str] = Counter()
    for place, held_out in enumerate(KEPT_APART):
        prompts = HeldOut(cfg, rows_by_split[held_out])
        passed = {*KEPT_APART[: place + 1], *([HELDOUT_DEMONSTRATIONS] if place else [])}
        for split in rows_by_split.keys() - passed:
            stay = [row for row in rows_by_split[split] if not prompts.is_repeated_by(row)]
            taken[split] += len(rows_by_split[split]) - len(stay)
            rows_by_split[split] = stay
    for split, count in sorted(taken.items()):
        if count:
            print(f"{count} row(s) of {split} nearly repeat a held-out prompt and are left out (data.near_repeats)")
    split_rows.update({split: rows_by_split[split] for split in split_rows})
    return taken, rows_by_split[HELDOUT_DEMONSTRATIONS]


def _metrics(
    kinds: Mapping[str, Read], split_rows: Mapping[str, Sequence[Row]], heldout: Sequence[Row],
    near_repeats: Mapping[str, int],
) -> dict[str, float]:  # fmt: skip
    counts: dict[str, float] = {f"rows_{split}": len(rows) for split, rows in split_rows.items()}
    counts.update({f"roots_{split}": len({row["root"] for row in rows}) for split, rows in split_rows.items()})
    counts.update({f"skipped_{kind}": sum(read.skipped.values()) for kind, read in kinds.items()})
    used = {kind: sum(len(split_rows[split]) for split in KIND_SPLITS[kind]) for kind in kinds}
    used["demonstrations"] += len(heldout)
    for split, taken in sorted(near_repeats.items()):
        counts[f"near_repeats_{split}"] = taken
        if taken:
            used[KIND_OF[split]] += taken
    repeats = {kind: read.skipped[REPEATS] for kind, read in kinds.items()}
    counts.update({f"unused_{kind}": len(read.rows) - used[kind] - repeats[kind] for kind, read in kinds.items()})
    counts["rows_heldout_demonstrations"] = len(heldout)
    return counts
