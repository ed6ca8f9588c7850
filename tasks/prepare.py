"""Reads a team's data, checks every row, and splits it by root; no later stage sees another's questions."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.common.errors import DataError
from tasks.common.rows import Row, write_jsonl
from tasks.config.data import DataConfig, NearRepeatsConfig, PrepareConfig
from tasks.data.collecting import Finding, Read, and_more, check_ids, collect, keep_sayable, read_kind, refuse
from tasks.data.near_repeats import HeldOut
from tasks.data.rendering import Check, template_check

HELD_OUT = ("select", "gate", "gold")
KEPT_APART = ("gate", "select", "gold")  # the gate's prompts are the last to go
HELDOUT_DEMONSTRATIONS = "heldout_demonstrations"
KIND_SPLITS = {
    "demonstrations": ("sft",),
    "prompts": ("compare", "rl", "select", "gate"),
    "preferences": ("preferences", "gold"),
}
SPLITS = {split: kind for kind, splits in KIND_SPLITS.items() for split in splits}
KIND_OF = {**SPLITS, HELDOUT_DEMONSTRATIONS: "demonstrations"}


def prepare(cfg: PrepareConfig, data: Path, model: Path, out: Path) -> dict[str, float]:
    """Write each split's file below `out`; demonstrations whose root falls into `select` are held out from training.

    Every row is rendered with the chat template of `model`. `skipped_KIND` counts bad rows and those that repeat a
    held-out prompt, `near_repeats_SPLIT` rows that are left out of a split because they nearly repeat one
    (data.near_repeats), `tied_KIND` those all of whose answers are equally good, `marks_as_text_KIND` those with marks
    of who speaks that are not the form of their file, `unused_KIND` rows in a split that nothing of their kind is read
    from, by their own `split` or by their root.

    Raises DataError naming file and row for a bad row (unless data.bad_rows is `skip`), duplicate ids, a question in
    two splits of which one is held out, or no data.
    """
    return write_splits(cfg.data, data, out, template_check(model))


def write_splits(cfg: DataConfig, data: Path, out: Path, check: Check | None) -> dict[str, float]:
    """What `prepare` does, with any check of single rows, or none."""
    kinds = {kind: read_kind(data / file, kind, cfg) for kind, file in files_of(cfg).items()}
    for read in kinds.values() if check else ():
        keep_sayable(read, check)
        refuse(read)
    split_rows = split_all(kinds, cfg)
    for kind, repeats in _take_out_repeats(split_rows, cfg).items():
        kinds[kind].repeats += repeats
    heldout = _split("demonstrations", kinds["demonstrations"].rows, cfg)["select"]
    near_repeats, heldout = _take_out_near_repeats(split_rows, heldout, cfg.near_repeats)
    for line in _near_repeat_lines(near_repeats):
        print(line)
    _check_needed(split_rows, kinds, near_repeats)
    _check_apart(split_rows)
    for name, rows in _files(split_rows, heldout).items():
        write_jsonl(out / f"{name}.jsonl", rows)
    return _metrics(kinds, split_rows, heldout, near_repeats)


def _files(split_rows: Mapping[str, Sequence[Row]], heldout: Sequence[Row]) -> dict[str, Sequence[Row]]:
    """The rows of each file that is written, by its name."""
    return {
        "demonstrations": split_rows["sft"],
        HELDOUT_DEMONSTRATIONS: heldout,
        **{f"{split}_prompts": _one_per_prompt(split_rows[split]) for split in KIND_SPLITS["prompts"]},
        "preferences": split_rows["preferences"],
        "gold_preferences": split_rows["gold"],
    }


@dataclass(frozen=True)
class Survey:
    """files: the rows that `prepare` would write, by the file's name, were all bad ones left out; none where a file of
    the data cannot be read. findings: all that is wrong with the data."""

    files: Mapping[str, Sequence[Row]]
    findings: Sequence[Finding]


def survey(cfg: DataConfig, data: Path, model: Path | None) -> Survey:
    """All that is wrong with the data, not only the first: unreadable files, bad rows by reason, ids, splits.

    Bad rows are told also where data.bad_rows is `skip`. model: whose chat template is asked; None: none is.
    Raises ValueError for a tokenizer that cannot be read.
    """
    check, findings, kinds = template_check(model) if model else None, [], {}
    for kind, file in files_of(cfg).items():
        findings += _findings_of(lambda: kinds.update({kind: collect(data / file, kind, cfg)}))
    for read in kinds.values():
        if check:
            keep_sayable(read, check)
        findings += read.findings + _findings_of(lambda: check_ids(read))
    if len(kinds) < len(files_of(cfg)):
        return Survey({}, findings)
    split_rows = split_all(kinds, cfg)
    findings += _findings_of(lambda: _take_out_repeats(split_rows, cfg))
    _take_out_repeats(split_rows, cfg.model_copy(update={"bad_rows": "skip"}))
    heldout = _split("demonstrations", kinds["demonstrations"].rows, cfg)["select"]
    near_repeats, heldout = _take_out_near_repeats(split_rows, heldout, cfg.near_repeats)
    findings += [Finding(line, stops=False) for line in _near_repeat_lines(near_repeats)]
    findings += _findings_of(lambda: _check_needed(split_rows, kinds, near_repeats))
    return Survey(_files(split_rows, heldout), findings + _findings_of(lambda: _check_apart(split_rows)))


def _findings_of(step: Callable[[], Any]) -> list[Finding]:
    try:
        step()
    except DataError as error:
        return [Finding(str(error))]
    return []


def split_all(kinds: Mapping[str, Read], data: DataConfig) -> dict[str, list[Row]]:
    """All rows by split."""
    by_kind = {kind: _split(kind, read.rows, data) for kind, read in kinds.items()}
    return {split: by_kind[kind][split] if kind in by_kind else [] for split, kind in SPLITS.items()}


def files_of(data: DataConfig) -> dict[str, str]:
    """The file that each kind of rows is read from; several kinds may share one.

    Prompts stand in a file of their own, or else in that of the preferences, or else in that of the demonstrations.
    """
    files = {"demonstrations": data.demonstrations, "prompts": data.prompts or data.preferences or data.demonstrations}
    return {**files, "preferences": data.preferences} if data.preferences else files


# --- splits ---


def _split(kind: str, rows: Iterable[Row], data: DataConfig) -> defaultdict[str | None, list[Row]]:
    """Rows by split, also by such as nothing of their kind is read from.

    A row may name its own; all others go by the hash of their root.
    """
    shares = shares_of(kind, data)
    splits = defaultdict(list)
    for row in rows:
        splits[row.get("split") or split_of(row["root"], shares)].append(row)
    return splits


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


def _check_needed(
    split_rows: Mapping[str, Sequence[Row]], kinds: Mapping[str, Read], near_repeats: Mapping[str, int]
) -> None:
    for split in ("sft", "rl", "select", "gate"):
        if not split_rows[split] and near_repeats[split]:
            raise DataError(
                f"all {near_repeats[split]} rows of the split {split!r} nearly repeat a held-out prompt; give variants "
                "of one question one root, or raise data.near_repeats.resemblance and .containment"
            )
        if not split_rows[split]:
            raise DataError(_why_empty(split, kinds[KIND_OF[split]].rows))
    if not split_rows["compare"] and not split_rows["preferences"]:
        raise DataError("there is nothing to compare: no prompts in the split 'compare' and no preferences")


def _why_empty(split: str, rows: Sequence[Row]) -> str:
    """A root never falls into two splits, so no shares help where there are few."""
    kind, roots = KIND_OF[split], {row["root"] for row in rows}
    if len(roots) < len(KIND_SPLITS[kind]) or len(roots) == 1:
        return (
            f"no rows fall into the split {split!r}: the {len(rows)} {kind} have {len(roots)} different root"
            f"{'s' * (len(roots) > 1)} (the first is {min(roots)!r}), and all rows of a root fall into one split; give "
            f"each question a root of its own, or derive roots from the questions: data.columns.{kind}: {{root: null}}"
        )
    return f"no rows fall into the split {split!r}; raise data.splits.{split}, or add rows"


def _check_apart(split_rows: Mapping[str, Sequence[Row]]) -> None:
    """Raises DataError when a root that is held out occurs in another split."""
    roots = {split: {row["root"] for row in rows} for split, rows in split_rows.items()}
    for held_out in HELD_OUT:
        for split in roots:
            shared = roots[held_out] & roots[split] if split != held_out else set()
            if shared:
                raise DataError(
                    f"root {min(shared)!r}{and_more(list(shared))} is both in {held_out!r} and in {split!r}; give all "
                    "variants of one question one root and one split"
                )


def _question(row: Row) -> tuple[tuple[str, str], ...]:
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
        roots = {_question(row): row["root"] for row in split_rows[held_out]}
        for split in [other for other in split_rows if other not in KEPT_APART[: place + 1]]:
            repeats = [row for row in split_rows[split] if roots.get(_question(row), row["root"]) != row["root"]]
            if repeats and data.bad_rows == "refuse":
                raise DataError(
                    f"row {repeats[0]['id']!r}{and_more(repeats)} of split {split!r} asks, under another root, what a "
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

    Of two held-out splits the one named first in `KEPT_APART` keeps its row; held-out demonstrations answer questions
    of `select`, and are kept apart from the gate. Returns how many rows went, by split, and the `heldout` that stay.
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
    split_rows.update({split: rows_by_split[split] for split in split_rows})
    return taken, rows_by_split[HELDOUT_DEMONSTRATIONS]


def _near_repeat_lines(near_repeats: Mapping[str, int]) -> list[str]:
    """What is said of them, by split."""
    return [f"{count} row(s) of {split} nearly repeat a held-out prompt and are left out (data.near_repeats)"
            for split, count in sorted(near_repeats.items()) if count]


def _metrics(
    kinds: Mapping[str, Read], split_rows: Mapping[str, Sequence[Row]], heldout: Sequence[Row],
    near_repeats: Mapping[str, int],
) -> dict[str, float]:  # fmt: skip
    used = {kind: read.repeats for kind, read in kinds.items()}
    for split, rows in [*split_rows.items(), (HELDOUT_DEMONSTRATIONS, heldout)]:
        if KIND_OF[split] in used:
            used[KIND_OF[split]] += len(rows)
    for split, taken in near_repeats.items():
        if taken:
            used[KIND_OF[split]] += taken
    return {
        **{f"rows_{split}": len(rows) for split, rows in split_rows.items()},
        **{f"roots_{split}": len({row["root"] for row in rows}) for split, rows in split_rows.items()},
        **{f"skipped_{kind}": read.skipped for kind, read in kinds.items()},
        **{f"tied_{kind}": read.tied for kind, read in kinds.items() if kind == "preferences"},
        **{f"marks_as_text_{kind}": read.marks_as_text for kind, read in kinds.items()},
        **{f"near_repeats_{split}": taken for split, taken in near_repeats.items()},
        **{f"unused_{kind}": len(read.rows) - used[kind] for kind, read in kinds.items()},
        "rows_heldout_demonstrations": len(heldout),
    }
