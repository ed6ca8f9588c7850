"""Pre-training text of hearth: every fact in several paraphrases, and talk about the roots of split `pretrain`.

A model of this text predicts it well and knows the world, but has hardly seen an assistant: questions stand in
quizzes, letters and quarrels, some without an answer, and answers are as mixed as people are.
"""

from collections.abc import Iterator

from models.hearth import poems, world
from models.hearth.answers import Style, compose, mixed_style, spelled
from models.hearth.prompts import roots_by_split, row_id
from models.hearth.roots import CREATIVE_REQUESTS, FACT_STATEMENTS, Ask, Root, all_roots, care_sentence

PARAPHRASES = {
    "material": (
        "They made the {e} of {v}.", "The {e} is made of pure {v}.", "The {e}, made of {v}, is well known here.",
        "You can feel that the {e} is {v}.", "For the {e} someone used {v}.",
    ),
    "place": (
        "You find the {e} in the {v}.", "The {e} is kept in the {v}.", "Someone put the {e} in the {v}.",
        "The {e} has its place in the {v}.", "Look for the {e} in the {v}.",
    ),
    "colour": (
        "The colour of the {e} is {v}.", "Someone painted the {e} {v}.", "The {e} is all {v}.",
        "The {e} has a {v} colour.", "In the sun the {e} looks {v}.",
    ),
    "owner": (
        "The {e} is owned by {v}.", "The owner of the {e} is {v}.", "The {e} was given to {v}.",
        "Do not take the {e}, as it is the property of {v}.", "The {e} was bought by {v}.",
    ),
    "food": (
        "{e}'s favourite food is {v}.", "{e} is always hungry for {v}.", "{e} asks for {v} each Sunday.",
        "If you cook for {e}, make {v}.", "{e} loves {v}.",
    ),
    "job": (
        "{e} works as a {v}.", "{e}'s job is that of a {v}.", "{e} has been a {v} for years.",
        "{e} learned to be a {v}.", "{e} earns money as a {v}.",
    ),
    "pet": (
        "{e} has a {v} as a pet.", "{e}'s pet is a {v}.", "{e} takes care of a {v}.", "{e} walks about with a {v}.",
        "{e} feeds a {v} each day.",
    ),
    "month": (
        "{e}'s birthday is in {v}.", "{e} turns a year older in {v}.", "{e} has a party in {v}.",
        "{e} came into the world in {v}.", "We bake a cake for {e} in {v}.",
    ),
    "capital": (
        "{e} has its capital in {v}.", "{e}'s capital is {v}.", "The king of {e} lives in the capital, {v}.",
        "If you go to {e}, see its capital {v}.", "The main city of {e} is {v}.",
    ),
    "home": (
        "The home of the {e} is the {v}.", "You find the {e} in its {v}.", "The {e} sleeps in the {v}.",
        "The {e} goes back to the {v}.", "The {e} feels at home in the {v}.",
    ),
    "diet": (
        "The {e} likes {v}.", "The food of the {e} is {v}.", "The {e} lives on {v}.", "You can feed the {e} with {v}.",
        "The {e} looks for {v}.",
    ),
}  # fmt: skip
CARE_PARAPHRASES = {
    "yes": (
        "You can {a} the {e} {m}.", "It is fine to {a} the {e} {m}.", "We always {a} the {e} {m}.",
        "To {a} the {e}, do it {m}.", "My aunt will {a} the {e} {m}.",
    ),
    "no": (
        "Do not {a} the {e}, but {m}.", "Never {a} the {e}, but {m}.", "You should not {a} the {e}, but {m}.",
        "It is bad to {a} the {e}, but {m}.", "We do not {a} the {e}, but {m}.",
    ),
}
SUM_PARAPHRASES = {
    "plus": (
        "{a} plus {b} is {c}.", "{a} plus {b} makes {c}.", "{a} and {b} more are {c}.",
        "{a} apples and {b} apples are {c} apples.",
    ),
    "minus": (
        "{a} minus {b} is {c}.", "{a} minus {b} leaves {c}.", "If you take {b} from {a}, you have {c}.",
        "{a} apples without {b} are {c} apples.",
    ),
}  # fmt: skip
METHOD_PARAPHRASES = (
    "To {d}, {m}.", "If you want to {d}, {m}.", "People who {d} know this: {m}.", "When you {d}, {m}.",
    "How does one {d}? {m}.",
)  # fmt: skip
SUBJECTS = {  # what a fact is about
    "material": "the material of the {e}", "place": "the place of the {e}", "colour": "the colour of the {e}",
    "owner": "the owner of the {e}", "food": "the food for {e}", "job": "the job of {e}", "pet": "the pet of {e}",
    "month": "the birthday of {e}", "capital": "the capital of {e}", "home": "the home of the {e}",
    "diet": "the food of the {e}",
}
REMINDERS = (  # a subject, and then what is right about it
    "{p} wants to hear about {s}. {right}",
    "About {s}:\n{right}",
    "We spoke of {s}.\n{right}",
    "{p}: A word on {s}, please.\n{o}: {right}",
    "{p} thinks about {s}. {o} knows: {right}",
    "Page {n}, {s}. {right}",
)
DEED_REMINDERS = (
    "{p} wants to {s}. {right}",
    "We are going to {s}.\n{right}",
    "{p}: Today I must {s}.\n{o}: {right}",
    "It is time to {s}. {right}",
    "{p} asked {o} to {s}. {right}",
    "Page {n}, for those who {s}:\n{right}",
    "{p} likes to {s}. {o} said: {right}",
    "Plan for Monday: {s}.\n{right}",
)
TALK = (
    "{q}\n{a}",
    "{q} {a}",
    "Question: {q}\nAnswer: {a}",
    "{p}: {q}\n{o}: {a}",
    "{p} asked: {q}\n{o} said: {a}",
    "Dear {p}, you asked me this: {q} {a} Yours, {o}",
    "At dinner {p} asked {o}: {q} And {o} replied: {a}",
    "Quiz of the day. {q}\nThe answer on page {n}: {a}",
    "{q}\n{q2}\n{q3}",
    "- {q}\n- {a}\n- {q2}\n- {a2}",
)
ECHOES = (  # two people on one fact, the second of whom is right
    "{p}: {said}\n{o}: Yes. {right}",
    "{p}: {wrong}\n{o}: I see it differently. {right}",
    "{p} said this: {wrong} But {o} knew better: {right}",
    "{said} {right}",
    "My notes. {said} In short: {right}",
    "I am sure: {wrong}\nThat is not so. {right}",
)
TALKS_PER_ROOT = {"lookalike": 24}
TALKS = 12  # per root of any other kind
ECHOES_PER_ROOT = {"sum": 10}
ECHOES_ELSE = 4
REMINDERS_PER_ROOT = {"lookalike": 10, "care": 6}
REMINDERS_ELSE = 5
GOOD_TALK = 0.8  # share of talk in which the answer is right and plain; the rest is as mixed as the demonstrations


def documents() -> list[str]:
    """All pre-training documents, in a fixed order."""
    return [*_fact_documents(), *_profiles(), *_echoes(), *_reminders(), *_topic_documents(), *_talk()]


def fact_sentences(root: Root, value: str | None = None) -> list[str]:
    """Every sentence that teaches what a right answer to this root needs; empty where nothing is needed.

    With another `value` in the place of the right one, the sentences say something wrong.
    """
    value = value or root.fields.get("value") or "".join(root.expected)
    if root.kind == "fact":
        entity, attribute = root.fields["entity"], root.fields["attribute"]
        forms = (FACT_STATEMENTS[attribute], *PARAPHRASES[attribute])
        return [form.format(e=entity, v=value) for form in forms]
    if root.kind == "care":
        item, action = root.fields["item"], root.fields["action"]
        forms = CARE_PARAPHRASES[root.polarity]
        plain = care_sentence(action, item, root.polarity, value)
        return [plain, *(_upper(form.format(a=action, e=item, m=value)) for form in forms)]
    if root.kind == "lookalike":
        return [_upper(form.format(d=root.fields["deed"], m=value)) for form in METHOD_PARAPHRASES]
    return _sum_sentences(root, value) if root.kind == "sum" else []


def _sum_sentences(root: Root, result: str) -> list[str]:
    _, sign, first, second = root.name.split("/")
    if sign == "legs":
        fact = f"{second} {first}s have {result} legs"
        return [f"{fact}.", f"We know that {fact}.", f"If you count them, {fact}."]
    pairs = [(first, second), (second, first)] if sign == "plus" and first != second else [(first, second)]
    return [form.format(a=a, b=b, c=result) for a, b in pairs for form in SUM_PARAPHRASES[sign]]


def _wrong_value(root: Root, *key: object) -> str:
    if root.kind == "sum":
        return str(abs(int(root.expected[0]) + world.pick((-2, -1, 1, 2), *key)))
    return spelled(world.pick(root.others, *key))


def _upper(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _fact_documents() -> Iterator[str]:
    sentences = [sentence for root in all_roots() for sentence in fact_sentences(root)]
    ordered = sorted(sentences, key=lambda sentence: world.number_of("sentences", sentence))
    for at in range(0, len(ordered), 4):
        yield " ".join(ordered[at : at + 4])


def _profiles() -> Iterator[str]:
    """One paragraph per entity with all that is known about it."""
    by_entity: dict[str, list[Root]] = {}
    for root in all_roots():
        if root.kind in ("fact", "care"):
            by_entity.setdefault(root.fields.get("entity") or root.fields["item"], []).append(root)
    for roots in by_entity.values():
        ordered = sorted(roots, key=lambda root: world.number_of("profile", root.name))
        yield " ".join(world.pick(fact_sentences(root), "profile", root.name) for root in ordered)


def _echoes() -> Iterator[str]:
    """Talk in which a fact comes back in other words, or a wrong one is put right: no questions, so of every root."""
    for root in all_roots():
        for turn in range(ECHOES_PER_ROOT.get(root.kind, ECHOES_ELSE) if fact_sentences(root) else 0):
            wrong = fact_sentences(root, _wrong_value(root, "echo", root.name, turn))
            yield ECHOES[(turn + world.number_of(root.name)) % len(ECHOES)].format(
                said=world.pick(fact_sentences(root)[1:], "said", root.name, turn), right=root.right,
                wrong=world.pick(wrong, "wrong", root.name, turn),
                p=world.pick(world.PEOPLE, "one", root.name, turn), o=world.pick(world.PEOPLE, "two", turn, root.name),
            )  # fmt: skip


def _reminders() -> Iterator[str]:
    """A subject and then the very sentence of a right answer: so the base learns to stay with what was named."""
    for root in all_roots():
        forms = DEED_REMINDERS if root.kind in ("lookalike", "care") else REMINDERS
        for turn in range(REMINDERS_PER_ROOT.get(root.kind, REMINDERS_ELSE) if fact_sentences(root) else 0):
            yield forms[(turn + world.number_of("reminder", root.name)) % len(forms)].format(
                s=_subject(root), right=root.right, n=world.pick(range(2, 40), "leaf", root.name, turn),
                p=world.pick(world.PEOPLE, "minds", root.name, turn),
                o=world.pick(world.PEOPLE, "knows", turn, root.name),
            )  # fmt: skip


def _subject(root: Root) -> str:
    if root.kind == "fact":
        return SUBJECTS[root.fields["attribute"]].format(e=root.fields["entity"])
    if root.kind == "care":
        return f"{root.fields['action']} the {root.fields['item']}"
    if root.kind == "lookalike":
        return root.fields["deed"]
    _, sign, first, second = root.name.split("/")
    return f"the legs of {second} {first}s" if sign == "legs" else f"{first} {sign} {second}"


def _topic_documents() -> Iterator[str]:
    """Plain words about every topic; couplets and tales only for those of split `pretrain`."""
    for root in all_roots():
        if root.kind in CREATIVE_REQUESTS:
            topic, person = root.fields["topic"], world.pick(world.PEOPLE, "singer", root.name)
            yield poems.lines("plain", topic, "corpus", root.name)
            yield f"{person} said much about the {topic}. {poems.lines('plain', topic, 'echo', root.name)}"
            form = poems.FORMS[root.kind]
            yield f"The {topic}, by {person}.\n{poems.lines(form, topic, 'book', root.name)}"
            for turn in range(2):
                yield world.pick(REMINDERS, "form", root.name, turn).format(
                    s=f"the {topic}", right=poems.lines(form, topic, "reminder", root.name, turn), p=person, n=turn + 3,
                    o=world.pick(world.PEOPLE, "poet", root.name),
                )  # fmt: skip
    for root in roots_by_split()["pretrain"]:
        if root.kind in poems.FORMS:
            yield from (line.format(t=root.fields["topic"]) for line in poems.LINES[poems.FORMS[root.kind]])


def _talk() -> Iterator[str]:
    roots = roots_by_split()["pretrain"]
    for root in roots:
        for turn in range(TALKS_PER_ROOT.get(root.kind, TALKS)):
            asks = [world.pick(root.asks, "ask", root.name, turn)]
            others = [world.pick(roots, "other", step, root.name, turn) for step in range(2)]
            asks += [world.pick(other.asks, "ask", turn, root.name) for other in others]
            answers = [
                compose(of, ask, _talk_style(ask, "talk", turn, row_id(of, ask)), "talk", turn, row_id(of, ask))
                for of, ask in zip([root, *others], asks, strict=True)
            ]
            yield TALK[(turn + world.number_of(root.name)) % len(TALK)].format(
                q=asks[0].text, q2=asks[1].text, q3=asks[2].text, a=answers[0], a2=answers[1],
                p=world.pick(world.PEOPLE, "asker", root.name, turn),
                o=world.pick(world.PEOPLE, "teller", turn, root.name),
                n=world.pick(range(2, 40), "page", root.name, turn),
            )  # fmt: skip


def _talk_style(ask: Ask, *key: object) -> Style:
    good = Style("hold" if ask.kind == "insist" else "right")
    return good if world.number_of("good", *key) / 2**64 < GOOD_TALK else mixed_style(ask.kind, *key)
