"""What SFT, reward model and DPO share: TRL's trainers on rows that we tokenise, with resume, curves and guards.

We tokenise ourselves (`models.chat.template.encode_example`), so that the ids trained on are the ids sampled and
scored, and masks come from lengths.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any, Callable, Sequence

import torch
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from models.lm.batching import backbone_of, context_length, unwrapped
from models.lm.long_rope import keep_sides_apart
from tasks.artifacts.snapshots import keep_snapshot, snapshot_steps
from tasks.common import progress
from tasks.common.errors import DataError, DivergedError
from tasks.common.rows import write_jsonl
from tasks.config.shared import RuntimeConfig
from tasks.config.training import OptimizerConfig

COMPLETE_FILE = "complete"
TIMES_AND_TOTALS = ("runtime", "per_second", "total_flos", "num_tokens", "num_input_tokens", "step_time")


def trainer_arguments(
    arguments_class: type[TrainingArguments], cfg: OptimizerConfig, runtime: RuntimeConfig, folder: Path, **extra: Any
) -> Any:
    """TRL's arguments for one of our stages; `extra` holds what only this trainer has."""
    return arguments_class(
        output_dir=str(folder),
        num_train_epochs=cfg.epochs,
        per_device_train_batch_size=cfg.batch_size,
        gradient_accumulation_steps=cfg.gradient_accumulation,
        learning_rate=cfg.learning_rate,
        warmup_steps=cfg.warmup_ratio,
        lr_scheduler_type="cosine",
        train_sampling_strategy="group_by_length",
        gradient_checkpointing=False,
        bf16=runtime.dtype == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        seed=runtime.seed,
        data_seed=runtime.seed,
        logging_steps=5,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=cfg.checkpoint_every,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,  # group_by_length reads a column that no model takes
        max_length=None,
        **extra,
    )


def warmup_steps(share: float, steps: int) -> int:
    """Steps of `steps` in which the rate rises from 0; the last never is one: a run of one step would do nothing."""
    return min(math.ceil(steps * share), steps - 1)


class StageTrainer:
    """What our stages want otherwise than TRL's trainers; stands before one of them among a class's bases."""

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """TRL's, with our warm-up: transformers takes a share of 1.0 for one step, and may warm up to the end."""
        self.args.warmup_steps = warmup_steps(self.args.warmup_steps, num_training_steps)
        return super().create_scheduler(num_training_steps, optimizer)

    def compute_loss(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        """TRL's, without the noise that a model makes in training mode, whatever its config calls it (dropout, a layer
        left out, jitter of a router): a reference or another response would differ by it. An adapter's dropout stays.
        """
        self.model.eval()
        self.model.training = model.training = True  # TRL's log and the exchange of gradients read it of the outermost
        for name, module in self.model.named_modules():
            if "lora_dropout" in name:
                module.training = True
        return super().compute_loss(model, *args, **kwargs)


class PairTrainer(StageTrainer):
    """Every pair counts alike in an optimizer step, however accumulation splits it into batches.

    TRL averages over each batch and transformers over the batches, so that the pairs of a short last one count more.
    """

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        batches, items = super().get_batch_samples(*args, **kwargs)
        self._pairs_in_step = sum(len(batch["input_ids"]) for batch in batches)
        return batches, items

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        share = len(inputs["input_ids"]) * self.current_gradient_accumulation_steps / self._pairs_in_step
        return super().compute_loss(model, inputs, *args, **kwargs) * share


def check_lengths(lengths: Sequence[int], names: Sequence[str], limit: int, setting: str, model: Any) -> None:
    """Raises DataError naming the first row longer than `limit` tokens or than the model's context."""
    limit = min(limit, context_length(model))
    too_long = [(name, length) for name, length in zip(names, lengths) if length > limit]
    if too_long:
        name, length = too_long[0]
        raise DataError(
            f"{len(too_long)} of {len(lengths)} rows are longer than {limit} tokens, the first is {name} with "
            f"{length}; raise {setting} in params.yaml (the model's context is {context_length(model)}) or shorten "
            "the rows"
        )


class Report(TrainerCallback):
    """Tells the watchers how far training is.

    Logged are also the last step and every step that is saved: a log line averages since the line before, so a
    resumed run has the same curves only if no window reaches across a checkpoint.
    """

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        control.should_log |= control.should_save or state.global_step == state.max_steps

    def on_log(self, args: Any, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any) -> None:
        progress.report(state.global_step, state.max_steps, **curve_point(logs or {}))


class MarkComplete(TrainerCallback):
    """A checkpoint counts only once all of it is on disk."""

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        (folder / COMPLETE_FILE).touch()


class RefuseNonFinite(TrainerCallback):
    """Stops before a non-finite gradient reaches the weights, so the last checkpoint stays good."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def on_pre_optimizer_step(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        grads = [p.grad for p in kwargs["model"].parameters() if p.grad is not None]
        norms = torch.stack(torch._foreach_norm(grads))
        if not torch.isfinite(norms).all():
            last = last_complete_checkpoint(Path(args.output_dir))
            kept = f"the last good checkpoint is {last.name}" if last else "no checkpoint was written before"
            raise DivergedError(
                f"non-finite loss or gradient at step {state.global_step + 1} of {state.max_steps}; {kept}; "
                f"lower {self.stage}.learning_rate or look for broken rows"
            )


class Snapshots(TrainerCallback):
    """Keeps whole policies on the way, for `select`; beside the checkpoints, because outs do not survive a kill."""

    def __init__(self, count: int, save: Callable[[Any, Path], None]) -> None:
        self.count, self.save = count, save

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.global_step in snapshot_steps(state.max_steps, self.count):
            keep_snapshot(Path(args.output_dir), state.global_step, lambda path: self.save(kwargs["model"], path))


def last_complete_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written whole; half-written ones are removed."""
    for candidate in folder.glob("checkpoint-*"):
        if not (candidate / COMPLETE_FILE).exists():
            shutil.rmtree(candidate)
    last = get_last_checkpoint(str(folder))
    return Path(last) if last else None


def name_what_trl_reads(model: Any) -> None:
    """Names on this instance what TRL's forward looks up and some architectures call otherwise.

    The backbone, which Llama 4 is said to call `language_model`, and the number of experts (Phi-3.5-MoE).
    """
    inner = unwrapped(model)
    if inner.base_model is inner:
        backbone = backbone_of(inner)
        inner.base_model_prefix = next(name for name, child in inner.named_children() if child is backbone)
    config = inner.config.get_text_config()
    if hasattr(config, "num_local_experts") and not hasattr(config, "num_experts"):
        config.num_experts = config.num_local_experts


def train(trainer: Any, stage: str, checkpoints: Path) -> None:
    """Run a TRL trainer from its last checkpoint, if there is one, to the end.

    Raises DivergedError at the first step whose gradient is not finite, and when the trainer stopped early.
    """
    name_what_trl_reads(trainer.model)
    keep_sides_apart(trainer.model)
    trainer.remove_callback(PrinterCallback)
    for callback in (Report(), MarkComplete(), RefuseNonFinite(stage)):
        trainer.add_callback(callback)
    last = last_complete_checkpoint(checkpoints)
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    state = trainer.state
    if state.global_step < state.max_steps:
        raise DivergedError(f"{stage} did {state.global_step} of {state.max_steps} steps and gave no reason")


def curve_point(logs: dict[str, Any]) -> dict[str, float]:
    """The numbers of one log line that equal inputs reproduce: no times, no totals of hardware counters."""
    return {
        key: float(value)
        for key, value in logs.items()
        if isinstance(value, (int, float)) and not any(word in key for word in TIMES_AND_TOTALS)
    }


def write_curves(path: Path, history: Sequence[dict[str, Any]]) -> None:
    """Training curves, one JSON line per logged step; the trainer's closing summary is none."""
    rows = [{"step": int(line["step"]), **curve_point({k: v for k, v in line.items() if k != "step"})}
            for line in history if "train_loss" not in line]
    write_jsonl(path, rows)
