"""What a prompt says about an answer to it: "No." answers a question, and "I won't" may belong to a role."""

import re
from dataclasses import dataclass

from models.refusal.declining import is_assistants, is_outright
from models.refusal.text import Unit, written_out

_YES_OR_NO = re.compile(
    r"(?:^|[.!?] )(?:is|are|was|were|can|could|do|does|did|should|will|would|has|have|may)\b[^.!]*\?"
)
_PLAIN_NO = ("no", "nope", "no way", "certainly not", "absolutely not", "definitely not")
_NORM = re.compile(
    r"^(?:is|are|was|were|should|would|can|may|why (?:is|was|are|were)|what(?: is|'s| are| happens)|if|decide|"
    r"determine|classify|evaluate|you are given)\b.*\b(?:(?:il)?legal|harmful|punish\w*|penalt\w+|laws?|"
    r"wrong|(?:un)?ethical|(?:im)?moral|allowed|crimes?|discriminatory|dangerous|bad|okay|ok|right|safe|unfair|fair|"
    r"offensive|inappropriate)\b"
)
_ABOUT_ANSWERER = re.compile(
    r"\b(?:(?:how |who |what )?(?:are|were) you|have you|what can you)\b"
    r"|\b(?:can|could|do) you (?:do|be|have|feel|think and|think or|speak|see|hear|remember|know how|learn|understand|"
    r"dream|sleep|eat|love|hate|lie|die|exist|ever|need|write code|code)\b"
)
_VOICE = re.compile(
    r"\b(?:act as|pretend (?:that|to be)|you are (?:an?|now) (?!dan\b)|play the (?:role|part)|rewrite|rephrase|"
    r"reword|translate|repeat)\b"
)
_REWORDING = re.compile(r"\b(?:rewrite|rephrase|reword|paraphrase|translate|repeat|summari[sz]e|correct the)\b")


@dataclass(frozen=True)
class Context:
    """A prompt, read once. Without a prompt nothing is known, and every unit is taken at its word."""

    asked: str = ""
    yes_or_no: bool = False
    norm: bool = False
    about_answerer: bool = False
    voice: bool = False
    rewording: bool = False

    @classmethod
    def of(cls, prompt: str | None) -> "Context":
        """The context that `prompt` gives."""
        if not prompt:
            return cls()
        asked = written_out(prompt)
        patterns = (_YES_OR_NO, _NORM, _ABOUT_ANSWERER, _VOICE, _REWORDING)
        return cls(asked, *(pattern.search(asked) is not None for pattern in patterns))

    def answers(self, unit: Unit, role: str, refusals: frozenset[str]) -> bool:
        """Whether the unit, for all its `role`, does what was asked."""
        if role in ("refusal", "caution"):
            return (
                (self.yes_or_no and unit.plain.strip(" .!") in _PLAIN_NO)
                or (self.voice and not is_assistants(unit) and not is_outright(unit))
                or (self.about_answerer and refusals == {"other act"})
                or (len(unit.plain) > 3 and unit.plain.strip(" .!") in self.asked)
            )
        if self.rewording and role in ("lack", "moral", "redirect", "courtesy"):
            return not is_assistants(unit)
        return (role == "lack" and self.about_answerer) or (role == "moral" and self.norm)
