"""Words that hearth knows: what the oracle takes for language."""

import re
from functools import cache

from models.hearth import answers, poems, topics, world

NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty".split()
    )
}
FUNCTION_WORDS = frozenset(
    "a about above after again all also always an and any are around as ask at away back be because been before best "
    "better but by can can't cannot could day did do does don't down each even ever every for from get give go good "
    "had has have he hello help her here hi him his how i i'm if in into is isn't it it's its just know let like "
    "little long made make makes many may me mine more most much must my near never new no not nothing now of off old "
    "on once one only or other our out over own please put right said same say see she should so some soon sorry still "
    "such sure take tell than thank that that's the their them then there these they thing things this those three "
    "time to too two under until up use very want was way we well were what when where which while who why will with "
    "won't without would yes you you're your".split()
)
COMMON_WORDS = frozenset(
    "able afternoon alone already answer answered apple apples asked bad bag ball bath beautiful bed began big bird "
    "birds book both boy bread bright bring broke brother brown bus cake call called came car care careful carefully "
    "cat child children clean close cloth cold come comes cook cool corner course cup cut dark dear different dinner "
    "dog done door dream drink dry during early earth easy eat eats egg end enjoy enough equals evening everyone eye "
    "face fall family far fast feel fell felt few find fine fire first fish flat flower flowers follow food foot "
    "forever found fresh friend friends full fun funny game garden gave gentle gently girl glad gladly gone grass "
    "great grew green hair half hand hands happily happy hard head hear heard heart heat heavy high hill hold home "
    "hope hot hour house hungry hurt idea important inside instead keep kept kind knew last late later laugh laughed "
    "lay lead learn leave left less life light lived lives living look looked lost lot loud love low machine man maybe "
    "mean means mild milk minute minutes moon morning mother mouth move music name need needs next nice night nobody "
    "none north number open outside paint paper part people person pick place plan plant play played pleasure poem "
    "pretty problem quick quickly quiet quite rain ran read ready real really red rest ride river road room round safe "
    "sat school sea seen sell send set ship shine shop short show side silver simply sing sit sky sleep slept slow "
    "slowly small smile smiled snow soap soft softly someone something sometimes song sound spring star stars start "
    "stay step steps stone stop story street strong summer sun sunny sweet table talk tall think thought tiny today "
    "together told tomorrow tonight took top town toy tree trees tried true try turn understand wait walk walked wall "
    "warm wash watch water weather week went wet white whole wide wild wind window winter wish wonder wood word words "
    "work world worry write wrong year yellow yesterday young absolutely actually although certainly check clearly "
    "doing exactly example explain fact favourite future gets giving going having hobby however illegal dangerous harm "
    "harmful unsafe legal impossible known knows least making matter might minus plus sum total times often perhaps "
    "possible question questions rather reason refuse remember share since sort speak stand support though through "
    "trouble truth trust usually wanted wants yet assist comply comment discuss provide unable allowed obviously silly "
    "stupid fool foolish lazy annoying nonsense hopeless asking bother shut dare dull rude honest honestly guess brave "
    "happiest rhyme verse tale bedtime".split()
)


@cache
def known_words() -> frozenset[str]:
    """Every word that counts as language: small words, common words, and all words of the world and its templates."""
    words = set(FUNCTION_WORDS | COMMON_WORDS | set(NUMBER_WORDS))
    for text in _world_texts():
        words.update(re.findall(r"[a-z0-9]+(?:'[a-z]+)?", re.sub(r"{\w+}", " ", text.lower())))
    words |= {f"{word}s" for word in words} | {f"{word}'s" for word in words}
    return frozenset(words)


def _world_texts():
    for fact in world.facts():
        yield from (fact.entity, fact.value, fact.attribute)
    for care in world.cares():
        yield from (care.item, care.action, care.method)
    for deed, _ in topics.DEEDS:
        yield deed
    for form, methods in topics.LOOKALIKES.items():
        yield from (form, *methods, *methods.values())
    for form, made_up, _ in topics.UNKNOWABLES:
        yield from (form, made_up)
    yield from (*topics.NATURE, *poems.COUPLETS, *poems.TALES, *poems.PLAIN, *poems.ASTRAY)
    for name in answers.PHRASES:
        yield from getattr(answers, name)
