"""Talk with a model directory in the terminal.

    python -m tasks.tools.chat --model DIRECTORY --tokenizer DIRECTORY --temperature 0.7 --max-new-tokens 64 --seed 0

Every line of the input is one turn, answered as the model would be served. Ctrl-C while it answers stops the answer,
at the prompt it ends the conversation, as /quit and the end of the input do.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from models.chat.template import decode_response, encode_prompt, load_tokenizer, stop_ids
from models.lm.batching import context_length
from models.lm.loading import load_policy
from models.sampling.sampler import SamplingSettings
from models.sampling.streaming import pieces, stream
from tasks.common.errors import one_line
from tasks.common.machine import device

QUIT = "/quit"
PROMPT = "> "


class Conversation:
    """The turns so far; the oldest are forgotten when the model's context is full."""

    def __init__(self, model: Any, tokenizer: Any, settings: SamplingSettings):
        self.model, self.tokenizer, self.settings = model, tokenizer, settings
        self.messages: list[dict[str, str]] = []
        self.turns = 0

    def answer(self, text: str) -> Iterator[str]:
        """The answer to `text`, piece by piece; both become part of the conversation.

        Raises ValueError for a text that alone leaves no room for an answer.
        """
        earlier, question = self.messages, {"role": "user", "content": text}
        prompt = encode_prompt(self.tokenizer, [*earlier, question])
        while earlier and len(prompt) + self.settings.max_new_tokens > context_length(self.model):
            earlier = earlier[2:]
            prompt = encode_prompt(self.tokenizer, [*earlier, question])
        self.turns += 1
        tokens = stream(self.model, f"turn {self.turns}", prompt, self.settings, stop_ids(self.tokenizer))
        answer: list[str] = []
        try:
            for piece in pieces(tokens, lambda ids: decode_response(self.tokenizer, ids)):
                answer.append(piece)
                yield piece
        finally:
            if answer:
                self.messages = [*earlier, question, {"role": "assistant", "content": "".join(answer)}]


def talk(conversation: Conversation, lines: Iterator[str]) -> None:
    """Answer line by line on the standard output."""
    for line in lines:
        if line.strip() == QUIT:
            return
        if not line.strip():
            continue
        try:
            for piece in conversation.answer(line.strip()):
                print(piece, end="", flush=True)
        except KeyboardInterrupt:
            pass
        except ValueError as error:
            print(one_line(error), file=sys.stderr, end="")
        print(flush=True)


def typed_lines() -> Iterator[str]:
    """What a person types, with a prompt and a history on a terminal."""
    if sys.stdin.isatty():
        import readline  # noqa: F401  input() uses it once it is imported
    prompt = PROMPT if sys.stdin.isatty() and sys.stdout.isatty() else ""
    while True:
        try:
            yield input(prompt)
        except (EOFError, KeyboardInterrupt):
            if prompt:
                print()
            return


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    options = {"model": Path, "tokenizer": Path, "temperature": float, "max-new-tokens": int, "seed": int}
    for name, kind in options.items():
        parser.add_argument(f"--{name}", type=kind, required=True)
    given = parser.parse_args(arguments)
    try:
        tokenizer, model = load_tokenizer(given.tokenizer), load_policy(given.model, dtype=saved_dtype(given.model))
        settings = SamplingSettings(given.temperature, given.max_new_tokens, given.seed)
        talk(Conversation(model.to(device()), tokenizer, settings), typed_lines())
    except (ValueError, OSError) as error:
        print(f"chat: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def saved_dtype(path: Path) -> str:
    """The dtype that the weights were saved in."""
    return json.loads((path / "config.json").read_text(encoding="utf-8")).get("dtype") or "float32"


if __name__ == "__main__":
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    sys.exit(main(sys.argv[1:]))
