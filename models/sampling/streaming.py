"""One response, token by token as it is drawn: the same draws as models/sampling/sampler.py makes in a batch."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from models.lm.batching import evaluating
from models.sampling.decoder import decoder_for
from models.sampling.sampler import SamplingSettings, check_prompts, next_tokens, uniforms

UNFINISHED = "\ufffd"  # what a decoder writes for the first bytes of a character that more tokens will complete


def stream(
    model: nn.Module, name: str, prompt: Sequence[int], settings: SamplingSettings, stop_ids: frozenset[int]
) -> Iterator[int]:
    """Yields the tokens of one response; the last is of `stop_ids` unless `max_new_tokens` ended it.

    name: of the prompt; with the seed it decides the draws. Raises ValueError as `sample` does.
    """
    check_prompts(model, [(name, prompt)], settings)
    draws = torch.from_numpy(uniforms(settings.seed, name, 0, settings.max_new_tokens + 1))
    with evaluating(model), torch.inference_mode():
        decoder = decoder_for(model, [prompt], settings.max_new_tokens)
        for at in range(settings.max_new_tokens):
            token, _ = next_tokens(decoder.logits, settings.temperature, draws[at : at + 1].to(decoder.device))
            yield int(token)
            if int(token) in stop_ids or at + 1 == settings.max_new_tokens:
                return
            decoder.step(token)


def pieces(tokens: Iterator[int], decode: Callable[[Sequence[int]], str]) -> Iterator[str]:
    """The text of `tokens` in parts that can be shown at once: never half a character, nothing taken back."""
    ids: list[int] = []
    shown = ""
    for token in tokens:
        ids.append(token)
        text = decode(ids)
        if not text.endswith(UNFINISHED) and text.startswith(shown) and text != shown:
            yield text[len(shown) :]
            shown = text
    rest = decode(ids)[len(shown) :] if ids else ""
    if rest:
        yield rest
