"""What a row says, made ours: `{messages}` of a demonstration, `{prompt}`, or `{prompt, chosen, rejected}`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.common.rows import Row
from tasks.data.marks import Marks
from tasks.data.messages import (
    Messages,
    as_history,
    as_messages,
    check_conversation,
    check_prompt,
    conversation,
    turn_key,
    with_system,
)  # fmt: skip
from tasks.data.values import BadRow, as_text, unpacked

WINNERS = {"model_a": 0, "a": 0, "first": 0, "model_b": 1, "b": 1, "second": 1}
TIES = ("tie", "both_bad", "bothbad", "both_good", "none")  # how a tie begins


@dataclass(frozen=True)
class Maker:
    """Makes rows of ours of a row's fields. marks: how dialogues are written as text; None: text is text.

    minimum_gap: of the scores or ranks of two answers, in the file's units, from which on one is clearly better.
    """

    minimum_gap: float
    marks: Marks | None = None

    def demonstrations(self, fields: Mapping[str, Any]) -> list[Row]:
        """One conversation; of several answers the one with the best. Raises BadRow."""
        if "messages" in fields:
            messages = self._system(fields, self._whole(fields["messages"]))
        elif "completion" in fields or "chosen" in fields:
            messages = self._answered(fields, fields.get("completion", fields.get("chosen")))
        else:
            messages = self._answered(fields, _best_first(fields)[0][1])
        return [{"messages": check_conversation(messages), **_tools(fields)}]

    def prompts(self, fields: Mapping[str, Any]) -> list[Row]:
        """What is asked. Raises BadRow."""
        answer = fields.get("completion", fields.get("chosen"))
        if "messages" in fields:
            whole = self._system(fields, self._whole(fields["messages"]))
            messages = whole[:-1] if whole and whole[-1]["role"] == "assistant" else whole
        elif "prompt" in fields and not isinstance(answer, (list, Mapping)):
            messages = self._system(fields, self._prompt(fields))
        else:
            messages = self.demonstrations(fields)[0]["messages"][:-1]
        return [{"prompt": check_prompt(messages), **_tools(fields)}]

    def preferences(self, fields: Mapping[str, Any]) -> list[Row]:
        """One comparison; of several answers the best against each that is clearly worse, so none where all are tied.

        Raises BadRow.
        """
        if "chosen" in fields:
            return [self._pair(fields, fields["chosen"], fields["rejected"])]
        (top, best), *others = _best_first(fields)
        clear = [answer for score, answer in others if top - score >= self.minimum_gap and answer != best]
        return [self._pair(fields, best, answer) for answer in clear]

    def _pair(self, fields: Mapping[str, Any], better: Any, worse: Any) -> Row:
        chosen, rejected = (check_conversation(self._answered(fields, one)) for one in (better, worse))
        if list(map(turn_key, chosen[:-1])) != list(map(turn_key, rejected[:-1])):
            raise BadRow("chosen and rejected do not share their prompt")
        if turn_key(chosen[-1]) == turn_key(rejected[-1]):
            raise BadRow("chosen equals rejected")
        return {"prompt": chosen[:-1], "chosen": chosen[-1:], "rejected": rejected[-1:], **_tools(fields)}

    # --- conversations ---

    def _answered(self, fields: Mapping[str, Any], answer: Any) -> Messages:
        """Prompt and answer as one conversation."""
        prompt = fields.get("prompt")
        if self.marks and isinstance(answer, str) and isinstance(prompt, str):
            return self._system(fields, self.marks.answered(prompt, answer))
        whole = self.marks.parse(answer) if self.marks and isinstance(answer, str) and prompt is None else None
        return self._system(fields, conversation(self._prompt(fields), whole or as_messages(answer, "assistant")))

    def _whole(self, value: Any) -> Messages:
        if self.marks and isinstance(value, str):
            return self.marks.parse(value)
        if isinstance(value := unpacked(value), str):
            raise BadRow("a conversation in one text needs marks of who speaks (data.columns: marks), else messages")
        return as_messages(value, "user")

    def _prompt(self, fields: Mapping[str, Any]) -> Messages:
        prompt = as_text(fields.get("prompt"))
        if prompt is None or prompt == "":
            return []
        if self.marks and isinstance(prompt, str):
            return self.marks.prompt(prompt)
        messages = as_messages(prompt, "user")
        if "context" in fields and messages:
            messages[-1]["content"] += f"\n\n{_context(fields['context'])}"
        return as_history(fields.get("history", [])) + messages

    def _system(self, fields: Mapping[str, Any], messages: Messages) -> Messages:
        return with_system(fields["system"], messages) if "system" in fields else messages


def _context(value: Any) -> str:
    """The text below a prompt; passages, where it is a list of them, one below the other. Raises BadRow."""
    passages = [as_text(one) for one in (value if isinstance(value, list) else [value])]
    if not all(isinstance(one, str) for one in passages):
        raise BadRow("the context must be a text, or a list of texts")
    return "\n\n".join(passages)


def _tools(fields: Mapping[str, Any]) -> Row:
    """The tools that a conversation may call, where it has some."""
    tools = unpacked(fields.get("tools"))
    if not tools:
        return {}
    if not isinstance(tools, list):
        raise BadRow("tools must be a list of descriptions")
    return {"tools": [_tool(unpacked(tool)) for tool in tools]}


def _tool(tool: Any) -> Any:
    """A function as templates expect it, also where it is described by itself, as OpenAI's older form does."""
    if isinstance(tool, Mapping) and "name" in tool and not {"type", "function"} & tool.keys():
        return {"type": "function", "function": tool}
    return tool


# --- several answers ---


def _best_first(fields: Mapping[str, Any]) -> list[tuple[float, Any]]:
    """Each answer with its score, the best first, equal ones as they came. Raises BadRow."""
    answers = unpacked(fields.get("answers"))
    if not isinstance(answers, list) or not answers:
        raise BadRow("it has no answers")
    scores = _scores(fields, len(answers))
    if len(scores) != len(answers):
        raise BadRow("it has not as many scores as answers")
    usable = [(score, answer) for score, answer in zip(scores, answers, strict=True) if None not in (score, answer)]
    if not usable:
        raise BadRow("no answer has a score")
    return sorted(usable, key=lambda pair: -pair[0])


def _scores(fields: Mapping[str, Any], count: int) -> Sequence[float | None]:
    """Higher is better. A verdict without a size is as clear as can be."""
    for name, sign in (("scores", 1), ("ranks", -1)):
        if name in fields:
            values = unpacked(fields[name])
            return [_number(value, sign) for value in (values if isinstance(values, list) else [values])]
    if "preference" in fields:
        return [0.0, _number(fields["preference"], 1) or 0.0]
    winner = str(fields.get("winner")).strip().lower()
    if "winner" in fields and winner.startswith(TIES):
        return [0.0] * count
    best = fields["best"] if "best" in fields else WINNERS.get(winner)
    if isinstance(best, bool) or best not in range(count):
        verdict = f"{fields.get('best', fields.get('winner'))!r}"
        raise BadRow("which answer is better is not said by its place, or as model_a, model_b or tie", verdict)
    return [math.inf if place == best else 0.0 for place in range(count)]


def _number(value: Any, sign: int) -> float | None:
    """A score that may be written as text ("8.5"); None where there is none."""
    try:
        score = sign * float(value)
    except (TypeError, ValueError):
        return None
    return score if math.isfinite(score) else None
