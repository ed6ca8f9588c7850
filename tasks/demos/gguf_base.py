"""`python -m tasks.demos.gguf_base --gguf FILE --out DIR`: a model directory from a GGUF file, weights in float32.

For chat models that are at hand in that form alone. Wants the package `gguf`. Quantised weights are what they are:
the directory holds their values, written out, and no more precision than the file had.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from models.chat.template import load_tokenizer
from models.lm.loading import load_policy
from models.lm.weights import readable
from tasks.common import errors
from tasks.common.rows import appears_whole


def convert(gguf: Path, out: Path) -> None:
    """Write config, weights and tokenizer of the GGUF file to `out`, whole or not at all.

    Raises ValueError without the package that reads it, for a file that is missing or cannot be read, and for what
    cannot be a base: no chat template, no end-of-text token, no causal LM.
    """
    if find_spec("gguf") is None:
        raise ValueError("the package gguf is not installed; pip install gguf==0.19.0")
    if not gguf.is_file():
        raise ValueError(f"{gguf} does not exist; give --gguf the path of a .gguf file")
    with readable(gguf):
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        # Without `dequantize` the model can neither be trained nor saved.
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
        )
    with appears_whole(out) as partial:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        load_tokenizer(partial)
        load_policy(partial)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tasks.demos.gguf_base", description=__doc__.split("\n\n")[0])
    parser.add_argument("--gguf", type=Path, required=True, help="the GGUF file of a causal language model")
    parser.add_argument("--out", type=Path, required=True, help="the model directory to write")
    parsed = parser.parse_args(arguments)
    try:
        convert(parsed.gguf, parsed.out)
    except ValueError as error:
        print(f"gguf_base: {errors.one_line(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
