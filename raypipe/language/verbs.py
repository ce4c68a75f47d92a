"""English verbs: the base form of an inflected one, by a table of the irregular and by spelling rules."""

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _pairs(text: str) -> dict[str, str]:
    return dict(entry.split(":") for entry in text.split())


_IRREGULAR = """
arise arose arisen|awake awoke awoken|be was,were been|bear bore born,borne|beat beat beaten|become became become
begin began begun|bend bent bent|bet bet bet|bind bound bound|bite bit bitten|bleed bled bled|blow blew blown
break broke broken|breed bred bred|bring brought brought|build built built|burn burned,burnt burned,burnt
burst burst burst|buy bought bought|cast cast cast|catch caught caught|choose chose chosen|cling clung clung
come came come|cost cost cost|creep crept crept|cut cut cut|deal dealt dealt|dig dug dug|dive dove dived|do did done
draw drew drawn|dream dreamed,dreamt dreamed,dreamt|drink drank drunk|drive drove driven|dwell dwelt dwelt
eat ate eaten|fall fell fallen|feed fed fed|feel felt felt|fight fought fought|find found found|fit fit fit
flee fled fled|fling flung flung|fly flew flown|forbid forbade forbidden|forget forgot forgotten
forgive forgave forgiven|freeze froze frozen|get got gotten,got|give gave given|go went gone|grind ground ground
grow grew grown|hang hung hung|have had had|hear heard heard|hide hid hidden|hit hit hit|hold held held
hurt hurt hurt|keep kept kept|kneel knelt knelt|know knew known|lay laid laid|lead led led
lean leaned,leant leaned,leant|leap leaped,leapt leaped,leapt|learn learned,learnt learned,learnt|leave left left
lend lent lent|let let let|lie lay lain|light lit lit|lose lost lost|make made made|mean meant meant|meet met met
mow mowed mown|overtake overtook overtaken|pay paid paid|prove proved proven|put put put|quit quit quit
read read read|ride rode ridden|ring rang rung|rise rose risen|run ran run|saw sawed sawn|say said said|see saw seen
seek sought sought|sell sold sold|send sent sent|set set set|sew sewed sewn|shake shook shaken|shed shed shed
shine shone shone|shoot shot shot|show showed shown|shrink shrank shrunk|shut shut shut|sing sang sung
sink sank sunk|sit sat sat|sleep slept slept|slide slid slid|sling slung slung|slit slit slit
smell smelled,smelt smelled,smelt|sneak snuck snuck|sow sowed sown|speak spoke spoken|speed sped sped
spend spent spent|spill spilled,spilt spilled,spilt|spin spun spun|spit spat spat|split split split
spread spread spread|spring sprang sprung|stand stood stood|steal stole stolen|stick stuck stuck|sting stung stung
stink stank stunk|stride strode stridden|strike struck struck,stricken|string strung strung|strive strove striven
swear swore sworn|sweep swept swept|swell swelled swollen|swim swam swum|swing swung swung|take took taken
teach taught taught|tear tore torn|tell told told|think thought thought|throw threw thrown|thrust thrust thrust
tread trod trodden|undergo underwent undergone|understand understood understood|undo undid undone|upset upset upset
wake woke woken|wear wore worn|weave wove woven|weep wept wept|win won won|wind wound wound
withdraw withdrew withdrawn|wring wrung wrung|write wrote written
"""

_ROWS = [entry.split() for line in _IRREGULAR.strip().splitlines() for entry in line.split("|")]
PAST = {base: past.split(",")[0] for base, past, _ in _ROWS}
PAST_PARTICIPLE = {base: participle.split(",")[0] for base, _, participle in _ROWS}
_PASTS = {past: base for base, pasts, _ in _ROWS for past in pasts.split(",")}
_PARTICIPLES = {participle: base for base, _, participles in _ROWS for participle in participles.split(",")}

_THIRD_PERSON = _pairs(
    """
    is:be has:have does:do goes:go undergoes:undergo 's:be skies:ski
    aches:ache caches:cache focuses:focus buses:bus gases:gas quizzes:quiz
    shoes:shoe hoes:hoe canoes:canoe tiptoes:tiptoe unties:untie
    """
)
# Words whose spelling tells nothing, or the wrong thing.
_REGULAR_PASTS = _pairs(
    """
    skied:ski taxied:taxi untied:untie dyed:dye eyed:eye panicked:panic
    picnicked:picnic mimicked:mimic frolicked:frolic quizzed:quiz focused:focus
    shoed:shoe canoed:canoe tiptoed:tiptoe hoed:hoe murmured:murmur
    gassed:gas bused:bus debuted:debut inched:inch ached:ache cached:cache
    """
)
# Stems before -ed with a final double consonant of their own, and those that double a final l.
_DOUBLE_OF_THEIR_OWN = _words("add egg butt putt purr err ebb mutt bunt")
_DOUBLES_L = _words("patrol control propel compel expel rebel travel pedal signal label model tunnel cancel fuel")
# Stems before -ed that lose an e against the rules below, and those that lose none.
_LOSES_E = _words(
    """
    tast past wast hast bath breath cloth sooth sheath writh wreath chang arrang rang exchang estrang hing cring fring
    sing creat complet compet delet postpon telephon ignor explor ador restor invit unit excit recit ignit devot promot
    interfer adher interven welcom inhal exhal
    """
)
_LOSES_NONE = _words("bang hang clang waltz murmur visit pivot")
_WEAK_ENDINGS = ("er", "en", "el", "et", "on", "or", "om", "op", "ip", "it", "ot", "al")
_VOWEL_GROUP = re.compile(r"(?:(?<=[^aeiou])y|(?<![qg])u|[aeio])+")


def mend_tag(word: str, tag: str) -> str:
    """Return the tag of a finite verb, put right where its spelling tells: "runs" is VBZ, "ran" VBD, "run" no VBZ.

    Taggers confuse the three; tags of other words are left alone.
    """
    if tag not in ("VB", "VBP", "VBZ"):
        return tag
    word = word.lower()
    if word in _PASTS and word not in PAST and word not in _PARTICIPLES:
        return "VBD"
    if word.endswith("s") and not word.endswith("ss"):
        return "VBZ"
    return "VBP" if tag == "VBZ" else tag


def base_form(word: str, tag: str) -> str:
    """Return the base form, in lower case, of a verb with a Penn Treebank tag: ("hopped", "VBD") is "hop".

    VBZ, VBD and VBN are undone; a word of any other tag, or one that no rule fits, is returned as it is.
    """
    word = word.lower()
    if tag == "VBZ":
        return _base_of_third_person(word)
    if tag in ("VBD", "VBN"):
        first, second = (_PASTS, _PARTICIPLES) if tag == "VBD" else (_PARTICIPLES, _PASTS)
        return first.get(word) or second.get(word) or _base_of_past(word)
    return word


def _base_of_third_person(word: str) -> str:
    if word in _THIRD_PERSON:
        return _THIRD_PERSON[word]
    if word.endswith("ies"):
        return word[:-1] if len(word) <= 4 else word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zzes", "oes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _base_of_past(word: str) -> str:
    stem = word[:-2]
    if word in _REGULAR_PASTS:
        return _REGULAR_PASTS[word]
    if not word.endswith("ed") or not _VOWEL_GROUP.search(stem):
        return word
    if word.endswith("ied"):
        return word[:-1] if len(word) <= 4 else word[:-3] + "y"
    if word.endswith("eed"):
        return word[:-1]
    if stem[-1] == stem[-2:-1] and stem[-1] not in "aeiou":
        doubled = stem[-1] not in "lsfz" and stem not in _DOUBLE_OF_THEIR_OWN
        return stem[:-1] if doubled or stem[:-1] in _DOUBLES_L else stem
    return stem + "e" if _loses_e(stem) else stem


def _loses_e(stem: str) -> bool:
    """Return whether the verb of a past form ends in e: a stem without -ed, which does not end in a double letter."""
    if stem in _LOSES_E or stem in _LOSES_NONE:
        return stem in _LOSES_E
    last, before = stem[-1], stem[-2:-1]
    if last in "uvcsz":
        return True
    if last in "aeiowxyh":
        return False
    groups = list(_VOWEL_GROUP.finditer(stem))
    if groups[-1].end() < len(stem) - 1:
        if last == "g":
            return before in "dlr" or stem.endswith(("eng", "ung"))
        return last == "l" and before not in "rwl"
    if len(groups[-1].group()) > 1:
        return stem.endswith(("uat", "iat"))
    return len(groups) == 1 or not stem.endswith(_WEAK_ENDINGS)
