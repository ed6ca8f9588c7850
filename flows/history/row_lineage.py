"""From a row of the data to every comparison, model and registry version that it went into.

Asked is what was recorded: the dvc.lock of each run in MLflow, and the files that it names by hash, from DVC's cache or
remotes. Tables are looked into for the row's id; what else a stage makes descends from all that it read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.history import registry
from flows.history.recorded import Made, Recorded, owner
from flows.storage.objects import TABLES, WEIGHTS, Objects, rows_of
from tasks.runner.pipeline import is_code

ID_KEYS = ("id", "prompt_id", "first", "second", "a", "b")  # of rows, samples, comparisons, battles and pairs
TRAINING, HELDOUT = "train.jsonl", "heldout.jsonl"
SELECTION = "selection.json"
SELECT_STAGE = "select"
TRAINED, CHOSEN = "trained", "chosen"


@dataclass
class Traced:
    """Where one row went. Models and comparisons are keyed by path and md5, with the runs that made or reused them.

    unreadable: what neither cache nor remote has any more; what descends from it is not known.
    """

    row: str
    data: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    comparisons: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    models: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    versions: list[dict[str, Any]] = field(default_factory=list)
    unreadable: set[tuple[str, str]] = field(default_factory=set)

    @property
    def known(self) -> bool:
        """Whether any version of the data, or run, is known to hold it."""
        return bool(self.data or self.comparisons or self.models)

    def as_document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "row": self.row,
            "data": [{"path": path, "md5": md5, "files": files} for (path, md5), files in self.data.items()],
            "comparisons": [{"path": path, "md5": md5, **entry} for (path, md5), entry in self.comparisons.items()],
            "models": [{"path": path, "md5": md5, **entry} for (path, md5), entry in self.models.items()],
            "versions": self.versions,
            "unreadable": [{"path": path, "md5": md5} for path, md5 in sorted(self.unreadable)],
        }


def names(row: Mapping[str, Any], wanted: str) -> bool:
    """Whether a row of a table is this one, or a sample, comparison or battle of it."""
    return any(str(row[key]) == wanted or str(row[key]).startswith(f"{wanted}#") for key in ID_KEYS if key in row)


class Tracer:
    """Looks for one row in recorded runs, the oldest first: what one made may be the base of a later one."""

    def __init__(self, objects: Objects, row: str):
        self._objects, self.traced = objects, Traced(row)
        self._mentions: dict[str, list[Mapping[str, Any]]] = {}
        self._made: dict[str, str] = {}  # md5 of what earlier runs made -> TRAINED or CHOSEN

    def look_into(self, run: Recorded) -> dict[str, str]:
        """Add what a run made of the row; returns how its outputs, by md5, go back to it."""
        uses: dict[str, str] = {}  # path -> TRAINED or CHOSEN
        made = {path for stage in run.stages for path in stage.outputs}
        for stage in run.stages:
            for path, md5 in stage.inputs.items():
                if path not in made and not is_code(path):
                    self._given(path, md5)
                    if md5 in self._made:
                        uses[path] = self._made[md5]
            inherited, mentioned = self._origins(stage, uses)
            for path, md5 in stage.outputs.items():
                self._add_comparisons(path, md5, run)
                # A table says by itself which rows it holds; whoever reads it looks into it.
                origins = inherited if self._is_table(path, md5) else inherited | mentioned
                if stage.name == SELECT_STAGE:
                    # That a rival was trained on the row is no choice by it; that it was asked is.
                    origins = {CHOSEN} if mentioned else set()
                if origins:
                    uses[path] = TRAINED if TRAINED in origins else CHOSEN
                    self._add_model(path, md5, uses[path], run)
        made_of_it = {md5: uses[path] for stage in run.stages for path, md5 in stage.outputs.items() if path in uses}
        self._made |= made_of_it
        return made_of_it

    def _origins(self, stage: Made, uses: Mapping[str, str]) -> tuple[set[str], set[str]]:
        """(how what a stage read descends from the row, TRAINED if a table that it read names the row)."""
        inherited, mentioned = set(), set()
        for path, md5 in self._counted(stage).items():
            source = owner(path, uses)
            if source is not None:
                inherited.add(uses[source])
            if self._mentioned(path, md5):
                mentioned.add(TRAINED)
        return inherited, mentioned

    def _counted(self, stage: Made) -> dict[str, str]:
        """What a stage read; of several policies only the one that a selection among its inputs names."""
        inputs = {path: md5 for path, md5 in stage.inputs.items() if not is_code(path)}
        selections = (self._selection(path, md5) for path, md5 in inputs.items())
        selection = next((one for one in selections if one), None)
        if selection is None:
            return inputs
        losers = {candidate["method"] for candidate in selection["candidates"]} - {selection["method"]}
        return {path: md5 for path, md5 in inputs.items() if path.rpartition("/")[2] not in losers}

    def _selection(self, path: str, md5: str) -> Mapping[str, Any] | None:
        files = self._objects.files(path, md5) or {}
        content = self._objects.read(files[SELECTION]) if SELECTION in files else None
        return json.loads(content) if content else None

    def _add_model(self, path: str, md5: str, use: str, run: Recorded) -> None:
        if self._is_model(path, md5):
            self.traced.models.setdefault((path, md5), {"use": use, "runs": []})["runs"].append(run.run)

    def _given(self, path: str, md5: str) -> None:
        """A version of the data or the base."""
        hits = [name for name, file in self._tables(path, md5).items() if self._rows(name, file)]
        if hits:
            self.traced.data[path, md5] = hits

    def _mentioned(self, path: str, md5: str) -> bool:
        """Whether a table names the row. Of a folder that holds what trains, only that counts."""
        if self._is_model(path, md5):
            return False
        tables = self._tables(path, md5)
        counted = {TRAINING: tables[TRAINING]} if TRAINING in tables else tables
        return any(self._rows(name, file) for name, file in counted.items())

    def _add_comparisons(self, path: str, md5: str, run: Recorded) -> None:
        tables = self._tables(path, md5)
        if TRAINING not in tables:
            return
        ids = {part: [str(row.get("id")) for row in self._rows(part, tables[part])]
               for part in (TRAINING, HELDOUT) if part in tables}  # fmt: skip
        pairs = self._rows("pairs.jsonl", tables["pairs.jsonl"]) if "pairs.jsonl" in tables else []
        if not pairs and not any(ids.values()):
            return
        untrained = [
            {key: pair.get(key) for key in ("a", "b", "outcome")} for pair in pairs if pair.get("outcome") != "kept"
        ]
        entry = self.traced.comparisons.setdefault(
            (path, md5),
            {"train": ids.get(TRAINING, []), "heldout": ids.get(HELDOUT, []), "judged_only": untrained, "runs": []},
        )
        entry["runs"].append(run.run)

    def _tables(self, path: str, md5: str) -> dict[str, str]:
        files = self._objects.files(path, md5)
        if files is None:
            self.traced.unreadable.add((path, md5))
            return {}
        return {name: file for name, file in files.items() if name.endswith(TABLES)}

    def _rows(self, name: str, md5: str) -> list[Mapping[str, Any]]:
        """The rows of a table that name the row; each table is read once."""
        if md5 not in self._mentions:
            content = self._objects.read(md5)
            if content is None:
                self.traced.unreadable.add((name, md5))
            quick = self.traced.row.encode()
            hit = content is not None and (name.endswith((".gz", ".parquet")) or quick in content)
            self._mentions[md5] = [row for row in rows_of(name, content) if names(row, self.traced.row)] if hit else []
        return self._mentions[md5]

    def _is_table(self, path: str, md5: str) -> bool:
        return bool(self._tables(path, md5)) and not self._is_model(path, md5)

    def _is_model(self, path: str, md5: str) -> bool:
        return any(name.endswith(WEIGHTS) for name in self._objects.files(path, md5) or ())


def trace(client, name: str, objects: Objects, runs: Iterable[Recorded], row: str) -> Traced:
    """Follow a row through the runs, and into the versions of the registered model `name`."""
    tracer = Tracer(objects, row)
    uses = {run.run: tracer.look_into(run) for run in sorted(runs, key=lambda run: run.started_ms)}
    state = registry.read(client, name)
    for version in state.versions.values():
        run, package = version.tags.get(registry.RUN), version.tags.get(registry.PACKAGE)
        use = uses.get(run, {}).get(package)
        if use is not None:
            aliases = sorted(alias for alias, number in state.aliases.items() if number == version.number)
            entry = {"name": name, "version": version.number, "aliases": aliases, "use": use, "run": run}
            tracer.traced.versions.append(entry)
    return tracer.traced


# --- as text ---


def show(document: Mapping[str, Any], console) -> None:
    """Print where a row went, as a tree."""
    from rich.text import Text
    from rich.tree import Tree

    tree = Tree(Text(f"row {document['row']}", style="bold"))
    for label, lines in (
        ("data", [f"{entry['path']} {entry['md5']}: {', '.join(entry['files'])}" for entry in document["data"]]),
        ("comparisons", [_comparison_line(entry) for entry in document["comparisons"]]),
        ("models", [_used(f"{entry['path']} {entry['md5']}", entry) for entry in document["models"]]),
        ("versions", [_used(f"models:/{v['name']}/{v['version']}{_marks(v)}", v) for v in document["versions"]]),
        ("no longer to be read", [f"{entry['path']} {entry['md5']}" for entry in document["unreadable"]]),
    ):
        if lines:
            branch = tree.add(Text(label))
            for line in lines:
                branch.add(Text(line))
    if document["forgotten"]:
        tainted = ", ".join(document["forgotten"]["tainted"]) or "no registered version"
        tree.add(Text(f"forgotten on request; tainted by then: {tainted}", style="yellow"))
    if not (document["data"] or document["comparisons"] or document["models"] or document["forgotten"]):
        tree.add(Text("no recorded run or version of the data holds it"))
    console.print(tree, soft_wrap=True)


def _marks(version: Mapping[str, Any]) -> str:
    return "".join(f" @{alias}" for alias in version["aliases"])


def _used(what: str, entry: Mapping[str, Any]) -> str:
    words = {TRAINED: "trained on it, or on what descends from it", CHOSEN: "chosen by its answers"}
    runs = entry.get("runs") or [entry["run"]]
    return f"{what}: {words[entry['use']]}; MLflow run {', '.join(runs)}"


def _comparison_line(entry: Mapping[str, Any]) -> str:
    parts = [f"{name} {', '.join(entry[name])}" for name in ("train", "heldout") if entry[name]]
    parts += [f"judged only {pair['a']} and {pair['b']} ({pair['outcome']})" for pair in entry["judged_only"]]
    return f"{entry['path']} {entry['md5']}: {'; '.join(parts)}; MLflow run {', '.join(entry['runs'])}"
