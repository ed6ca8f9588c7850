"""vLLM, where it is installed: for models whose sampling on a GPU dominates everything else."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.lm.batching import device_of
from models.samplers.base import Progress, Prompt, as_sample, request_seed
from models.sampling.sampler import Sample, SamplingSettings, check_prompts


def _vllm() -> Any:
    try:
        import vllm
    except ImportError as error:
        raise ValueError(
            f"sampler vllm needs vLLM, which cannot be imported ({error}); install it (pip install vllm) or set"
            " generate.sampler in params.yaml to batched"
        ) from None
    return vllm


@dataclass
class VllmSampler:
    """Without log-probs: vLLM's kernels round otherwise than ours. Equal runs may differ, though each row has its seed.

    Every call starts an engine on the model's weights as they are then and ends it: nothing outlives an update.
    `model` holds whole weights: an adapter must be merged into it.
    """

    model: nn.Module
    stop_ids: frozenset[int]
    rows_per_batch: int

    def __post_init__(self) -> None:
        _vllm()

    def sample(
        self, prompts: Sequence[Prompt], n: int, settings: SamplingSettings, on_batch: Progress | None = None
    ) -> list[Sample]:
        """As `Sampler.sample`; progress is reported at the end only. Raises ValueError for prompts without room."""
        check_prompts(self.model, [(prompt.id, prompt.ids) for prompt in prompts], settings)
        rows = [(prompt, index) for prompt in prompts for index in range(n)]
        device = device_of(self.model)
        self.model.to("cpu")  # the engine wants the GPU's memory
        try:
            tokens = self._generate(rows, settings)
        finally:
            self.model.to(device)
        if on_batch is not None:
            on_batch(len(rows), len(rows))
        return [as_sample(prompt, index, ids, self.stop_ids) for (prompt, index), ids in zip(rows, tokens, strict=True)]

    def _generate(self, rows: Sequence[tuple[Prompt, int]], settings: SamplingSettings) -> list[list[int]]:
        vllm = _vllm()
        with tempfile.TemporaryDirectory() as folder:
            self.model.save_pretrained(Path(folder))
            engine = vllm.LLM(
                model=folder,
                skip_tokenizer_init=True,
                generation_config="vllm",  # the model's own is never consulted
                dtype=str(self.model.dtype).removeprefix("torch."),
                max_model_len=max(len(prompt.ids) for prompt, _ in rows) + settings.max_new_tokens,
                max_num_seqs=self.rows_per_batch,
            )
            requests = [
                vllm.SamplingParams(
                    temperature=settings.temperature,
                    max_tokens=settings.max_new_tokens,
                    seed=request_seed(settings.seed, prompt.id, index),
                    stop_token_ids=sorted(self.stop_ids),
                    detokenize=False,
                )
                for prompt, index in rows
            ]
            inputs = [{"prompt_token_ids": list(prompt.ids)} for prompt, _ in rows]
            outputs = engine.generate(inputs, requests, use_tqdm=False)
            tokens = [list(output.outputs[0].token_ids) for output in outputs]
        del engine
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return tokens
