"""The forms that public data sets have: which of a file's columns is what.

A form is added by a line in `FORMS`, or by another package (docs/extending.md). Its columns are named by our fields:

- `messages`: a whole conversation; `prompt` and `completion`: its beginning, and the answer to it;
- `context`: text that belongs below the prompt; `history`: turns before it; `system`, `tools`: what holds for the whole
  conversation; `media`: pictures and sounds, which no row may have;
- `chosen`, `rejected`: the better answer and the worse one, or the conversations that they end;
- `answers`: several answers to one prompt, with one of: `scores` (higher is better), `ranks` (1 is best), `best` (the
  place of the better one, from 0), `preference` (below 0 the first of two, above 0 the second) or `winner` (its name);
- `score`: how good the completion is, where other rows answer the same prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tasks.common.errors import ConfigError
from tasks.config.data import CONTENT_FIELDS
from tasks.config.data import FORMS as NAMED_FORMS
from tasks.data.messages import CALLS
from tasks.data.values import Column, head, look_up, says_something

GIVES_TWO = ("chosen", "answers", "score")
GIVES_ONE = ("messages", "completion", *GIVES_TWO)
VERDICTS = ("scores", "ranks", "best", "preference", "winner")
# What belongs to a conversation in every form, in columns beside those of the form.
BESIDE: dict[str, tuple[str, ...]] = {
    "system": ("system", "system_prompt"),
    "tools": ("tools", "functions"),
    "context": ("context",),
    "history": ("history",),
    "media": ("image", "images", "video", "videos", "audio", "audios"),
}
# Columns that are part of an answer, so that a row without them would say something else.
PART_OF_ANSWER = (*CALLS, "reasoning_content", "thinking")
FLAGS = ("label", "is_safe", "kto_tag", "thumbs_up", "desirable")


@dataclass(frozen=True)
class Form:
    """`columns` must all be there, `optional` may. `refusal`: why rows of this form are not read."""

    name: str
    seen_in: str
    columns: Mapping[str, Column]
    optional: Mapping[str, Column] = field(default_factory=dict)
    refusal: str = ""

    def fits(self, row: Mapping[str, Any]) -> bool:
        return all(look_up(row, column) is not None for column in self.columns.values())

    def might_fit(self, names: frozenset[str]) -> bool:
        """Whether a row with these columns may be of this form."""
        return all(any(name in names for name in head(column)) for column in self.columns.values())

    def unread(self, row: Mapping[str, Any]) -> list[str]:
        """The columns of an answer in which the row says something that this form does not read."""
        read = {name for column in (*self.columns.values(), *self.optional.values()) for name in head(column)}
        return [name for name in PART_OF_ANSWER if name not in read and says_something(row.get(name))]

    def fields(
        self, row: Mapping[str, Any], beside: Mapping[str, Sequence[str]] = MappingProxyType(BESIDE)
    ) -> dict[str, Any]:
        """What the row says, by our fields. beside: the columns of what every form may have."""
        paths = {**self.columns, **self.optional}
        values_of = {name: look_up(row, path) for name, path in paths.items()}
        own = {part for column in paths.values() for part in head(column)}
        for name in beside.keys() - paths.keys():
            values = [look_up(row, column) for column in beside[name] if column not in own]
            values_of[name] = next((value for value in values if says_something(value)), None)
        return {
            name: value for name, value in values_of.items()
            if value is not None and (name not in BESIDE or says_something(value))
        }


UNPAIRED = (
    "it is unpaired feedback (one answer with a mark: KTO's form), which no stage trains on yet; keep the good answers "
    "as demonstrations, or pair answers to one prompt as chosen and rejected"
)
TREE = (
    "it is one message of a tree (OpenAssistant's form); write out each path from a first question to an answer as "
    "`messages`, or answers to one question as chosen and rejected"
)
FORMS = (
    Form("oasst-tree", "OpenAssistant/oasst1, oasst2",
         {"message": "text", "id": "message_id", "tree": "message_tree_id"}, refusal=TREE),
    Form("helpsteer", "nvidia/HelpSteer, HelpSteer2",
         {"prompt": "prompt", "completion": "response", "score": "helpfulness"}),
    # --- two answers, one better ---
    Form("sharegpt-pairs", "LLaMA-Factory's ranking data",
         {"prompt": "conversations", "chosen": "chosen", "rejected": "rejected"}),
    Form("pairs", "TRL; HuggingFaceH4/ultrafeedback_binarized, allenai/llama-3.1-tulu-3-8b-preference-mixture",
         {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}),
    Form("orca-pairs", "Intel/orca_dpo_pairs", {"prompt": "question", "chosen": "chosen", "rejected": "rejected"}),
    Form("alpaca-pairs", "Alpaca-like preferences",
         {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"}, {"context": "input"}),
    Form("input-pairs", "argilla/distilabel-intel-orca-dpo-pairs",
         {"prompt": "input", "chosen": "chosen", "rejected": "rejected"}),
    Form("conversation-pairs", "TRL with implicit prompts; Anthropic/hh-rlhf, Skywork-Reward-Preference-80K",
         {"chosen": "chosen", "rejected": "rejected"}),
    Form("response-pairs", "argilla/distilabel-math-preference-dpo",
         {"prompt": "instruction", "chosen": "chosen_response", "rejected": "rejected_response"}),
    Form("stack-pairs", "lvwerra/stack-exchange-paired",
         {"prompt": "question", "chosen": "response_j", "rejected": "response_k"}),
    # --- several answers, judged ---
    Form("ultrafeedback", "openbmb/UltraFeedback",
         {"prompt": "instruction", "answers": "completions.response", "scores": "completions.overall_score"}),
    Form("scored-completions", "UltraFeedback-like",
         {"prompt": "prompt", "answers": "completions.response", "scores": "completions.overall_score"}),
    Form("nectar", "berkeley-nest/Nectar", {"prompt": "prompt", "answers": "answers.answer", "ranks": "answers.rank"}),
    Form("stack-exchange", "HuggingFaceH4/stack-exchange-preferences",
         {"prompt": "question", "answers": "answers.text", "scores": "answers.pm_score"}),
    Form("saferlhf", "PKU-Alignment/PKU-SafeRLHF",
         {"prompt": "prompt", "answers": ("response_0", "response_1"), "best": "better_response_id"}),
    Form("helpsteer2-preference", "nvidia/HelpSteer2, preference",
         {"prompt": "prompt", "answers": ("response_1", "response_2"), "preference": "preference_strength"}),
    Form("helpsteer3", "nvidia/HelpSteer3",
         {"prompt": "context", "answers": ("response1", "response2"), "preference": "overall_preference"}),
    Form("shp", "stanfordnlp/SHP",
         {"prompt": "history", "answers": ("human_ref_A", "human_ref_B"), "scores": ("score_A", "score_B")}),
    Form("webgpt", "openai/webgpt_comparisons",
         {"prompt": "question.full_text", "answers": ("answer_0", "answer_1"), "scores": ("score_0", "score_1")}),
    Form("summaries", "openai/summarize_from_feedback",
         {"prompt": "info.post", "answers": "summaries.text", "best": "choice"}),
    Form("arena", "lmsys/chatbot_arena_conversations, mt_bench_human_judgments",
         {"answers": ("conversation_a", "conversation_b"), "winner": "winner"}),
    # --- one answer ---
    Form("messages", "OpenAI's and TRL's chat form; HuggingFaceTB/smoltalk, HuggingFaceH4/ultrachat_200k",
         {"messages": "messages"}),
    Form("sharegpt", "teknium/OpenHermes-2.5, Open-Orca/SlimOrca", {"messages": "conversations"}),
    Form("exchanges", "LDJnr/Capybara", {"messages": "conversation"}),
    Form("completion", "TRL's prompt and completion", {"prompt": "prompt", "completion": "completion"}),
    Form("alpaca", "tatsu-lab/alpaca", {"prompt": "instruction", "completion": "output"}, {"context": "input"}),
    Form("dolly", "databricks/databricks-dolly-15k",
         {"prompt": "instruction", "completion": "response"}, {"context": "context"}),
    Form("response", "prompt and response", {"prompt": "prompt", "completion": "response"}),
    Form("orca", "Open-Orca/OpenOrca", {"prompt": "question", "completion": "response"}),
    Form("question-answer", "openai/gsm8k", {"prompt": "question", "completion": "answer"}),
    Form("query-response", "meta-math/MetaMathQA", {"prompt": "query", "completion": "response"}),
    Form("input-output", "input and output", {"prompt": "input", "completion": "output"}),
    Form("aya", "CohereForAI/aya_dataset", {"prompt": "inputs", "completion": "targets"}),
    # --- a prompt alone ---
    Form("prompt", "TRL's prompts", {"prompt": "prompt"}),
    Form("question", "questions", {"prompt": "question"}),
    Form("instruction", "instructions", {"prompt": "instruction"}, {"context": "input"}),
    Form("text", "timdettmers/openassistant-guanaco, and other dialogues in one text", {"messages": "text"}),
)  # fmt: skip
# The columns in which rows of these forms say something.
SAID = tuple(dict.fromkeys(
    [*BESIDE["history"]] + [name for form in FORMS for field_, column in {**form.columns, **form.optional}.items()
    if field_ not in (*VERDICTS, "score", "id", "tree") for name in head(column) if "." not in name]
))  # fmt: skip
BY_NAME = {form.name: form for form in FORMS}


def forms_for(kind: str, forms: Sequence[Form] = FORMS) -> list[Form]:
    """Those of which rows of a kind can be made, the first to be tried first."""
    needed = {"preferences": GIVES_TWO, "demonstrations": GIVES_ONE, "prompts": ("prompt", *GIVES_ONE)}[kind]
    return [form for form in forms if form.refusal or any(name in form.columns for name in needed)]


def one_of(known: Mapping[str, Any], what: str, name: str) -> Any:
    """What params name. Raises ConfigError with the names that are known."""
    if name not in known:
        raise ConfigError(f"data.columns names no {what} {name!r} that is known here; known are {', '.join(known)}")
    return known[name]


def beside(columns: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The columns of what every form may have, as params name them or leave them out."""
    own = {name: (columns[name],) if columns[name] else () for name in BESIDE if name in columns}
    return {**BESIDE, **own}


def declared_form(columns: Mapping[str, Any]) -> Form | None:
    """The form that params declare by its name, by columns, or both; None where they only name other fields."""
    own = {name: column for name, column in columns.items() if name in CONTENT_FIELDS}
    base = NAMED_FORMS[columns["form"]] if "form" in columns else None
    if base is None and not any(column for name, column in own.items() if name not in BESIDE):
        return None
    given = {**(base.columns if base else {}), **own}
    optional = {name: given.pop(name) for name in BESIDE if name in given}
    dropped = {name: () for name, column in {**given, **optional}.items() if column is None}
    needed = {name: column for name, column in given.items() if column is not None}
    return Form("declared", "params", needed, {**(base.optional if base else {}), **optional, **dropped})
