"""Why DVC would run a stage, in words: what differs between dvc.lock and what the stage would meet."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tasks.runner.pipeline import is_code


@dataclass(frozen=True)
class Met:
    """What a stage would find at a dependency: `content` is DVC's hash of it, None while nobody can know it.

    maker: the stage that puts it there before, None where it lies on disk already (or is pulled).
    """

    content: Any
    maker: str | None = None


def reasons(stage, meet: Callable[[Any], Met]) -> Iterator[str]:
    """Why this stage of DVC's would run; `meet` says what it finds at a dependency that is a file."""
    # DVC answers an unreadable or missing lock entry with "new" for everything: one word is enough.
    if stage.deps and not any(dep.hash_info for dep in stage.deps):
        yield "never run"
        return
    inputs = list(input_reasons(stage, meet))
    if stage.changed_stage() and not inputs:
        yield "command or list of dependencies changed"
    yield from inputs
    yield from _output_reasons(stage.outs)


def _output_reasons(outs: list) -> Iterator[str]:
    if len(outs) > 1 and not any(out.exists for out in outs):
        # As in a fresh clone, where naming each would hide the other reasons.
        yield "outputs are not here"
        return
    for out in outs:
        for path, word in out.status().items():
            yield f"output {path} {word}"


def input_reasons(stage, meet: Callable[[Any], Met]) -> Iterator[str]:
    """Those of code, data and params; what upstream stages would change comes last, as one reason."""
    followed: dict[str, None] = {}
    for dep in stage.deps:
        if is_params(dep):
            yield from _param_reasons(dep)
            continue
        met = meet(dep)
        if met.content == dep.hash_info and met.content is not None:
            continue
        if met.maker:
            followed[met.maker] = None
            continue
        kind = "code" if is_code(dep.def_path) else "input"
        yield f"{kind} {dep.def_path} {'deleted' if met.content is None else 'modified'}"
    if followed:
        yield f"follows {', '.join(followed)}"


def is_params(dep) -> bool:
    """Whether a dependency of DVC's is params and not a file."""
    return hasattr(dep, "params")


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return flat


def _param_reasons(dep) -> Iterator[str]:
    changed = dep.status().get(str(dep))
    if not changed:
        return
    if isinstance(changed, str):
        yield f"{dep} {changed}"
        return
    old, new = flatten(dep.hash_info.value or {}), flatten(dep.read_params())
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield f"param {name} {old.get(name, 'unset')} → {new.get(name, 'unset')}"
