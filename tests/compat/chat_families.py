"""Tokenizers and chat templates as the field's families have them, written from what their models are seen to do.

The templates are our own words for that behaviour: where the marks stand, which blanks, what is trimmed, what is put
before an answer. The tokenizers are small, and declare their control tokens as the family does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tests.support.tiny_models import TEXT

BYTES, LLAMA, GEMMA = "bytes", "llama", "gemma"  # byte-level BPE; SentencePiece with a first blank; without one
THINK = "<think>\n\n</think>\n\n"


@dataclass(frozen=True)
class Family:
    """A template and the tokens that it needs.

    end: what ends an answer. special: added tokens that are special; plain: added, not special. named: those of special
    that special_tokens_map has, besides EOS. learnt: tokens that generation_config lists as ends. prefix: what the completed
    generation prompt ends with. dated: how the template writes 2026-03-05. system: whether a system turn is accepted.
    whole: whether the completed prompt and the answer are what the template writes for the whole conversation.
    """

    name: str
    template: str | dict[str, str]
    kind: str
    eos: str
    end: str
    special: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    named: dict[str, str] = field(default_factory=dict)
    learnt: tuple[str, ...] = ()
    strips: bool = False  # the special tokens swallow blanks after them
    prefix: str = ""
    dated: str | None = None
    system: bool = True
    whole: bool = True


def byte_level(tokens: list[str]) -> Tokenizer:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False))
    return raw


def sentence_piece(tokens: list[str], first_blank: bool) -> Tokenizer:
    """BPE over text whose blanks are ▁, bytes where a character is unknown; Llama's form puts a ▁ before every text."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    learner.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=260, show_progress=False))
    learnt = json.loads(learner.to_str())["model"]
    pieces = ["<unk>", *tokens, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "▁▁", "▁▁▁▁"]
    pieces += [piece for piece in learnt["vocab"] if piece not in pieces]
    merges = [("▁", "▁"), ("▁▁", "▁▁"), *map(tuple, learnt["merges"])]
    vocab = {piece: place for place, piece in enumerate(dict.fromkeys(pieces))}
    raw = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    blanks = normalizers.Replace(" ", "▁")
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), blanks]) if first_blank else blanks
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    raw.decoder = decoders.Sequence(steps + ([decoders.Strip(" ", 1, 0)] if first_blank else []))
    return raw


def make_tokenizer(family: Family, path: Path) -> Path:
    """The family's tokenizer as a folder, with the ends that a base has learnt in generation_config.json."""
    tokens = list(dict.fromkeys([family.eos, *family.special]))
    raw = byte_level(tokens) if family.kind == BYTES else sentence_piece(tokens, family.kind == LLAMA)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token=family.eos, clean_up_tokenization_spaces=False, **family.named
    )
    tokenizer.add_tokens([AddedToken(t, special=True, normalized=False, rstrip=family.strips) for t in tokens[1:]],
                         special_tokens=True)
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in family.plain])
    tokenizer.chat_template = family.template
    tokenizer.save_pretrained(path)
    learnt = tokenizer.convert_tokens_to_ids([family.eos, *family.learnt])
    (path / "generation_config.json").write_text(json.dumps({"eos_token_id": learnt if family.learnt else learnt[0]}))
    return path


# --- templates ---

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHATML_DEFAULT = (
    "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nBe of help.<|im_end|>\n' }}{% endif %}" + CHATML
)
QWEN_TOOLS = (
    "{% if tools %}{{ '<|im_start|>system\nYou may call:' }}{% for t in tools %}{{ '\n' + t | tojson }}{% endfor %}"
    "{{ '\nwithin <tool_call></tool_call><|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{% if m.role == 'tool' %}"
    "{{ '<|im_start|>user\n<tool_response>\n' + m.content + '\n</tool_response><|im_end|>\n' }}"
    "{% else %}{{ '<|im_start|>' + m.role }}{% if m.content %}{{ '\n' + m.content }}{% endif %}"
    "{% for c in m.tool_calls or [] %}{{ '\n<tool_call>\n' + (c.function or c) | tojson + "
    "'\n</tool_call>' }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ "
    "'<|im_start|>assistant\n' }}{% endif %}"
)
QWEN3 = (
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}"
    "{% endif %}{% endfor %}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' %}{% set parts = m.content.split('</think>') %}"
    "{% set reason = m.reasoning_content or (parts[0].split('<think>')[-1] if parts | length > 1 else '') %}"
    "{% if loop.index0 > ns.last and (loop.last or reason) %}{{ '<think>\n' + reason.strip('\n') + '\n</think>\n\n' }}"
    "{% endif %}{{ parts[-1].lstrip('\n') }}{% else %}{{ m.content }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
)
QWEN3_HYBRID = QWEN3 + (
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% "
    "endif %}{% endif %}"
)
QWEN3_THINKING = QWEN3 + "{{ '<think>\n' }}{% endif %}"
SMOLLM3 = (
    "{% set mode = '/no_think' if enable_thinking is defined and not enable_thinking else '/think' %}"
    "{{ '<|im_start|>system\nToday: ' + strftime_now('%d %B %Y') + '\nMode: ' + mode + '<|im_end|>\n' }}"
    "{% set block = '<think>\n\n</think>\n' if mode == '/no_think' else '' %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + (block if m.role == 'assistant' else '') + m.content "
    "+ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' + block }}{% endif %}"
)
R1 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}"
    "{{ '<｜User｜>' + m.content }}{% else %}{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + eos_token }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\n' }}{% endif %}"
)
LLAMA2 = (
    "{% set said = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' if messages[0].role == 'system' else '' %}"
    "{% for m in messages if m.role != 'system' %}{% if m.role == 'user' %}"
    "{{ bos_token + '[INST] ' + (said if loop.first else '') + m.content.strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA3 = (
    "{% for m in messages %}{{ (bos_token if loop.first else '') + '<|start_header_id|>' + m.role "
    "+ '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
LLAMA32 = (
    "{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "{% set asked = messages[0].role == 'system' %}{{ bos_token + '<|start_header_id|>system<|end_header_id|>\n\n"
    "Today Date: ' + date_string + '\n\n' + (messages[0].content | trim if asked else '') + '<|eot_id|>' }}"
    "{% for m in (messages[1:] if asked else messages) %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' "
    "+ m.content | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
ALTERNATE = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant') }}{% endif %}{% endfor %}"
)
MISTRAL1 = ALTERNATE + (
    "{{ bos_token }}{% for m in messages %}{{ '[INST] ' + m.content + ' [/INST]' if m.role == 'user' else "
    "' ' + m.content + eos_token }}{% endfor %}"
)
MISTRAL3 = ALTERNATE + (
    "{{ bos_token }}{% for m in messages %}{{ '[INST] ' + m.content + '[/INST]' if m.role == 'user' else "
    "' ' + m.content + eos_token }}{% endfor %}"
)
MISTRAL_SMALL = (
    "{% set asked = messages[0].role == 'system' %}{{ bos_token + '[SYSTEM_PROMPT]' + "
    "(messages[0].content if asked else "
    "'Today is ' + strftime_now('%Y-%m-%d') + '.') + '[/SYSTEM_PROMPT]' }}{% for m in messages if m.role != 'system' %}"
    "{{ '[INST]' + m.content + '[/INST]' if m.role == 'user' else m.content + eos_token }}{% endfor %}"
)
ZEPHYR = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
TULU = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + (eos_token if m.role == 'assistant' "
    "else '') + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
OLMO2 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content }}"
    "{{ eos_token if m.role == 'assistant' }}{{ '\n' if not loop.last or m.role != 'assistant' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
GEMMA2 = (
    "{{ bos_token }}" + ALTERNATE + "{% for m in messages %}{{ '<start_of_turn>' + ('model' if m.role == "
    "'assistant' else "
    "m.role) + '\n' + m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
GEMMA3 = (
    "{{ bos_token }}{% set first = messages[0].content + '\n\n' if messages[0].role == 'system' else '' %}"
    "{% for m in messages if m.role != 'system' %}{{ '<start_of_turn>' + ('model' if m.role == "
    "'assistant' else m.role) "
    "+ '\n' + (first if loop.first else '') + m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
PHI3 = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
PHI4_MINI = (
    "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"
)
PHI4 = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
)
GRANITE = (
    "{% set asked = messages[0].role == 'system' %}{{ '<|start_of_role|>system<|end_of_role|>' + "
    "(messages[0].content if "
    "asked else 'Today is ' + strftime_now('%B %d, %Y') + '.') + '<|end_of_text|>\n' }}"
    "{% for m in messages if m.role != 'system' %}{{ '<|start_of_role|>' + m.role + '<|end_of_role|>' + m.content "
    "+ '<|end_of_text|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}"
)
COMMAND_R = (
    "{{ bos_token }}{% for m in messages %}{{ '<|START_OF_TURN_TOKEN|>' + {'user': '<|USER_TOKEN|>', 'system': "
    "'<|SYSTEM_TOKEN|>', 'assistant': '<|CHATBOT_TOKEN|>'}[m.role] + m.content.strip() + '<|END_OF_TURN_TOKEN|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif %}"
)
COMMAND_R_TOOLS = "{% for t in tools %}{{ t | tojson }}{% endfor %}" + COMMAND_R
COMMAND_R7B = COMMAND_R.replace(
    "m.content.strip()", "('<|START_RESPONSE|>' + m.content + '<|END_RESPONSE|>' if m.role == "
    "'assistant' else m.content)"
)
GPT_OSS = (
    "{{ '<|start|>system<|message|>Current date: ' + strftime_now('%Y-%m-%d') + '\n# Valid channels: final.<|end|>' }}"
    "{% for m in messages %}{% if m.role == 'assistant' %}{% if m.tool_calls %}{% set c = m.tool_calls[0].function %}"
    "{{ '<|start|>assistant to=functions.' + c.name + '<|channel|>commentary json<|message|>' + c.arguments | tojson "
    "+ '<|call|>' }}{% else %}{{ '<|start|>assistant<|channel|>final<|message|>' + m.content + "
    "('<|return|>' if loop.last "
    "else '<|end|>') }}{% endif %}{% else %}{{ '<|start|>' + m.role + '<|message|>' + m.content + "
    "'<|end|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"
)
FALCON = (
    "{% for m in messages %}{{ '\n' if not loop.first }}{{ {'user': 'User', 'assistant': 'Falcon', 'system': 'System'}"
    "[m.role] + ': ' + m.content }}{% endfor %}{% if add_generation_prompt %}{{ '\nFalcon:' }}{% endif %}"
)
DEEPSEEK = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ 'User: ' + m.content + '\n\n' }}"
    "{% elif m.role == 'assistant' %}{{ 'Assistant: ' + m.content + eos_token }}{% else %}{{ m.content + '\n\n' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
GLM4 = (
    "{{ '[gMASK]<sop>' }}{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
QA = (
    "{% for m in messages %}{{ 'Q: ' + m.content + '\nA: ' if m.role == 'user' else m.content + eos_token + '\n' }}"
    "{% endfor %}"
)
NO_PROMPT = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"

BOS = {"bos_token": "<s>"}
IM = ("<|im_start|>", "<|im_end|>")
LLAMA3_TOKENS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>")
LLAMA3_BOS = {"bos_token": "<|begin_of_text|>"}
GEMMA_TOKENS = ("<bos>", "<start_of_turn>", "<end_of_turn>")
COMMAND_TOKENS = ("<BOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>")
COMMAND_BOS = {"bos_token": "<BOS_TOKEN>"}

FAMILIES = (
    Family("Llama 2", LLAMA2, LLAMA, "</s>", "</s>", ("<s>",), named=BOS),
    Family("Llama 3, base with the instruct template", LLAMA3, BYTES, "<|end_of_text|>", "<|eot_id|>", LLAMA3_TOKENS,
           named=LLAMA3_BOS),
    Family("Llama 3.2", LLAMA32, BYTES, "<|eot_id|>", "<|eot_id|>", ("<|end_of_text|>", *LLAMA3_TOKENS),
           named=LLAMA3_BOS, learnt=("<|end_of_text|>", "<|eom_id|>"), dated="05 Mar 2026"),
    Family("Mistral v1", MISTRAL1, LLAMA, "</s>", "</s>", ("<s>",), named=BOS, system=False),
    Family("Mistral v3", MISTRAL3, LLAMA, "</s>", "</s>", ("<s>", "[INST]", "[/INST]"), named=BOS, system=False),
    Family("Mistral Small", MISTRAL_SMALL, BYTES, "</s>", "</s>",
           ("<s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"), named=BOS, dated="2026-03-05"),
    Family("Zephyr, TinyLlama", ZEPHYR, LLAMA, "</s>", "</s>", ("<s>",), named=BOS),
    Family("Tulu 2", TULU, LLAMA, "</s>", "</s>", ("<s>",), named=BOS),
    Family("Tulu 3", TULU, BYTES, "<|end_of_text|>", "<|end_of_text|>", LLAMA3_TOKENS, named=LLAMA3_BOS),
    Family("ChatML on a base", CHATML, BYTES, "<|endoftext|>", "<|im_end|>", IM),
    Family("ChatML on a base, tokens not special", CHATML, BYTES, "<|endoftext|>", "<|im_end|>", plain=IM),
    Family("ChatML without a generation prompt", NO_PROMPT, BYTES, "<|im_end|>", "<|im_end|>", IM,
           prefix="<|im_start|>assistant\n"),
    Family("Qwen 2.5", QWEN_TOOLS, BYTES, "<|im_end|>", "<|im_end|>", ("<|endoftext|>", *IM),
           plain=("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"), learnt=("<|endoftext|>",)),
    Family("Qwen 3", QWEN3_HYBRID, BYTES, "<|im_end|>", "<|im_end|>", ("<|endoftext|>", *IM),
           plain=("<think>", "</think>"), learnt=("<|endoftext|>",), prefix=THINK),
    Family("Qwen 3, base", QWEN3 + "{% endif %}", BYTES, "<|endoftext|>", "<|im_end|>", IM,
           plain=("<think>", "</think>"), prefix=THINK),
    Family("Qwen 3 Thinking", QWEN3_THINKING, BYTES, "<|im_end|>", "<|im_end|>", ("<|endoftext|>", *IM),
           plain=("<think>", "</think>"), learnt=("<|endoftext|>",), prefix=THINK),
    Family("DeepSeek R1 distill", R1, BYTES, "<｜end▁of▁sentence｜>", "<｜end▁of▁sentence｜>", ("<｜begin▁of▁sentence｜>",),
           plain=("<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"), named={"bos_token": "<｜begin▁of▁sentence｜>"},
           prefix=THINK, whole=False),
    Family("DeepSeek LLM", DEEPSEEK, BYTES, "<｜end▁of▁sentence｜>", "<｜end▁of▁sentence｜>", ("<｜begin▁of▁sentence｜>",),
           named={"bos_token": "<｜begin▁of▁sentence｜>"}),
    Family("Gemma 2", GEMMA2, GEMMA, "<eos>", "<end_of_turn>", GEMMA_TOKENS, named={"bos_token": "<bos>"}, system=False,
           learnt=("<end_of_turn>",)),
    Family("Gemma 3", GEMMA3, GEMMA, "<eos>", "<end_of_turn>", GEMMA_TOKENS, named={"bos_token": "<bos>"},
           learnt=("<end_of_turn>",)),
    Family("Phi 3", PHI3, LLAMA, "<|endoftext|>", "<|end|>", ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
           strips=True, learnt=("<|end|>", "<|assistant|>")),
    Family("Phi 4 mini", PHI4_MINI, BYTES, "<|endoftext|>", "<|end|>",
           plain=("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"), learnt=("<|end|>",)),
    Family("Phi 4", PHI4, BYTES, "<|im_end|>", "<|im_end|>", ("<|endoftext|>", "<|im_sep|>", *IM),
           learnt=("<|endoftext|>",)),
    Family("Granite 3.3", GRANITE, BYTES, "<|end_of_text|>", "<|end_of_text|>",
           ("<|start_of_role|>", "<|end_of_role|>"), dated="March 05, 2026"),
    Family("Command R, several templates", {"default": COMMAND_R, "tool_use": COMMAND_R_TOOLS}, BYTES,
           "<|END_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", COMMAND_TOKENS, named=COMMAND_BOS),
    Family("Command R7B", COMMAND_R7B, BYTES, "<|END_OF_TURN_TOKEN|>", "<|END_RESPONSE|>",
           (*COMMAND_TOKENS, "<|START_RESPONSE|>", "<|END_RESPONSE|>"), named=COMMAND_BOS, prefix="<|START_RESPONSE|>"),
    Family("gpt-oss", GPT_OSS, BYTES, "<|return|>", "<|return|>",
           ("<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|call|>", "<|endoftext|>"),
           learnt=("<|endoftext|>", "<|call|>"), prefix="<|channel|>final<|message|>", dated="2026-03-05"),
    Family("SmolLM 2", CHATML_DEFAULT, BYTES, "<|im_end|>", "<|im_end|>", ("<|endoftext|>", *IM)),
    Family("SmolLM 3", SMOLLM3, BYTES, "<|im_end|>", "<|im_end|>", ("<|endoftext|>", *IM),
           plain=("<think>", "</think>"), prefix="<think>\n\n</think>\n", dated="05 March 2026"),
    Family("OLMo 2", OLMO2, BYTES, "<|endoftext|>", "<|endoftext|>", named={"bos_token": "<|endoftext|>"}),
    Family("Falcon", FALCON, BYTES, "<|endoftext|>", "<|endoftext|>"),
    Family("GLM 4", GLM4, BYTES, "<|endoftext|>", "<|endoftext|>",
           ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>"), learnt=("<|user|>",)),
    Family("Questions and answers, as GPT-2 is given", QA, BYTES, "<|endoftext|>", "<|endoftext|>", system=False),
)
