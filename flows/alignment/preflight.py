"""What would end a run late, asked before its first stage: `python -m tasks.preflight` in a process of its own.

What was found is kept by data, model, params and code, and holds for as long as the variables and files that were read
beside them are the same. What a judge answers is no part of that: it is asked anew when it is needed.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from flows import command
from flows.costs.ledger import Entry
from flows.documents import read_json, write_json
from flows.graph import running
from flows.graph.running import Processes, StageError
from flows.graph.stages import Graph
from tasks.preflight.outside import file_digest, variable_digest
from tasks.runner.params import read_params, stage_config

NAME, FOUND_FILE = "preflight", "found.json"
ROLE_OF = {"generate": "sampler", "compare": "compare", "judge": "gold", "evaluate": "gold", "gate": "gold"}
UNREAD_SECTIONS = ("flow", "tracking", "gc", "report")
USAGE = ("calls", "input_tokens", "output_tokens", "cost")
HOW_TO_RUN = "plumb doctor runs it now, plumb align before its first stage"


@dataclass(frozen=True)
class Finding:
    """As `tasks.preflight.checks.Finding`: a problem ends a run, a note is worth knowing."""

    level: str
    subject: str
    text: str
    remedy: str
    may_pass: bool

    @property
    def lines(self) -> list[str]:
        return [f"{self.subject}: {self.text}", *([f"  → {self.remedy}"] if self.remedy else [])]


@dataclass(frozen=True)
class Preflight:
    """The document that was written, where its log is, and what it cost; None where it was known already."""

    document: dict[str, Any]
    log: Path
    cost: Entry | None = None

    @cached_property
    def findings(self) -> list[Finding]:
        return [Finding(**finding) for finding in self.document["findings"]]

    @property
    def problems(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == "problem"]

    @property
    def notes(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == "note"]

    @property
    def when(self) -> str:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(self.document["written"]))

    @property
    def in_one_line(self) -> str:
        known = "" if self.cost else f", as on {self.when}"
        return f"preflight: {_count(self.problems, 'problem')}, {_count(self.notes, 'note')}{known}"

    def check(self) -> None:
        """Raises StageError with all problems, each with its way out, where there are some."""
        if self.problems:
            kind = "transient" if all(finding.may_pass for finding in self.problems) else "data"
            lines = [f"{_count(self.problems, 'problem')}, found before any stage ran:"]
            lines += [line for finding in self.problems for line in finding.lines]
            raise StageError(NAME, kind, "\n".join(lines), self.log)

    @property
    def metrics(self) -> dict[str, float]:
        """By name, for MLflow."""
        counts = {"problems": len(self.problems), "notes": len(self.notes)}
        paid = {name: self.document[name] if self.cost else 0 for name in USAGE}
        return {f"{NAME}/{name}": float(value) for name, value in (counts | paid).items()}

    def as_markdown(self) -> str:
        """For the Prefect page."""
        rows = [(one.level, one.subject, one.text, one.remedy) for one in self.findings]
        table = command.markdown_table(("level", "subject", "found", "way out"), rows)
        return "\n".join([self.in_one_line, *(["", *table] if rows else [])]) + "\n"


def _count(findings: list[Finding], word: str) -> str:
    return f"{len(findings) or 'no'} {word}{'' if len(findings) == 1 else 's'}"


def applies(root: Path) -> bool:
    """Whether the project's stages are ours, at a commit that knows a preflight."""
    return (root / "tasks" / NAME).is_dir()


def parts_of(root: Path, graph: Graph) -> dict[str, str]:
    """What determines the findings, as hashes by name: data, model, code, each section of params that is read."""
    params = read_params(root / "params.yaml")
    sections = {f"params ({name})": _digest(params[name]) for name in params if name not in UNREAD_SECTIONS}
    places = {name: params[name]["path"] for name in ("data", "model")}
    inputs = {name: graph.hash_of_input(path) or "" for name, path in places.items()}
    return {**inputs, "code": _code(root), **sections}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _code(root: Path) -> str:
    files = sorted(file for package in ("tasks", "models") for file in (root / package).rglob("*.py"))
    return _digest([[file.relative_to(root).as_posix(), _digest(file.read_text(encoding="utf-8"))] for file in files])


def _place(state: Path, parts: Mapping[str, str]) -> Path:
    return running.folder(state, NAME, _digest(parts))


def known(state: Path, parts: Mapping[str, str], roles: Iterable[str]) -> Preflight | None:
    """What was found for these parts, where it looked at all `roles` and the rest that it read is the same."""
    before = _read(_place(state, parts) / FOUND_FILE)
    return before if before and not _changes(before.document, parts, roles) else None


def latest(state: Path) -> Preflight | None:
    """The last one, whatever it was about."""
    files = sorted((state / "runs").glob(f"{NAME}-*/{FOUND_FILE}"), key=lambda file: file.stat().st_mtime)
    return _read(files[-1]) if files else None


def _read(file: Path) -> Preflight | None:
    document = read_json(file)
    return Preflight(document, file.parent / "log.txt") if document is not None else None


def _changes(document: Mapping[str, Any], parts: Mapping[str, str], roles: Iterable[str]) -> list[str]:
    """What is otherwise than when the document was written, in words."""
    then = document["parts"]
    changed = [name for name in {**then, **parts} if then.get(name) != parts.get(name)]
    changed += [f"variable {name}" for name, value in document["variables"].items() if variable_digest(name) != value]
    changed += [f"file {path}" for path, value in document["files"].items() if file_digest(Path(path)) != value]
    return changed + [f"{role} is needed too" for role in sorted(set(roles) - set(document["roles"]))]


def before_stages(
    root: Path, state: Path, graph: Graph, names: Iterable[str], may_ask: bool, timeout: float, processes: Processes
) -> Preflight | None:
    """The preflight for the stages `names` that are to run next; None where it does not apply, or none is.

    A known one without problems is not repeated, unless a judge across a network is needed and `may_ask`. Raises
    StageError where the process itself fails.
    """
    names = list(names)
    if not names or not applies(root):
        return None
    parts, roles = parts_of(root, graph), roles_of(names)
    asks = may_ask and bool(roles & across_a_network(root))
    before = known(state, parts, roles)
    if before and not before.problems and not asks:
        return before
    return run(root, state, parts, roles, asks, timeout, processes)


def roles_of(names: Iterable[str]) -> set[str]:
    """Who these stages ask: the sampler, the judges of compare, gold."""
    return {ROLE_OF[name] for name in names if name in ROLE_OF}


def across_a_network(root: Path) -> set[str]:
    """The roles in which somebody is asked who costs calls."""
    params = read_params(root / "params.yaml")
    sampler, compare, gold = (stage_config(params, name) for name in ("generate", "compare", "gold"))
    judged = compare.given != "only" and any(judge.kind == "openai" for judge in compare.judges)
    rated = gold.judge is not None and gold.judge.kind == "openai"
    remote = {"sampler": sampler.sampler == "openai", "compare": judged, "gold": rated}
    return {role for role in remote if remote[role]}


def run(
    root: Path, state: Path, parts: Mapping[str, str], roles: Iterable[str], asks: bool, timeout: float,
    processes: Processes,
) -> Preflight:  # fmt: skip
    """Ask now, keep what was found, and return it. Raises StageError where the process itself fails."""
    place = _place(state, parts)
    options = ["--roles", *sorted(roles), *(["--ask-judges"] if asks else [])]
    document, cost = running.run_check("tasks.preflight", options, root, NAME, place, timeout, processes)
    document |= {"parts": dict(parts), "written": cost.started}
    write_json(place / FOUND_FILE, document, indent=2)
    return Preflight(document, place / "log.txt", cost)


def report(root: Path, state: Path, graph: Graph, names: Iterable[str]) -> list[str]:
    """What the last preflight found, in lines, and whether it is stale for the stages `names`. Nothing is started."""
    if not applies(root):
        return []
    parts, roles = parts_of(root, graph), roles_of(names)
    last = known(state, parts, roles) or latest(state)
    if last is None:
        return [f"No preflight has run yet: {HOW_TO_RUN}."]
    if changed := ", ".join(_changes(last.document, parts, roles)):
        head = f"The preflight of {last.when} is stale (changed since: {changed}): {HOW_TO_RUN}."
    else:
        head = f"Preflight of {last.when}: {_count(last.problems, 'problem')}, {_count(last.notes, 'note')}."
    return [head, *(f"  {line}" for finding in last.findings for line in finding.lines)]
