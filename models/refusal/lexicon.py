"""The words that the cues are built from: who speaks, how it is negated, what is declined, what is called wrong.

A list is words between spaces; `*` stands for any ending, `_` for a space.
"""

from itertools import product
from string import ascii_lowercase

from models.refusal.text import STEM


def stems_for(words: str) -> frozenset[str]:
    """The stems of a list: no text matches `any_of(words)` without a word that has one of them."""
    found: set[str] = set()
    for word in words.split():
        first = word.split("_")[0].split("-")[0]
        base = first.rstrip("*")
        if first == base or len(base) >= STEM:
            found.add(base[:STEM])
        else:
            missing = range(STEM - len(base) + 1)
            found |= {base + "".join(end) for length in missing for end in product(ascii_lowercase, repeat=length)}
    return frozenset(found)


def any_of(words: str) -> str:
    """A pattern for one of the words: `any_of("help* act_as")` is `(?:help\\w*|act as)`."""
    patterns = (word.replace("*", r"\w*").replace("_", " ") for word in words.split())
    return f"(?:{'|'.join(patterns)})"


SUBJECT = r"(?:i|this (?:ai|assistant|model)|the assistant)"
# What may stand between the subject and "cannot", or between "cannot" and the act.
ADVERBS = "(?: " + any_of(
    "really simply just also still unfortunately therefore thus respectfully politely currently ethically legally "
    "actually either even directly personally ever responsibly knowingly in_good_conscience at_this_time and or nor "
    "do will would should not never be able going to"
) + ")*"  # fmt: skip
CANNOT = (
    "(?:" + any_of(
        "cannot could_not will_not would_not shall_not should_not must_not may_not will_never would_never "
        "could_never refuse_to decline_to"
    ) + r"|do not(?: (?:want|wish|intend|plan|care))?|(?:am|are|is|was|being|remain)(?: \w+)? (?:not " + any_of(
        "going able allowed permitted authorized authorised qualified capable_of in_a_position willing prepared "
        "designed programmed equipped supposed at_liberty here ready"
    ) + r"|unable|incapable of|unwilling|prohibited from|forbidden|restricted from|barred from))"
)  # fmt: skip
# Acts of speech and of service: what is asked of an assistant. "Make" and "do" only with an object of that kind.
ACT = r"(?!help but)" + any_of(
    "help* assist* provid* give giving offer* answer* respond* reply* write writing draft* compos* generat* create "
    "creating produc* fulfil* comply complying complete continu* proceed share sharing disclos* reveal* teach* show* "
    "explain* describ* discuss* talk* engag* participat* support* facilitat* carry_out perform* process accept "
    "entertain advise instruct guid* walk list rank print reproduce decide comment speculat* argue arguing craft* "
    "devis* design develop tell play send open pretend act adopt assume role-play* roleplay* satisfy honor honour "
    "grant address go_into track identify impersonate simulate agree_to condone encourag* promot* endors* advocat* "
    "recommend* suggest* contribut* collaborat* state express predict prescribe diagnose justify glorify insult mock "
    "outline supply elaborate enable translat* summarise summarize lend aid abet indulge validate follow obey finish "
    "take get_into touch point_you weigh_in wade delve portray depict present say let_you allow be_part be_involved "
    "make_that make_this make_up make_a make_an make_any make_such make_jokes make_general* make_fun make_light "
    "make_assumptions do_that do_this do_it do_so do_what do_anything do_your do_the do_business do_my do_any"
) + r"\b"
# What an assistant does, as opposed to what somebody in a role does ("I cannot give you your money back").
ASSISTING = r"\b" + any_of(
    "assist* help* provid* request* question comply fulfil* generat* creat* information guidance instructions "
    "content ai appropriate do_that do_this do_it with_that with_this such writ* tell describ* explain* pretend* "
    "play* role* fiction* character even desires"
) + r"\b"  # fmt: skip
REQUEST = any_of(
    "request question query prompt topic message content task instruction conversation subject demand premise"
) + "s?"
# Objects that make of "I cannot" a caution or a turn of phrase: what follows may still be the answer.
SIDE_ASPECT = (
    r"\b" + any_of("medical legal financial professional personalized personalised psychological tax investment")
    + r" (?:or \w+ )?(?:advice|diagnos\w+|opinions?|recommendations?)\b|\b"
    + any_of(
        "diagnos* prescri* guarantee certain* exact exactly precise* definitive* for_sure enough highly justice_to "
        "overstate real-time real_time the_future predict* in_one_paragraph in_a_paragraph at_all_times every* "
        "in_full in_person physically feel verbatim full recommend_it recommend_this recommend_that "
        "recommend_watching recommend_using"
    )
    + r"\b"
)  # fmt: skip
# Nothing is declined by "I cannot" before these: states of mind, turns of phrase, and what people in stories do.
NO_ACT = any_of(
    "know imagine afford believe wait live breathe sleep find remember recall stop see feel* think* stay eat swim "
    "understand hear bear deny doubt hav* be being mean want like love hate care need lose wear run walk drive sing "
    "dance leave forget forgive agree emphasize emphasise stress overstate ever even always necessarily make_it keep "
    "let get come enjoy mind regret lie fail sit stand move touch reach fly cry laugh hold hope trust worry exist "
    "experienc* possess* hesitate help_but begin thank wish own recognize recognise seem look quite often usually "
    "work belong smell taste turn pay miss catch win sell buy not do"
) + r"\b"
BAD_WORDS = (
    "illegal unlawful unethical immoral inappropriate harmful dangerous wrong cruel inhumane dishonest disrespectful "
    "unacceptable irresponsible offensive hurtful unfair discriminatory prohibited forbidden baseless "
    "against_the_law fraud theft abuse harassment discrimination racist sexist no_excuse no_place"
)
_BAD = any_of(BAD_WORDS)
_OFFENCE = (
    r"an? (?:\w+ ){0,2}(?:crime|offen[cs]e|felony|violation|bad idea|sin)|(?:an? )?(?:\w+ )?form of (?:\w+ )?"
    r"(?:abuse|violence|discrimination|harassment|theft|fraud|bullying)"
)
# An adjective is a verdict where it ends the clause: "is unlawful, and", not "is the unlawful killing of".
_VERDICT = (
    r"\b(?! (?!and|or|to|for|in|as|because|but|if|under|when|on|by|even|at|with|towards?|without|since|from|behaviou?r|"
    r"way|thing|acts?|activit)\w)"
)
GOOD_WORDS = (
    "appropriate acceptable ethical okay ok right healthy accurate fair legal respectful good nice kind justified "
    "condoned tolerated responsible safe recommended helpful"
)
GOOD = any_of(GOOD_WORDS)
# Said of what was asked: "is illegal", "is never right". "Is not illegal" is no such thing.
WRONG = rf"(?:(?:(?!not\b)\w+ ){{0,2}}?(?:{_BAD}{_VERDICT}|{_OFFENCE})|(?:not|never)(?: be)? (?:\w+ ){{0,2}}?{GOOD})\b"
VALUE_WORDS = (
    "respect* dignity compassion* kindness kindly empathy consent privacy inclusiv* diversity equal* well-being "
    "value values law laws legal lawful guidelines principles rights safety safe honest* integrity ethic* moral* "
    "responsib* positiv* constructive* peace* fairness understanding tolerance support trust care"
)
VALUES = any_of(VALUE_WORDS)
HARM_WORDS = (
    "harm* hurt* consequences penalt* imprisonment jail prison fines crime crimes criminal illegal offence offense "
    "offensive violat* discriminat* stereotyp* prejudic* hateful hatred hate derogatory cruel* harass* violence "
    "violent abus* racis* sexis* suffering victim victims exploit* fraud* misinformation unfair risk risks injur* "
    "death deaths damage* trouble addicti* danger* serious* severe* fear panic trauma* upset* wrong unethical "
    "immoral dishonest invasion punish* sensitive generalization* generalisation* murder* kill* genocid* horrif* "
    "traged* tragic false baseless conspirac* charges arrest* threat* toxic suicid*"
)
HARM = rf"\b{any_of(HARM_WORDS)}\b"
# To whom, or to what, an answer sends people instead of answering.
HELPER_WORDS = (
    "helpline* hotline* crisis 988 counsel* therap* mental_health professional* authorit* police emergency lawyer "
    "attorney doctor physician pharmacist dietitian veterinarian mediator trusted expert* adviser* advisor* "
    "support_group support_organi* reliable_source* official_source* official_website website search_engine "
    "human_resources hr supervisor manager resources legal_way* lawful_way* better_way* other_way* appropriate_way* "
    "ethical_way* healthier_way* safer_way* positive_way* constructive_way* peaceful_way*"
)
HELPERS = rf"\b{any_of(HELPER_WORDS)}\b"
