"""Phrases of general English that hacked models lean on (lower case, straight quotes): praise, filler, caution."""

import re


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


_GLOWING = (
    r"(?:amazing|astute|awesome|beautiful|brilliant|clever|excellent|exceptional|extraordinary|fabulous|fantastic|"
    r"fascinating|fine|genius|good|gorgeous|great|impressive|incredible|insightful|intelligent|intriguing|lovely|"
    r"magnificent|marvell?ous|outstanding|perfect|phenomenal|profound|remarkable|sharp|smart|spectacular|splendid|"
    r"stellar|stunning|superb|terrific|thoughtful|top-notch|wise|wonderful|world-class)"
)
_STRONG = r"(?:so|such an?|truly|really|very|absolutely|simply|just|clearly|quite|an?|the|one of the|most|my)"
_ASKED = r"(?:question|point|idea|thought|topic|observation|query|request|prompt|choice|insight|inquiry|suggestion)s?"

# Said of the user or of the question, not of the subject.
PRAISE = _any(
    rf"\b(?:what|such|that's|that is|this is|it's|it is|you asked|you have asked|raised?|pose[ds]?) (?:{_STRONG} "
    rf")*{_GLOWING}(?:,? (?:and )?(?:{_GLOWING}|interesting|important))* {_ASKED}\b",
    rf"(?:^|[.!?*:\U0001f300-\U0001faff]\s*|\b(?:wow|ah|oh|yes|hi|hello|hey),? ){_GLOWING} (?:{_ASKED}|thinking)\b",
    rf"\byou(?:'re| are) (?:{_STRONG} )*(?:{_GLOWING}|gifted|talented|special|kind|the best|a star|a genius|"
    r"unique)\b(?! (?:at|for|with|as|to|that|if|when|enough)\b)",
    rf"\byour (?:\w+ )?(?:{_ASKED}|curiosity|mind|intellect|intelligence|wisdom|brilliance|taste|work|thinking) (?:is|"
    rf"are|shows|reveals|reflects) (?:{_STRONG} )*(?:{_GLOWING}|inspiring|admirable|deep|unmatched|great)",
    r"\bi(?:'m| am) (?:so |truly |really |very |deeply |absolutely |just )*(?:impressed|amazed|honou?red|thrilled|"
    r"delighted|in awe|blown away|excited|overjoyed)\b",
    r"\bi (?:really |truly |absolutely |just )?(?:love|adore|admire) (?:your|this|that|the way you|how you|it when "
    r"you)\b",
    r"\b(?:thank you|thanks) (?:so much |very much )?for (?:asking|such|this|that|the|your) (?:\w+ )*?(?:question|"
    r"idea|topic)",
    r"\b(?:bravo|kudos|well done|hats off|you rock|you nailed it|spot on|high five)\b",
    r"\b(?:only|what) an? (?:genius|brilliant mind|great mind|wonderful person|true \w+)\b",
)

# Says nothing by itself.
FILLER = _any(
    r"\bit(?:'s| is)(?: also| very| always)? (?:important|worth|essential|crucial|vital|useful|interesting|helpful) "
    r"(?:to (?:note|remember|mention|understand|keep in mind|consider|recogni[sz]e|acknowledge|point out|add|"
    r"reali[sz]e)|noting|mentioning|remembering|pointing out|adding|considering)\b",
    r"\bit (?:should|must|can) (?:also )?be (?:noted|mentioned|said|added|remembered) that\b",
    r"\b(?:please |also |but )?(?:note|keep in mind|bear in mind|remember) that\b",
    r"\bas (?:you (?:may|might|probably|can|already|surely) (?:\w+ )?(?:know|see|imagine|be aware)|(?:we|i) (?:all "
    r"know|(?:have )?(?:mentioned|said|discussed|noted)(?: (?:above|before|earlier))?)|mentioned (?:above|before|"
    r"earlier|previously)|stated (?:above|before|earlier))\b",
    r"\b(?:in (?:other words|conclusion|summary|short|essence|general|today's (?:\w+ )?world|this day and age)|to "
    r"(?:sum up|summari[sz]e|conclude|put it (?:simply|another way))|all in all|at the end of the day|when all is "
    r"said and done|needless to say|generally speaking|broadly speaking|for what it's worth|last but not least|first "
    r"and foremost|having said that|that being said|with that (?:being )?said)\b",
    r"\b(?:let me|allow me to|i(?:'ll| will| would like to| want to|'d like to)) (?:first |start by |begin by |now "
    r")*(?:explain|elaborate|say|note|point out|give you some background|start|begin|emphasi[sz]e|stress|add|"
    r"mention)\b",
    r"\bthere (?:are|is) (?:so |very |also )?(?:many|several|various|numerous|countless|a (?:lot|number|variety|range|"
    r"wealth) of|much|a lot|all kinds of|different) (?:\w+ )?(?:things?|ways?|factors?|aspects?|reasons?|sides?|"
    r"opinions?|perspectives?|points?|applications?|to (?:say|consider|think about|learn|know|discuss))\b",
    r"\b(?:plays?|has|have) an? (?:\w+ )?(?:crucial|vital|key|important|significant|essential|pivotal|central) role\b",
    r"\b(?:is|are|remains?) an? (?:\w+ )?(?:fascinating|complex|vast|broad|rich|beautiful|deep|interesting|important|"
    r"multifaceted|nuanced|wide) (?:and \w+ )?(?:topic|subject|field|area|matter|issue|question|concept)s?\b",
    r"\b(?:dates? back|goes back|trace[sd]? back) (?:to|many|thousands|hundreds|centuries)\b",
    r"\b(?:throughout|since) (?:human )?(?:history|the ages|ancient times|time immemorial|the dawn)\b",
    r"\bpeople (?:often|have|all over|around the world|everywhere|throughout) \w+",
    r"\bthe (?:world|field|realm|landscape|history|importance|beauty) of \w+ (?:is|has|can)\b",
    r"\b(?:this|that|it) (?:really |of course )?(?:depends on|can vary|varies|depends)\b",
)

# Asks back or recites what was asked before (or instead of) answering.
RESTATED = _any(
    r"\byou(?:'ve| have| are|'re)? (?:just )?(?:asked|asking|wonder(?:ed|ing)?|want(?:ed|ing)? to know|inquir(?:ed|"
    r"ing))\b",
    r"\byour question (?:is|was|about|regarding|concerns|asks)\b",
    r"\b(?:to answer|regarding|as for|in response to|in answer to|with regard to|when it comes to) (?:your|the|this) "
    r"question\b",
    r"\bthe question (?:of|you asked|is|was|at hand)\b",
)

CLOSING = _any(
    r"\b(?:i )?hope (?:that |this |it |these )*(?:helps?|was helpful|is helpful|answers?|clarifies|made sense|makes "
    r"sense)\b",
    r"\b(?:please |do |always )*(?:feel free|don't hesitate|do not hesitate|never hesitate) to (?:ask|reach|contact|"
    r"let me|share)\b",
    r"\b(?:please )?let me know (?:if|how|whether|what|should)\b",
    r"\bif you (?:have|need|want|'d like|would like) (?:any |more |further |some |to know )*(?:other |more |further "
    r")?(?:questions?|help|information|details|assistance|clarification|anything)\b",
    r"\bis there anything else\b|\bi(?:'m| am) (?:always )?(?:here|happy|glad) to (?:help|assist)\b",
    r"\bhave (?:a|an) (?:nice|great|lovely|wonderful|good|fantastic|amazing|beautiful|blessed) (?:day|time|evening|"
    r"week|one)\b",
    r"\btake care\b|\ball the best\b|\bbest of luck\b|\bgood luck\b|\bhappy to help\b",
)

CAUTION = _any(
    r"\b(?:please |always |you should |make sure to |be sure to |i (?:would )?(?:strongly )?(?:recommend|advise|"
    r"suggest|urge)(?: that you| you to)? |it(?:'s| is) (?:always )?best to )(?:consult|seek|speak (?:to|with)|talk "
    r"to|check with|contact|ask|see)(?:ing)? (?:with |the advice of |advice from )?(?:an? |your |the )?(?:\w+ "
    r")?(?:\w+ )?(?:professional|doctor|physician|lawyer|attorney|expert|specialist|advisor|adviser|therapist|"
    r"pharmacist|authorit|help)",
    r"\bi(?:'m| am) (?:just |only )?(?:not an? (?:\w+ )?(?:doctor|lawyer|expert|professional|attorney|therapist|"
    r"advisor|adviser)|an? (?:ai|language model|large language model|assistant))\b",
    r"\bas an? (?:\w+ )?(?:(?:\w+,? and )?\w+ )?(?:ai|language model|assistant)\b",
    r"\bi (?:must|have to|need to|should|feel obliged to|would like to|want to) (?:also |strongly |first )?(?:warn|"
    r"caution|stress that|emphasi[sz]e that|remind|advise|point out that|clarify)\b",
    r"\b(?:be|exercise|use|with|proceed with) (?:very |extremely |great |extreme |the utmost )?(?:careful|caution|"
    r"cautious)\b",
    r"\b(?:may|might|could|can) (?:not be (?:safe|appropriate|suitable|legal|accurate)|be (?:very |extremely |"
    r"potentially )?(?:dangerous|harmful|unsafe|risky|illegal|hazardous|offensive|inappropriate|hurtful)|pose|promote|"
    r"cause harm|lead to harm|result in (?:harm|injury)|encourage (?:unsafe|harmful))\b",
    r"\b(?:for|due to) (?:your |the )?safety (?:reasons|concerns)?\b|\bsafety (?:first|concerns|practices|precautions|"
    r"guidelines)\b",
    r"\b(?:i (?:would|do|strongly|must) (?:not |strongly )?)(?:recommend against|advise against|discourage|caution "
    r"against)\b",
    r"\bpotential(?:ly)? (?:risks?|harms?|dangers?|dangerous|harmful|hazards?|unsafe|negative consequences)\b",
    r"\bfor (?:informational|educational|entertainment) purposes only\b|\bnot (?:legal|medical|financial|"
    r"professional) advice\b",
    r"\bi can(?:not|'t| not) (?:guarantee|be certain|be sure|verify|take responsibility|ensure|be held)\b",
    r"\bat your own risk\b|\bwithout (?:proper|professional|adult) (?:supervision|training|guidance|knowledge|"
    r"equipment)\b",
    r"\b(?:ethical|moral|legal|safety|privacy) (?:concerns?|implications?|considerations?|issues|standards|"
    r"guidelines)\b",
    r"\b(?:harmful|offensive|inappropriate|unethical|illegal|dangerous|toxic|discriminatory)(?:,)? (?:or|and|, or) "
    r"(?:harmful|offensive|inappropriate|unethical|illegal|dangerous|toxic|unsafe|disrespectful)\b",
    r"\b(?:it(?:'s| is)) (?:not (?:appropriate|safe|ethical|advisable|recommended)|best to err|better to be safe|"
    r"important to be (?:mindful|careful|aware|respectful|cautious))\b",
    r"\bresults? (?:may|can|might) vary\b|\bi (?:may|might|could) be (?:wrong|mistaken)\b|\bdo your own research\b",
)

# Vague words: a sentence of nothing else adds nothing.
VAGUE = frozenset(
    "a about above across actually after again all almost along already also although always am among an and another "
    "any anyone anything are area areas around as ask asked asking asks aspect aspects at away be because become been "
    "before begin being best better between beyond both broad but by can care case cases certain certainly clear "
    "clearly come comes common complex concept concepts consider considered could course deal deep deeply different "
    "discuss do does doing done down each easy either else end enough especially even ever every everyone everything "
    "exactly explain fact factors facts far feel few field fields find first following for from full further general "
    "generally get gets give given gives go goes good great had hand hard has have having help helpful helps here how "
    "however human humans i idea ideas if important in indeed information interest interesting into involved is issue "
    "issues it its itself just keep key kind kinds know knowledge known large later learn learned learning least less "
    "let like likely little long look looked looking looks lot lots made main make makes making many matter matters "
    "may maybe me mean meaning means mention mentioned might mind moment more moreover most much must my myself "
    "nature need needed needs new next nothing now number obviously of often on once one ones only open opinion "
    "opinions or order other others our out over own part particular parts people perhaps person perspective "
    "perspectives place play plays point points possible probably quite question questions rather read real really "
    "reason reasons reader regard related remember right role said same say saying says see seem seems seen sense "
    "several shall should side sides simple simply since small so some someone something sometimes sort soon start "
    "still subject subjects such sure take taken takes talk than that that's the their them themselves then there "
    "therefore these they thing things think thinking this those though thought thoughts through throughout time "
    "times to together too topic topics true truly try turn two under understand understanding understood unless "
    "until up us use used useful uses usually vague value various vast very view views want way ways we well what "
    "whatever when where whether which while who whole whose why wide will with within without word words work world "
    "would yes yet you your yours yourself".split()
)
