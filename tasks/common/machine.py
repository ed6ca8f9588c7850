"""The process that a stage runs in: threads, seeds, determinism, device."""

from __future__ import annotations

import random
import warnings

import numpy
import torch
import transformers

from models.lm.head import set_logits_budget
from tasks.config.shared import RuntimeConfig


def prepare_torch(runtime: RuntimeConfig) -> None:
    """Set what makes equal inputs give equal bits, and keep libraries quiet; `progress` says how far a stage is."""
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)  # TRL sets it
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(runtime.threads)
    set_logits_budget(runtime.logits_mb)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a third of SFT's time, to find bugs of torch's own
    random.seed(runtime.seed)
    numpy.random.seed(runtime.seed)
    torch.manual_seed(runtime.seed)


def device() -> torch.device:
    """The GPU where there is one: a machine setting, CUDA_VISIBLE_DEVICES, not a parameter."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
