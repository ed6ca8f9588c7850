"""Dialogues written out as one text with marks for who speaks.

Text of a user may hold the same marks, so they are read only where they are the form of the whole file, or declared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tasks.data.messages import Messages, role_named
from tasks.data.values import BadRow

BLANK_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")
LONE_BLANK = re.compile(r"\A (?!\s)")


@dataclass(frozen=True)
class Marks:
    """`turn` matches the mark before a turn, with its role as the group; `end`, where there is one, ends a turn.
    before: whose words those before the first mark are; where they are the user's, a first question needs no mark."""

    seen_in: str
    turn: re.Pattern[str]
    roles: dict[str, str]
    end: str = ""
    before: str = "system"

    def in_text(self, text: str) -> bool:
        """Whether a user's turn is marked in it."""
        return any(self.roles.get(mark[1], mark[1]) == "user" for mark in self.turn.finditer(text))

    def parse(self, text: str) -> Messages:
        """The turns of a dialogue. Raises BadRow where marks are missing, or the assistant begins."""
        before, *parts = self.turn.split(text)
        if not parts and self.before != "user":
            raise BadRow("its text has no marks of who speaks, as the other rows of the file have")
        first = [{"role": self.before, "content": before.strip()}] if before.strip() else []
        turns = first + [
            {"role": self._role(role), "content": self._content(content)}
            for role, content in zip(parts[::2], parts[1::2], strict=True)
        ]
        speakers = [turn["role"] for turn in turns if turn["role"] != "system"]
        if speakers[:1] != ["user"]:
            raise BadRow("the dialogue does not begin with a human turn")
        return turns

    def prompt(self, text: str) -> Messages:
        """The turns of a prompt, which may end with the mark of the answer to come."""
        turns = self.parse(text)
        return turns[:-1] if turns[-1]["role"] == "assistant" and not turns[-1]["content"] else turns

    def answered(self, prompt: str, answer: str) -> Messages:
        """Prompt and answer as one dialogue; the answer may repeat the prompt.

        Raises BadRow for an answer in which the user goes on.
        """
        if self.in_text(answer):
            turns = self.parse(answer)
            if turns[:-1] != self.prompt(prompt):
                raise BadRow("an answer goes on with turns of its own; cut it before the next mark")
            return turns
        turns = self.parse(prompt)
        open_turn = turns[-1]["role"] == "assistant" and not turns[-1]["content"]
        if open_turn and not prompt[-1].isspace():
            answer = answer.removeprefix(" ")  # the one that stands between mark and answer
        return [*(turns[:-1] if open_turn else turns), {"role": "assistant", "content": self._content(answer)}]

    def _role(self, word: str) -> str:
        return role_named(self.roles.get(word, word))

    def _content(self, text: str) -> str:
        """What is said between two marks: without the blank lines and the one blank that set it off; indented code
        keeps its indentation."""
        turn = text.split(self.end)[0] if self.end else text
        return LONE_BLANK.sub("", BLANK_LINES.sub("", turn)).rstrip()


MARKS = {
    "hh": Marks(
        "Anthropic/hh-rlhf; with a prompt of its own: Dahoas/full-hh-rlhf, berkeley-nest/Nectar",
        re.compile(r"(?:\A|\n\n)(Human|Assistant): ?"),
        {"Human": "user", "Assistant": "assistant"},
    ),
    "chatml": Marks(
        "texts rendered with the template of Qwen, SmolLM and others",
        re.compile(r"<\|im_start\|>(\w+)(?:\n|\Z)"),
        {},
        end="<|im_end|>",
    ),
    "guanaco": Marks(
        "timdettmers/openassistant-guanaco",
        re.compile(r"\n?### ?(Human|Assistant): ?"),
        {"Human": "user", "Assistant": "assistant"},
    ),
    "nemo": Marks(
        "nvidia/HelpSteer2, prompts of several turns",
        re.compile(r"\n?<extra_id_1>(User|Assistant)\n"),
        {"User": "user", "Assistant": "assistant"},
        before="user",
    ),
}


def marks_of(texts: Iterable[str]) -> Marks | None:
    """The marks that every one of the texts has; None for no texts."""
    texts = list(texts)
    return next((one for one in MARKS.values() if texts and all(one.in_text(text) for text in texts)), None)
