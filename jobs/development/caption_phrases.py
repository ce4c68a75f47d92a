"""The words and phrases of tagged captions: choices by chance, noun phrases, verb phrases and a finite clause.

Captions are not meant to be true or sensible, only to have the shapes of captions: a tagger sees two words to the
left and right. Some open-class words are made up ("a blorp is tringing a slarn"), so that it learns what endings and
neighbours tell about a word that it has never met.
"""

import random
from collections.abc import Collection, Sequence
from typing import TypeVar

from jobs.development import caption_words as words

Token = tuple[str, str]
Tokens = list[Token]
T = TypeVar("T")

MADE_UP_FRACTION = 0.08
_ONSETS, _VOWELS, _CODAS = (
    part.split()
    for part in (
        "b bl br c cl cr d dr f fl fr g gl gr h j k l m n p pl pr qu r s sc sh sk sl sm sn sp st str sw t th tr tw v w",
        "a e i o u a e i o u ai ea ee oo ou oa",
        "b ck d ft g l ll lk m mp n nd ng nk nt p r rd rk rm rn rp rt s sh sk sp ss st t tch th x z",
    )
)
_NOUN_ENDINGS = ("", "", "", "er", "or", "ie", "le", "et", "ion", "age", "y", "board", "man")
_ADJECTIVE_ENDINGS = ("y", "y", "ish", "ful", "ous", "al", "ic", "less", "en", "ive", "able")


class Phrases:
    """What captions are made of, deterministic from a seed.

    Open-class words in `without` never occur: what is trained without them can be tested on them.
    """

    def __init__(self, seed: int, *, without: Collection[str] = (), made_up: float = MADE_UP_FRACTION) -> None:
        self._random = random.Random(seed)  # noqa: S311 - captions, no secrets
        self._without = frozenset(without)
        self._made_up = made_up

    def _may_use(self, word: str) -> bool:
        return word.rstrip("*") not in self._without

    # Choices.

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _any_of(self, items: Sequence[T], weights: Sequence[float] | None = None) -> T:
        return self._random.choices(items, weights)[0]

    def _word(self, *classes: Sequence[str]) -> str:
        """Return a word of one of the classes that may be used."""
        items = self._any_of(classes)
        while not self._may_use(word := self._any_of(items)):
            pass
        return word

    def _invent(self) -> str:
        syllables = [self._any_of(_ONSETS) + self._any_of(_VOWELS) for _ in range(self._any_of((1, 1, 2)))]
        return "".join(syllables) + self._any_of(_CODAS)

    # Words.

    def _noun(self, *classes: Sequence[str]) -> str:
        if self._chance(self._made_up):
            return self._invent() + self._any_of(_NOUN_ENDINGS)
        return self._word(*classes)

    def _adjective(self) -> Tokens:
        if self._chance(self._made_up):
            return [(self._invent() + self._any_of(_ADJECTIVE_ENDINGS), "JJ")]
        if self._chance(0.04):
            return [("black", "JJ"), ("and", "CC"), ("white", "JJ")]
        if self._chance(0.04):
            return [(f"{self._word(words.ADJECTIVES)}-{self._word(words.ADJECTIVES)}", "JJ")]
        return [(self._word(words.ADJECTIVES), "JJ")]

    def _verb(self, form: str, verbs: Sequence[str]) -> Token:
        verb = self._invent() if self._chance(self._made_up) else self._word(verbs)
        return inflect(verb, form), form

    # Noun phrases.

    def _nouns(self, *, plural: bool, classes: Sequence[Sequence[str]]) -> Tokens:
        if self._chance(0.15):
            first, second = self._any_of(words.COMPOUNDS)
            return [(first, "NN"), (words.plural(second), "NNS") if plural else (second, "NN")]
        noun = self._noun(*classes)
        modifier: Tokens = []
        if self._chance(0.06):
            modifier = [(self._noun(words.THINGS, words.PLACES, words.FOOD, words.MASS), "NN")]
        return [*modifier, (words.plural(noun), "NNS") if plural else (noun, "NN")]

    def _determiner(self, *, plural: bool, bare: float) -> Tokens:
        if self._chance(bare):
            return []
        if not plural:
            return [*self._any_of(words.DETERMINERS, words.DETERMINER_WEIGHTS)]
        if self._chance(0.4):
            number = (self._word(words.NUMBERS), "CD")
            return [("the", "DT"), number] if self._chance(0.1) else [number]
        if self._chance(0.3):
            return [self._any_of(words.QUANTIFIERS)]
        return [*self._any_of(words.PLURAL_DETERMINERS)]

    def _simple(self, *classes: Sequence[str], plural: bool, bare: float) -> Tokens:
        tokens = self._determiner(plural=plural, bare=bare if not plural else 0.35)
        for _ in range(self._any_of((0, 1, 2), (0.6, 0.33, 0.07))):
            tokens += self._adjective()
        if tokens and self._chance(0.03):
            # A participle before its noun.
            form = self._any_of(("VBG", "VBN"))
            tokens.append(self._verb(form, words.INTRANSITIVE if form == "VBG" else words.PLACED))
        return [*tokens, *self._nouns(plural=plural, classes=classes)]

    def _subject(self) -> tuple[Tokens, bool]:
        """Return a subject and whether it is plural."""
        draw = self._random.random()
        plural = self._chance(0.3)
        if draw < 0.05:
            pronoun, be = self._any_of(words.PRONOUNS)
            return [(pronoun, "PRP")], be != "is"
        if draw < 0.07:
            return [(self._word(words.NAMES), "NNP")], False
        if draw < 0.09:
            return [*self._any_of(words.INDEFINITE)], False
        if draw < 0.17:
            return self._group(), False
        agents = (words.PEOPLE, words.PEOPLE, words.ANIMALS, words.VEHICLES, words.THINGS)
        subject = self._simple(*agents, plural=plural, bare=0.15)
        if draw < 0.27:
            other = self._simple(*agents, plural=self._chance(0.3), bare=0.25)
            return [*subject, self._any_of((("and", "CC"), ("and", "CC"), ("or", "CC"))), *other], True
        if draw < 0.29:
            middle = [(",", ","), *self._simple(*agents, plural=False, bare=0.5), ("and", "CC")]
            return [*subject, *middle, *self._simple(*agents, plural=False, bare=0.5)], True
        if draw < 0.31 and not plural:
            return [*subject, ("'s", "POS"), *self._nouns(plural=False, classes=[words.THINGS, words.ANIMALS])], False
        if draw < 0.45:
            subject += self._with_phrase() if self._chance(0.4) else self._phrase()
        return subject, plural

    def _group(self) -> Tokens:
        start = [
            self._any_of((("a", "DT"), ("a", "DT"), ("the", "DT"))),
            *(self._adjective() if self._chance(0.2) else []),
        ]
        of = [(self._word(words.GROUPS), "NN"), ("of", "IN")]
        return [
            *start,
            *of,
            *self._simple(words.PEOPLE, words.ANIMALS, words.THINGS, words.FOOD, plural=True, bare=0.8),
        ]

    def _object(self) -> Tokens:
        draw = self._random.random()
        things = (words.THINGS, words.THINGS, words.FOOD, words.CLOTHES, words.VEHICLES, words.ANIMALS, words.PEOPLE)
        if draw < 0.04:
            foods = [(self._noun(words.FOOD, words.MASS), "NN"), ("and", "CC")]
            return [*foods, (words.plural(self._noun(words.FOOD)), "NNS")]
        if draw < 0.1:
            return [*(self._adjective() if self._chance(0.3) else []), (self._noun(words.MASS), "NN")]
        if draw < 0.16:
            return [*(self._adjective() if self._chance(0.5) else []), (self._word(words.CLOTHES_IN_PLURAL), "NNS")]
        if draw < 0.24:
            tokens = self._simple(words.ACTIONS, plural=self._chance(0.2), bare=0.1)
        elif draw < 0.28:
            return (
                [(self._any_of(("him", "them", "it", "her", "something")), "PRP")]
                if draw < 0.27
                else [("something", "NN")]
            )
        elif draw < 0.31:
            tokens = self._group()
        else:
            tokens = self._simple(*things, plural=self._chance(0.25), bare=0.08)
        if self._chance(0.08):
            tokens = [*tokens, ("and", "CC"), *self._simple(*things, plural=self._chance(0.25), bare=0.3)]
        return tokens

    # Phrases.

    def _place(self) -> Tokens:
        if self._chance(0.1):
            return [(self._noun(words.MASS), "NN")]
        places = (words.PLACES, words.PLACES, words.THINGS, words.VEHICLES, words.ACTIONS)
        return self._simple(*places, plural=self._chance(0.12), bare=0.06)

    def _phrase(self) -> Tokens:
        draw = self._random.random()
        if draw < 0.25:
            return [*self._any_of(words.COMPLEX_PREPOSITIONS), *self._place()]
        if draw < 0.3:
            return [*self._any_of(words.FIXED_PHRASES)]
        tokens = [(self._word(words.PLACE_PREPOSITIONS, words.PREPOSITIONS), "IN"), *self._place()]
        if draw < 0.36:
            tokens += [("of", "IN"), *self._place()]
        return tokens

    def _with_phrase(self) -> Tokens:
        if self._chance(0.5):
            clothes = self._simple(words.CLOTHES, plural=False, bare=0.1)
            if self._chance(0.4):
                clothes += [("and", "CC"), *self._simple(words.CLOTHES, plural=False, bare=0.6)]
            return [("in", "IN"), *clothes]
        return [("with", "IN"), *self._object()]

    def _phrases(self) -> Tokens:
        tokens: Tokens = []
        for _ in range(self._any_of((0, 1, 2), (0.25, 0.6, 0.15))):
            tokens += self._phrase()
        return tokens

    # Verb phrases.

    def _complement(self, form: str) -> Tokens:
        """Return a verb in a form and what follows it."""
        draw = self._random.random()
        adverb = [(self._word(words.ADVERBS), "RB")] if self._chance(0.1) else []
        if draw < 0.42:
            particle = [(self._word(words.PARTICLES), "RP")] if self._chance(0.1) else []
            return [self._verb(form, words.INTRANSITIVE), *particle, *adverb, *self._phrases()]
        if draw < 0.9:
            return [self._verb(form, words.TRANSITIVE), *self._object(), *adverb, *self._phrases()]
        if draw < 0.94:
            verb = (inflect(self._any_of(("try", "start", "begin*", "get", "prepare", "want", "wait")), form), form)
            return [verb, ("to", "TO"), *self._complement("VB")]
        if draw < 0.96:
            return [
                (inflect("get", form), form),
                *self._any_of((self._adjective(), [("ready", "JJ"), ("to", "TO"), *self._complement("VB")])),
            ]
        if draw < 0.98:
            return [(inflect(self._word(words.LINKING), form), form), *self._adjective()]
        return [
            (inflect("watch", form), form),
            *self._simple(words.PEOPLE, words.ANIMALS, plural=True, bare=0.3),
            *self._complement("VB"),
        ]

    def _more(self, form: str) -> Tokens:
        """Return what may follow a verb phrase: another one, a subordinate clause, an infinitive."""
        draw = self._random.random()
        if draw < 0.12:
            return [("and", "CC"), *self._complement(form)]
        if draw < 0.17:
            return [("while", "IN"), *self._complement("VBG")]
        if draw < 0.21:
            return [
                self._any_of((("while", "IN"), ("as", "IN"), ("because", "IN"), ("when", "WRB"))),
                *self._finite_clause(),
            ]
        if draw < 0.24:
            return [
                self._any_of((("by", "IN"), ("for", "IN"), ("without", "IN"), ("before", "IN"))),
                *self._complement("VBG"),
            ]
        if draw < 0.27:
            return [("to", "TO"), *self._complement("VB")]
        if draw < 0.3:
            return self._complement("VBG")
        if draw < 0.33:
            return [("that", "WDT"), *self._finite(plural=False)]
        return []

    def _passive(self, form: str = "VBN") -> Tokens:
        if self._chance(0.55):
            return [self._verb(form, words.PLACED), *self._phrase(), *self._phrases()]
        verb = self._verb(form, words.TRANSITIVE)
        if self._chance(0.5):
            return [
                verb,
                ("by", "IN"),
                *self._simple(words.PEOPLE, words.ANIMALS, words.VEHICLES, plural=False, bare=0.2),
            ]
        return [verb, *self._phrases()]

    def _predicate(self) -> Tokens:
        """Return what follows a form of be."""
        draw = self._random.random()
        if draw < 0.6:
            adverb = [(self._word(words.BEFORE_VERB), "RB")] if self._chance(0.08) else []
            return [*adverb, *self._complement("VBG"), *self._more("VBG")]
        if draw < 0.75:
            return [*([("being", "VBG")] if self._chance(0.3) else []), *self._passive()]
        if draw < 0.85:
            return [*([("very", "RB")] if self._chance(0.2) else []), *self._adjective(), *self._phrases()]
        if draw < 0.93:
            return self._phrase()
        return self._simple(words.PEOPLE, words.THINGS, words.PLACES, plural=False, bare=0)

    def _finite(self, *, plural: bool) -> Tokens:
        """Return a finite verb phrase."""
        draw = self._random.random()
        negation = [self._any_of((("not", "RB"), ("n't", "RB")))] if self._chance(0.06) else []
        if draw < 0.4:
            return [self._be(plural=plural), *negation, *self._predicate()]
        if draw < 0.48:
            have = self._any_of((("have", "VBP") if plural else ("has", "VBZ"), ("had", "VBD")))
            if self._chance(0.4):
                return [have, *negation, *self._complement("VBN")]
            if self._chance(0.4):
                return [have, *negation, ("been", "VBN"), *self._predicate()]
            return [have, *self._object(), *self._phrases()]
        if draw < 0.56:
            modal = [
                (self._any_of(("can", "could", "will", "would", "may", "might", "must", "should")), "MD"),
                *negation,
            ]
            if self._chance(0.4):
                return [*modal, ("be", "VB"), *self._predicate()]
            return [*modal, *self._complement("VB")]
        if draw < 0.6:
            do = self._any_of((("do", "VBP") if plural else ("does", "VBZ"), ("did", "VBD")))
            if self._chance(0.7):
                return [do, self._any_of((("not", "RB"), ("n't", "RB"))), *self._complement("VB")]
            return [do, *self._simple(words.ACTIONS, plural=self._chance(0.3), bare=0), *self._phrases()]
        adverb = [(self._word(words.BEFORE_VERB), "RB")] if self._chance(0.1) else []
        form = "VBD" if self._chance(0.35) else ("VBP" if plural else "VBZ")
        return [*adverb, *self._complement(form), *self._more(form)]

    def _be(self, *, plural: bool) -> Token:
        if self._chance(0.25):
            return ("were" if plural else "was"), "VBD"
        return ("are", "VBP") if plural else ("is", "VBZ")

    def _finite_clause(self) -> Tokens:
        subject, plural = self._subject()
        if subject == [("I", "PRP")]:
            if self._chance(0.6):
                return [*subject, self._any_of((("am", "VBP"), ("am", "VBP"), ("'m", "VBP"))), *self._predicate()]
            return [*subject, *self._complement(self._any_of(("VBP", "VBD")))]
        if subject[-1][1] == "PRP" and self._chance(0.3):
            contraction = ("'re", "VBP") if plural else ("'s", "VBZ")
            return [*subject, contraction, *self._predicate()]
        return [*subject, *self._finite(plural=plural)]


def inflect(verb: str, form: str) -> str:
    """Return a verb of the vocabulary (a star doubles its last letter) in the form of a tag."""
    if form == "VBZ":
        return words.third_person(verb.rstrip("*"))
    if form in ("VB", "VBP"):
        return verb.rstrip("*")
    return {"VBG": words.gerund, "VBD": words.past, "VBN": words.past_participle}[form](verb)
