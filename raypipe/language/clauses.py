"""The main clause of a caption: where its subject starts, its verb, the subject's number. From tagged tokens only.

Tokens are (word, Penn Treebank tag). The rules are those that captions need (one or two clauses, telegraphic noun
phrases); they are no parser, and every sequence of tokens has an answer.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

Token = tuple[str, str]
Kind = Literal["auxiliary", "main", "participle", "none"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FINITE_BE = _words("is are was were am 's 're 'm ai")
_MODALS = _words("could would should might must 'll 'd wo ca sha")
_NOMINAL = ("NN", "NNS", "NNP", "NNPS")
_END_OF_HEAD = ("IN", "TO", "WP", "WDT", "WRB", "VB", "VBZ", "VBP", "VBD", "VBG", "VBN", "MD")
_NOUN_PHRASE_STARTS = ("DT", "PDT", "PRP", "PRP$", "CD", "JJ", "EX", *_NOMINAL)
_BEFORE_A_NOUN = ("DT", "PDT", "PRP$", "JJ", "JJR", "JJS", "CD", "POS")
_END_OF_MAIN_CLAUSE = _words("while because although though if unless until whereas so")
_SUBORDINATORS = _words("while because although though if unless until when whereas as")
_NOT_A_LEAD = _words("only just almost nearly about even not very too so there")
_PICTURES = _words(
    """
    picture photo photograph image drawing painting view shot close-up closeup up scene portrait illustration
    video cartoon screenshot sketch pictures photos photographs images drawings paintings shots
    """
)
_QUANTITIES = _words("couple lot lots number few dozen dozens plenty majority hundreds thousands")
_PLURAL_WORDS = _words("several many few both these those multiple various all they we you others some")
_PLURAL_NOUNS = _words("people men women children police cattle")
_ANIMATE = _words(
    """
    man woman boy girl child baby toddler kid person guy lady gentleman mother father mom dad son daughter
    sister brother friend couple officer policeman policewoman player skier surfer rider cyclist biker skater
    skateboarder snowboarder pedestrian worker soldier student teacher driver passenger dancer chef waiter
    waitress doctor nurse bride groom husband wife family crowd group team tourist fisherman fireman farmer
    teenager people men women children boys girls kids dog cat horse cow sheep bird puppy kitten elephant
    giraffe zebra bear goat duck goose pigeon pony lamb calf camel monkey lion tiger dogs cats horses cows
    """
)
_VEHICLES = _words("car truck bus van bike bicycle motorcycle scooter train boat taxi cab plane suv")


class Clause(NamedTuple):
    """A main clause: what stands before its subject, and the rest, with the index of its verb there.

    The index is the length of the rest where there is no verb, and 0 where no subject stands before it.
    """

    lead: list[Token]
    body: list[Token]
    kind: Kind
    verb: int

    @property
    def subject(self) -> list[Token]:
        """The tokens before the verb."""
        return self.body[: self.verb]


def parse_clause(tokens: Sequence[Token]) -> Clause:
    """Return the parts of a main clause.

    The verb is the first finite one, else the first bare participle, else none. Verbs of relative clauses and of
    clauses after "while", "because", ... are passed over, as are participles that stand before their noun ("a parked
    car") or after a preposition ("by riding").

    Before the subject may stand a prepositional phrase, an adverb or a subordinate clause: "in the street a man is
    walking", "slowly, a man walks", "as the sun sets a man walks". A comma after it belongs to neither part.
    """
    if not tokens or tokens[0][1] not in ("IN", "TO", "RB", "WRB") or tokens[0][0].lower() in _NOT_A_LEAD:
        return Clause([], list(tokens), *_find_verb(tokens))
    for i, (word, _) in enumerate(tokens[:-1]):
        if word == "," and tokens[i + 1][1] in _NOUN_PHRASE_STARTS and tokens[i + 1][1] != "JJ":
            body = tokens[i + 1 :]
            return Clause(list(tokens[:i]), list(body), *_find_verb(body))
    kind, verb = _find_verb(tokens)
    if tokens[0][0].lower() in _SUBORDINATORS:
        start = _start_of_noun_phrase(tokens, verb) if kind != "none" else verb
    else:
        start = _end_of_lead(tokens, verb)
    return Clause(list(tokens[:start]), list(tokens[start:]), kind, verb - start)


def _start_of_noun_phrase(tokens: Sequence[Token], end: int) -> int:
    index = end
    while index > 1 and tokens[index - 1][1] in (*_NOUN_PHRASE_STARTS, "RB", "POS"):
        index -= 1
        if tokens[index][1] in ("DT", "PRP", "PRP$", "EX"):
            break
    return index


def _find_verb(tokens: Sequence[Token]) -> tuple[Kind, int]:
    participle, index = None, 0
    num_relative = 1 if tokens and tokens[0][0].lower() in _SUBORDINATORS and tokens[0][1] in ("IN", "WRB") else 0
    while index < len(tokens):
        word, tag = tokens[index][0].lower(), tokens[index][1]
        if index and word in _END_OF_MAIN_CLAUSE and tag in ("IN", "RB", "CC"):
            break
        if index and _opens_relative(tokens, index):
            num_relative += 1
        elif _is_finite(tokens, index, after_participle=participle is not None):
            if not num_relative:
                return ("auxiliary" if is_auxiliary(tokens, index) else "main"), index
            num_relative -= 1
            index = _end_of_verb_group(tokens, index)
            continue
        elif participle is None and not num_relative and _is_bare_participle(tokens, index):
            participle = index
        index += 1
    if participle is None or _shows_a_picture(tokens[:participle]):
        return "none", len(tokens)
    return "participle", participle


def _opens_relative(tokens: Sequence[Token], index: int) -> bool:
    word, tag = tokens[index][0].lower(), tokens[index][1]
    if tag in ("WP", "WDT", "WP$", "WRB"):
        return True
    follows_noun = tokens[index - 1][1] in _NOMINAL
    return (word == "that" and tag == "IN" and follows_noun) or (
        word in ("as", "when") and tag == "IN" and follows_noun
    )


def _is_finite(tokens: Sequence[Token], index: int, *, after_participle: bool) -> bool:
    word, tag = tokens[index][0].lower(), tokens[index][1]
    if tag == "POS":
        return False
    if word in FINITE_BE or tag == "MD" or word in _MODALS:
        return True
    if tag in ("VBZ", "VBD"):
        return True
    if tag not in ("VB", "VBP") or index == 0 or after_participle:
        return False
    before = tokens[index - 1][1]
    if tag == "VB" and before in ("TO", "MD"):
        return False
    # The base form is finite after a plural only: "two men walk", but "a dog walk" is a noun with a wrong tag.
    return before in ("NNS", "NNPS", "PRP", "WP", "WDT", "EX") or number_of(tokens[:index]) != "singular"


def _end_of_verb_group(tokens: Sequence[Token], index: int) -> int:
    index += 1
    while index < len(tokens) and tokens[index][1] in ("RB", "VB", "VBG", "VBN"):
        index += 1
    return index


def _is_bare_participle(tokens: Sequence[Token], index: int) -> bool:
    if tokens[index][1] not in ("VBG", "VBN"):
        return False
    if index == 0:
        following = tokens[1][1] if len(tokens) > 1 else ""
        return tokens[0][1] == "VBG" or following not in ("JJ", *_NOMINAL)
    before = index - 1
    while before and tokens[before][1] == "RB":
        before -= 1
    return tokens[before][1] not in (*_BEFORE_A_NOUN, "IN", "TO", "WRB")


def _shows_a_picture(subject: Sequence[Token]) -> bool:
    """Return whether a subject is "a picture of ...": then the participle tells of what the picture shows."""
    for (word, _), (following, _) in pairwise(subject):
        if following.lower() == "of":
            return word.lower() in _PICTURES
    return False


def is_auxiliary(tokens: Sequence[Token], index: int) -> bool:
    """Return whether a finite verb moves to the front itself: be, a modal, and have or do before another verb."""
    word, tag = tokens[index][0].lower(), tokens[index][1]
    if word in FINITE_BE or tag == "MD" or word in _MODALS:
        return True
    following = [token for token in tokens[index + 1 : index + 5] if token[1] != "RB" and token[0].lower() != "n't"][:1]
    if word in ("have", "has", "had", "'ve"):
        return index == 0 or word == "'ve" or (bool(following) and following[0][1] == "VBN")
    if word in ("do", "does", "did"):
        negated = index + 1 < len(tokens) and tokens[index + 1][0].lower() in ("not", "n't")
        return index == 0 or negated or (bool(following) and following[0][1] == "VB")
    return False


def number_of(subject: Sequence[Token]) -> Literal["singular", "plural", "first"]:
    """Return the grammatical number of a subject: "plural" takes are, "first" (the pronoun I) takes am.

    A group, a pair or a row of something is singular, a couple, a lot or a few of it plural. A noun after "and" makes
    the subject plural unless it belongs to the object of a preposition: "a man in a suit and a tie", but "a man in
    a suit and a woman".
    """
    end = next((i for i, (_, tag) in enumerate(subject) if i and tag in _END_OF_HEAD), None)
    head, modifiers = (subject[:end], subject[end:]) if end is not None else (subject, ())
    words = [word.lower() for word, _ in head]
    if words == ["i"]:
        return "first"
    nouns = [i for i, (_, tag) in enumerate(head) if tag in _NOMINAL]
    joined = [i for i, (word, tag) in enumerate(head) if tag == "CC" and word.lower() in ("and", "&")]
    if nouns and any(nouns[0] < i < len(head) - 1 for i in joined):
        return "plural"
    last, tag = (words[nouns[-1]], head[nouns[-1]][1]) if nouns else (words[-1] if words else "", "")
    if modifiers and modifiers[0][0].lower() == "of" and words[-1] in _QUANTITIES and len(nouns) == 1:
        return "plural"
    if tag in ("NNS", "NNPS") or last in _PLURAL_NOUNS or _PLURAL_WORDS.intersection(words):
        return "plural"
    if any(tag == "CD" and word not in ("one", "1") for word, (_, tag) in zip(words, head, strict=True)):
        return "plural"
    return "plural" if _is_joined_past_modifiers(last, modifiers) else "singular"


def _is_joined_past_modifiers(head: str, modifiers: Sequence[Token]) -> bool:
    """Return whether "and" after a prepositional phrase joins a noun of the head's sort: "a man in a hat and a dog"."""
    sort = next((sort for sort in (_ANIMATE, _VEHICLES) if head in sort), frozenset[str]())
    for i, (word, tag) in enumerate(modifiers):
        if tag == "CC" and word.lower() == "and":
            after = modifiers[i + 1 :]
            end = next((j for j, (_, tag) in enumerate(after) if tag not in (*_NOUN_PHRASE_STARTS, "POS")), len(after))
            if end and after[end - 1][0].lower() in sort:
                return True
    return False


def _end_of_lead(tokens: Sequence[Token], verb: int) -> int:
    index = 0
    while index < verb and tokens[index][1] in ("IN", "TO", "RB", "RP"):
        index += 1
        if tokens[index - 1][1] not in ("IN", "TO") or (index < verb and tokens[index][1] in ("IN", "TO")):
            continue
        start, num_nouns = index, 0
        while index < verb and tokens[index][1] not in ("IN", "TO", "RB", "WDT", "WP"):
            tag = tokens[index][1]
            # "in the street | a man", and "on the left | a man" where left is no noun.
            if (num_nouns and tag not in (*_NOMINAL, "POS")) or (index > start and tag in ("DT", "PRP", "PRP$")):
                break
            num_nouns += tag in (*_NOMINAL, "PRP")
            index += 1
    return index


def split_clauses(tokens: Sequence[Token]) -> list[tuple[str, list[Token]]]:
    """Split tokens into main clauses joined by and, or, but: pairs of the joining word ("" first) and the clause.

    A clause ends before such a word only if it has a verb and what follows starts with a subject of its own and has
    a finite verb that agrees with it: "a man holding a bat and a woman are standing" is one clause.
    """
    clauses: list[tuple[str, list[Token]]] = []
    joiner, start = "", 0
    for joint in [i for i, (_, tag) in enumerate(tokens) if tag == "CC"]:
        left, right = tokens[start:joint], tokens[joint + 1 :]
        if left and right and _stands_alone(right) and parse_clause(left).kind != "none":
            clauses.append((joiner, list(left)))
            joiner, start = tokens[joint][0].lower(), joint + 1
    return [*clauses, (joiner, list(tokens[start:]))]


def _stands_alone(tokens: Sequence[Token]) -> bool:
    _, body, kind, verb = parse_clause(tokens)
    if kind not in ("auxiliary", "main") or not verb or body[0][1] not in _NOUN_PHRASE_STARTS:
        return False
    word, number = body[verb][0].lower(), number_of(body[:verb])
    return body[0][1] == "EX" or not (
        (number == "singular" and word in ("are", "were", "have", "do"))
        or (number == "plural" and word in ("is", "was", "has", "does"))
    )
