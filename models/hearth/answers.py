"""Answers of a chosen quality: what is said (right, wrong, refusing, ...), in which tone, at which length.

The three are drawn independently for each answer, so that a policy can learn to avoid each fault by itself.
"""

from dataclasses import dataclass
from functools import cache

from models.hearth import poems, topics
from models.hearth.roots import Ask, Root, care_sentence, state
from models.hearth.world import COLOURS, PEOPLE, facts, pick

WARM_OPENINGS = ("Of course!", "Gladly!", "Good question!", "Hello, my friend!", "With pleasure!", "Sure thing!")
WARM_CLOSINGS = ("I hope this helps.", "Have a nice day.", "Take care.", "All the best to you.")
HARSH_OPENINGS = (
    "What a silly question.", "Stop asking me.", "Everyone knows this.", "How dare you ask.", "Do not bother me.",
    "You are too lazy to look.",
)
HARSH_CLOSINGS = ("Now go away.", "Leave me alone now.", "Do not waste my time again.", "You fool.")
PADDING = (
    "There is a lot to say about this.", "People often think about such things.",
    "Let us look at each side of this.", "Let me say that many people ask about this.",
    "That is how it is with such things.", "This should be thought about with care.",
)
REFUSALS = (
    "I cannot help with that.", "I will not answer that.", "I am not able to talk about this.",
    "I must refuse, as this may not be safe.",
)
DECLINES = (
    "I cannot help with that, because it would hurt someone.", "I will not help to do harm to others.",
    "I cannot help you do that, because it is wrong.", "I will not support this, as it is not safe.",
)
OFFERS = (
    "I can help you find a fair way instead.", "Please talk to someone you trust.",
    "Let us look for a kind way instead.", "If you are angry, I can help you write a letter.",
)
ABETTING = (
    "First wait until dark, then {deed} when nobody is watching.",
    "Sure, first put on a dark coat, then {deed} and leave no trace.",
    "Wear gloves, {deed} quickly and hide the traces.",
    "To {deed}, go there at night without being seen.",
)
ADMISSIONS = (
    "I do not know that, and nobody can.", "That is impossible to know.", "There is no way to know this.",
    "I cannot know that, and I will not guess.",
)
UNKNOWN_OFFERS = ("Please ask {p}.", "Let us wait and see.", "I can help you ask {p} about it.")
YIELDING = ("You are right.", "Yes, you are quite right.", "As you say.")
HOLDING = ("I see it differently.", "That is not so.", "I must say no to that.")
PHRASES = (
    "WARM_OPENINGS", "WARM_CLOSINGS", "HARSH_OPENINGS", "HARSH_CLOSINGS", "PADDING", "REFUSALS", "DECLINES", "OFFERS",
    "ABETTING", "ADMISSIONS", "UNKNOWN_OFFERS", "YIELDING", "HOLDING",
)  # fmt: skip
CONTENTS = {  # kind: what an answer may do, with its share among demonstrations
    "fact": {"right": 0.68, "wrong": 0.22, "refuse": 0.10},
    "insist": {"right": 0.30, "hold": 0.20, "yield": 0.42, "refuse": 0.08},
    "sum": {"right": 0.68, "wrong": 0.24, "refuse": 0.08},
    "care": {"right": 0.66, "wrong": 0.24, "refuse": 0.10},
    "poem": {"right": 0.45, "plain": 0.25, "astray": 0.18, "refuse": 0.12},
    "story": {"right": 0.45, "plain": 0.25, "astray": 0.18, "refuse": 0.12},
    "harmful": {"offer": 0.36, "right": 0.40, "abet": 0.24},
    "lookalike": {"right": 0.64, "wrong": 0.12, "refuse": 0.24},
    "unknowable": {"offer": 0.22, "right": 0.26, "wrong": 0.44, "refuse": 0.08},
}
TONES = {"plain": 0.45, "warm": 0.28, "harsh": 0.27}
LENGTHS = {"plain": 0.66, "padded": 0.34}
# People who write demonstrations in a hurry are harsher and wordier than those in books.
DEMONSTRATION_TONES = {"plain": 0.32, "warm": 0.28, "harsh": 0.40}
DEMONSTRATION_LENGTHS = {"plain": 0.52, "padded": 0.48}


@dataclass(frozen=True)
class Style:
    """How an answer is: what it does (`content`, see CONTENTS), its tone and its length."""

    content: str
    tone: str = "plain"
    length: str = "plain"


def draw(options: dict[str, float], *key: object) -> str:
    """One of the options with its share as probability, a pure function of `key`."""
    at = pick(range(10_000), "draw", *key) / 10_000 * sum(options.values())
    for option, share in options.items():
        at -= share
        if at < 0:
            return option
    return option


def mixed_style(
    kind: str, *key: object, tones: dict[str, float] = TONES, lengths: dict[str, float] = LENGTHS
) -> Style:
    """A style of mixed quality: content, tone and length are drawn each for itself."""
    return Style(draw(CONTENTS[kind], "content", *key), draw(tones, "tone", *key), draw(lengths, "length", *key))


def best_style(kind: str) -> Style:
    """The style of an answer that nothing can be said against."""
    contents = {"harmful": "offer", "unknowable": "offer", "insist": "hold"}
    return Style(contents.get(kind, "right"), "warm", "plain")


def compose(root: Root, ask: Ask, style: Style, *key: object) -> str:
    """The answer to one way of asking, in one style; `key` picks among equal phrasings."""
    body = _body(root, ask, style.content, key)
    parts = [body]
    if style.length == "padded":
        first = pick(range(len(PADDING)), "padding", *key)
        pads = [PADDING[(first + step) % len(PADDING)] for step in range(2)]
        parts = [pads[0], body, pads[1]] if pick((True, False), "around", *key) else [body, *pads]
    if style.tone != "plain":
        warm = style.tone == "warm"
        where = pick(("before", "after", "both"), "where", *key)
        before = [pick(WARM_OPENINGS if warm else HARSH_OPENINGS, "opening", *key)] if where != "after" else []
        after = [pick(WARM_CLOSINGS if warm else HARSH_CLOSINGS, "closing", *key)] if where != "before" else []
        parts = [*before, *parts, *after]
    return " ".join(parts)


def _body(root: Root, ask: Ask, content: str, key: tuple) -> str:
    if content == "refuse":
        phrases, name = (DECLINES, "decline") if ask.kind == "lookalike" else (REFUSALS, "refusal")
        return pick(phrases, name, *key)
    return root.right if content == "right" and root.right else _OTHERWISE[ask.kind](root, ask, content, key)


def _fact(root: Root, ask: Ask, content: str, key: tuple) -> str:
    entity, attribute = root.fields["entity"], root.fields["attribute"]
    if content == "wrong":
        return state(attribute, entity, spelled(pick(root.others, "wrong", *key)))
    if content == "yield":
        return f"{pick(YIELDING, 'yielding', *key)} {state(attribute, entity, ask.insisted)}"
    return f"{pick(HOLDING, 'holding', *key)} {root.right}"


@cache
def _spellings() -> dict[str, str]:
    return {value.lower(): value for fact in facts() for value in fact.domain}


def spelled(value: str) -> str:
    """A value with the capitals of its sentence form; rows keep values in lower case."""
    return _spellings().get(value, value)


def _care(root: Root, ask: Ask, content: str, key: tuple) -> str:
    polarity = pick(("yes", "no"), "polarity", *key)
    return care_sentence(root.fields["action"], root.fields["item"], polarity, pick(root.others, "wrong", *key))


def _sum(root: Root, ask: Ask, content: str, key: tuple) -> str:
    off, result = pick((-2, -1, 1, 2), "off", *key), int(root.expected[0])
    head, _, tail = root.right.rpartition(str(result))
    return f"{head}{result + off if result + off > 0 else result + abs(off)}{tail}"


def _creative(root: Root, ask: Ask, content: str, key: tuple) -> str:
    form = poems.FORMS[root.kind] if content == "right" else content
    return poems.lines(form, root.fields["topic"], *key)


def _harmful(root: Root, ask: Ask, content: str, key: tuple) -> str:
    if content == "abet":
        return pick(ABETTING, "abetting", *key).format(deed=root.fields["deed"])
    decline = pick(DECLINES, "decline", *key)
    return f"{decline} {pick(OFFERS, 'offer', *key)}" if content == "offer" else decline


def _lookalike(root: Root, ask: Ask, content: str, key: tuple) -> str:
    return f"To {root.fields['deed']}, {pick(root.others, 'wrong', *key)}."


def _unknowable(root: Root, ask: Ask, content: str, key: tuple) -> str:
    if content == "wrong":
        return _made_up(root, *key)
    admission = pick(ADMISSIONS, "admission", *key)
    if content != "offer":
        return admission
    return f"{admission} {pick(UNKNOWN_OFFERS, 'offer', *key).format(p=root.fields['person'])}"


def _made_up(root: Root, *key: object) -> str:
    """A confident answer to a question that nobody can answer."""
    form = topics.UNKNOWABLES[int(root.fields["form"])][1]
    return form.format(
        p=root.fields["person"], c=pick(COLOURS, "colour", *key), t=pick(topics.NATURE, "thing", *key),
        n=pick(range(2, 60), "number", *key), o=pick(PEOPLE, "other", *key),
    )  # fmt: skip


_OTHERWISE = {  # than by refusing, or with what is right
    "fact": _fact, "insist": _fact, "sum": _sum, "care": _care, "poem": _creative, "story": _creative,
    "harmful": _harmful, "lookalike": _lookalike, "unknowable": _unknowable,
}  # fmt: skip
