"""Chat templates: conversations to token ids and back, with the tokenizer of a model directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Sequence

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from models.weights import read_config, readable

Messages = Sequence[Mapping[str, Any]]


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model directory.

    Raises ValueError when it cannot be read, when it has no chat template or no EOS token, without which nothing can be
    sampled, or when the model beside it has no embedding for one of its tokens.
    """
    if not (path / "tokenizer_config.json").is_file():
        raise ValueError(f"{path} has no tokenizer_config.json; save the model's tokenizer beside its weights")
    rows = read_config(path).get_text_config().vocab_size if (path / "config.json").is_file() else None
    with readable(path):
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    highest = max(tokenizer.get_vocab().values())
    if rows is not None and highest >= rows:
        raise ValueError(
            f"the tokenizer in {path} has token ids up to {highest}, and the embedding has {rows} rows for ids below "
            f"{rows}; call model.resize_token_embeddings({highest + 1}) and save the model again"
        )
    if not tokenizer.chat_template:
        raise ValueError(f"the tokenizer in {path} has no chat template; set tokenizer.chat_template and save it again")
    if tokenizer.eos_token_id is None:
        raise ValueError(f"the tokenizer in {path} has no EOS token; set tokenizer.eos_token and save it again")
    return tokenizer


def encode_prompt(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> list[int]:
    """Token ids of a conversation up to where the assistant begins to speak."""
    ids = tokenizer.apply_chat_template(
        list(messages), tokenize=True, add_generation_prompt=True, return_dict=False
    )
    return list(ids)


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends an assistant's turn: the chat template's own where it is special, else EOS."""
    marker = "x"
    user = {"role": "user", "content": marker}
    prompt = tokenizer.apply_chat_template([user], tokenize=False, add_generation_prompt=True)
    turn = [user, {"role": "assistant", "content": marker}]
    whole = tokenizer.apply_chat_template(turn, tokenize=False)
    if not whole.startswith(prompt + marker):
        return tokenizer.eos_token_id
    tail = tokenizer(whole[len(prompt + marker):], add_special_tokens=False)["input_ids"]
    return tail[0] if tail and tail[0] in tokenizer.all_special_ids else tokenizer.eos_token_id


def stop_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens after which a response is finished."""
    return frozenset({end_of_turn(tokenizer), tokenizer.eos_token_id})


def encode_response(tokenizer: PreTrainedTokenizerBase, text: str, ended: bool = True) -> list[int]:
    """Token ids of an assistant's whole turn, its end included; without an end where it was cut."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return [*ids, end_of_turn(tokenizer)] if ended else list(ids)


def decode_response(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of a response; special tokens are left out."""
    return tokenizer.decode(list(ids), skip_special_tokens=True).strip()
