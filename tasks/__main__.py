"""`python -m tasks STAGE`: bind one stage to its files in dvc.yaml and run it.

The out appears whole or not at all; the returned numbers go to the stage's metrics file; a failure is one
line on stderr, an exit code other than 0, and a record of its kind for the flow.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Mapping

from tasks.runner.watchdog import die_with_parents

if __name__ == "__main__":
    die_with_parents()  # before anything slow is imported: a parent that dies meanwhile must take us along

from tasks.common import errors
from tasks.config.sections import stage_function
from tasks.runner import gpus, state
from tasks.runner.params import read_params, stage_config
from tasks.runner.pipeline import Binding, bind, grouped, load_pipeline

DVC_FILE, PARAMS_FILE = Path("dvc.yaml"), Path("params.yaml")
CHECKPOINT_PARAMETER = "checkpoints"


def partial_path(out: Path) -> Path:
    """Where the out is written until it is whole."""
    return out.with_name(f".{out.name}.partial")


def _fresh_partial(out: Path) -> Path:
    partial = partial_path(out)
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    return partial


def _publish(binding: Binding, partial: Path) -> None:
    """Move the finished outs into place, each by one rename."""
    missing = [o for o in binding.outs if len(binding.outs) > 1 and not (partial / o.name).exists()]
    assert not missing, f"{binding.stage} did not write {missing}"
    if len(binding.outs) == 1:
        _replace(partial, binding.out)
        return
    for out in binding.outs:
        out.parent.mkdir(parents=True, exist_ok=True)
        _replace(partial / out.name, out)
    shutil.rmtree(partial)


def _replace(source: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    os.replace(source, target)


def _write_metrics(path: Path, metrics: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    partial.write_text(json.dumps(metrics, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def check_inputs(binding: Binding) -> None:
    """Raises DataError for an input that is not there."""
    for name, path in binding.inputs.items():
        if not path.exists():
            raise errors.DataError(
                f"{binding.stage} needs {name} at {path}, which does not exist; "
                "run `plumb align` (it pulls data and runs earlier stages), or set the path in params.yaml"
            )


def run_stage(stage: str) -> None:
    """Run one stage of the dvc.yaml in the current folder."""
    params = read_params(PARAMS_FILE)
    config = stage_config(params, stage)
    pipeline = load_pipeline(DVC_FILE)
    binding = bind(pipeline, params, stage)
    check_inputs(binding)
    gpus.take(gpus.wanted_gpus(pipeline, stage))  # before torch is imported
    function = stage_function(stage.partition("@")[0])
    inputs = grouped(binding.inputs, function.__annotations__)
    if CHECKPOINT_PARAMETER not in function.__annotations__:
        _produce(binding, lambda out: function(config, **inputs, out=out))
        return
    key = state.stage_key(binding, params)
    if _helps():
        with tempfile.TemporaryDirectory() as unused:
            function(config, **inputs, out=Path(unused), checkpoints=state.checkpoint_path(stage, key))
        return
    with state.checkpoint_folder(stage, key) as checkpoints:
        _produce(binding, lambda out: function(config, **inputs, out=out, checkpoints=checkpoints))


def _helps() -> bool:
    """Whether `accelerate launch` started this process beside a main one, which alone holds and writes the files."""
    return os.environ.get("RANK", "0") != "0"


def _produce(binding: Binding, call: Callable[[Path], Mapping[str, Any]]) -> None:
    """Let the stage write, then publish all of it; after an error nothing of it stays."""
    partial = _fresh_partial(binding.out)
    try:
        metrics = call(partial)
        _write_metrics(binding.metrics, metrics)
        _publish(binding, partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m tasks STAGE    (a stage of dvc.yaml, for example sft or answers@dpo)")
        return 2
    os.environ.setdefault("TQDM_DISABLE", "1")  # `progress` is how a stage says how far it is
    stage = arguments[0]
    try:
        run_stage(stage)
    except Exception as error:
        return errors.report_failure(stage, error)
    finally:
        gpus.note_peak()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
