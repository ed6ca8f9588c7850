"""A tiny causal language model from any texts: byte-level BPE, Llama shape, one bare training loop.

It makes the base of hearth, and in the same way a base from a user's own text. Same texts, settings and machine give
the same bytes (fp32, one thread).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, get_cosine_schedule_with_warmup

PAD, END, USER, ASSISTANT, SYSTEM = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"
SPECIALS = (PAD, END, USER, ASSISTANT, SYSTEM)
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}"
    "<|assistant|>{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}"
    "{%- elif message['role'] in ('user', 'system') -%}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{%- else -%}{{ raise_exception('role must be system, user or assistant') }}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"
)
WARMUP_SHARE = 0.05
WEIGHT_DECAY = 0.05
REPORT_EVERY = 100


def build_base(
    texts: Sequence[str],
    out: Path,
    *,
    vocab_size: int = 2048,
    hidden_size: int = 128,
    layers: int = 4,
    heads: int = 4,
    context: int = 256,
    window: int = 128,
    steps: int = 2000,
    batch: int = 8,
    lr: float = 3e-3,
    seed: int = 0,
    on_step: Callable[[int, float], None] | None = None,
) -> float:
    """Trains tokenizer and model on `texts` (one document each) and saves a Hugging Face directory at `out`.

    A step sees `batch` windows of `window` tokens, cut from the shuffled documents joined by the end token. Many
    small steps remember facts in less time than few large ones.
    `on_step(step, loss)` is called every 100 steps. Returns the mean loss (nats per token) of the last tenth of the
    steps. Raises ValueError for empty texts, or settings that do not fit each other.
    """
    texts = [clean(text) for text in texts if text.strip()]
    if not texts:
        raise ValueError("texts is empty; give build_base at least one non-empty document")
    if hidden_size % heads or (hidden_size // heads) % 2:
        raise ValueError(
            f"hidden_size={hidden_size} does not split into heads={heads} of even width; use a multiple of 2 * heads"
        )
    if not 2 <= window <= context:
        raise ValueError(f"window={window} must lie between 2 and context={context}")
    tokenizer = build_tokenizer(texts, vocab_size, context)
    torch.manual_seed(seed)
    model = LlamaForCausalLM(_config(tokenizer, hidden_size, layers, heads, context))
    documents = [ids + [tokenizer.eos_token_id] for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
    loss = _train(model, _windows(documents, window, batch, seed), steps, lr, on_step)
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return loss


def clean(text: str) -> str:
    """The text with our control tokens broken up, so that a document cannot forge a turn."""
    for special in SPECIALS:
        text = text.replace(special, special.replace("|", " "))
    return text


def build_tokenizer(texts: Iterable[str], vocab_size: int, context: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE (no unknown token: any text round-trips), with a chat template whose turns end in EOS."""
    least = len(SPECIALS) + len(pre_tokenizers.ByteLevel.alphabet())
    if vocab_size < least:
        raise ValueError(
            f"vocab_size={vocab_size} is below {least} (every byte and {len(SPECIALS)} control tokens); raise it"
        )
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )  # fmt: skip
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=PAD, eos_token=END, extra_special_tokens=[USER, ASSISTANT, SYSTEM],
        chat_template=CHAT_TEMPLATE, model_max_length=context, clean_up_tokenization_spaces=False,
    )  # fmt: skip


def _config(tokenizer: PreTrainedTokenizerFast, hidden: int, layers: int, heads: int, context: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=3 * hidden, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=context, tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
    )  # fmt: skip


def _windows(documents: list[list[int]], window: int, batch: int, seed: int) -> Iterator[torch.Tensor]:
    """Endless (batch, window) windows of the documents, which are shuffled anew each time round."""
    generator = torch.Generator().manual_seed(seed)
    stream: list[int] = []
    need = batch * window
    while True:
        for at in torch.randperm(len(documents), generator=generator).tolist():
            stream += documents[at]
            while len(stream) >= need:
                yield torch.tensor(stream[:need]).view(batch, window)
                stream = stream[need:]


def _train(
    model: LlamaForCausalLM, windows: Iterator[torch.Tensor], steps: int, lr: float,
    on_step: Callable[[int, float], None] | None,
) -> float:  # fmt: skip
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY)
    schedule = get_cosine_schedule_with_warmup(optimizer, int(WARMUP_SHARE * steps), steps)
    losses = []
    for step in range(1, steps + 1):
        tokens = next(windows)
        logits = model(input_ids=tokens, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if on_step is not None and step % REPORT_EVERY == 0:
            on_step(step, sum(losses[-REPORT_EVERY:]) / REPORT_EVERY)
    model.eval()
    tail = losses[-max(1, steps // 10) :]
    return sum(tail) / max(1, len(tail))
