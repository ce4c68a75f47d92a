"""A grammar of tagged captions, from which the shipped tagger learns: (word, Penn Treebank tag) tokens."""

from collections.abc import Callable

from jobs.development import caption_words as words
from jobs.development.caption_phrases import Phrases, Token, Tokens, inflect


class Captions(Phrases):
    """A generator of tagged captions, deterministic from its seed (see `Phrases`)."""

    def caption(self) -> Tokens:
        """Return one caption: lower case without a full stop, as BLIP's, or now and then a written sentence."""
        tokens = self._any_of(_SHAPES, _SHAPE_WEIGHTS)(self)
        if self._chance(0.03):
            tokens = [*tokens, (",", ","), *self._any_of([Captions._bare_clause, Captions._with_phrase])(self)]
        if self._chance(0.2):
            word, tag = tokens[0]
            tokens = [(word[:1].upper() + word[1:], tag), *tokens[1:]]
        if self._chance(0.25):
            tokens = [*tokens, (".", ".")]
        return tokens

    def drills(self) -> list[Tokens]:
        """Return short captions that have every verb and noun in all its forms: chance leaves some of them out."""
        captions: list[Tokens] = []
        for verbs, has_object in ((words.INTRANSITIVE, False), (words.TRANSITIVE, True)):
            for verb in filter(self._may_use, verbs):
                captions += [self._drill_verb(verb, form, has_object=has_object) for form in _DRILLED_FORMS]
        for verb in filter(self._may_use, words.PLACED):
            thing = self._simple(words.THINGS, words.VEHICLES, plural=self._chance(0.3), bare=0.1)
            captions += [[*thing, (inflect(verb, "VBN"), "VBN"), *self._phrase()] for _ in range(3)]
        nouns = (*words.PEOPLE, *words.ANIMALS, *words.VEHICLES, *words.THINGS, *words.FOOD, *words.PLACES)
        for noun in filter(self._may_use, nouns):
            captions += [self._drill_noun(noun, plural=plural) for plural in (False, True)]
        self._random.shuffle(captions)
        return captions

    def _drill_verb(self, verb: str, form: str, *, has_object: bool) -> Tokens:
        plural = form == "VBP"
        subject = self._simple(words.PEOPLE, words.ANIMALS, words.VEHICLES, plural=plural, bare=0.1)
        if plural and self._chance(0.6):
            subject = [("a", "DT"), ("man", "NN"), ("and", "CC"), ("a", "DT"), (self._word(words.PEOPLE), "NN")]
        before = [(self._word(words.BEFORE_VERB), "RB")] if self._chance(0.15) else []
        if form == "VB":
            before = [("can", "MD")]
        after = self._object() if has_object else self._any_of(([], self._phrase()))
        if form != "VB" and self._chance(0.2):
            after = [*after, ("and", "CC"), self._verb(form, words.INTRANSITIVE)]
        return [*subject, *before, (inflect(verb, form), form), *after]

    def _drill_noun(self, noun: str, *, plural: bool) -> Tokens:
        tokens = [*self._determiner(plural=plural, bare=0.1), (words.plural(noun), "NNS") if plural else (noun, "NN")]
        return [*tokens, *self._any_of(([], self._phrase(), self._complement("VBG"), self._passive()))]

    # The shapes of captions.

    def _bare_clause(self) -> Tokens:
        subject, _ = self._subject()
        adverb = [(self._word(words.BEFORE_VERB), "RB")] if self._chance(0.05) else []
        return [*subject, *adverb, *self._complement("VBG"), *self._more("VBG")]

    def _bare_passive(self) -> Tokens:
        subject, _ = self._subject()
        being = [("being", "VBG")] if self._chance(0.15) else []
        return [*subject, *being, *self._passive(), *(self._more("VBG") if self._chance(0.3) else [])]

    def _relative(self) -> Tokens:
        subject, plural = self._subject()
        if self._chance(0.25):
            place = self._simple(words.PLACES, plural=False, bare=0)
            return [*place, ("where", "WRB"), *self._finite_clause()]
        if self._chance(0.25):
            relative = [self._any_of((("that", "IN"), ("that", "WDT"), ("which", "WDT"))), *self._finite_clause()]
        else:
            relative = [self._any_of((("who", "WP"), ("that", "WDT"), ("which", "WDT"))), *self._finite(plural=plural)]
        return [*subject, *relative, *(self._finite(plural=plural) if self._chance(0.6) else [])]

    def _there_is(self) -> Tokens:
        plural = self._chance(0.4)
        things = (words.PEOPLE, words.ANIMALS, words.VEHICLES, words.THINGS)
        be = ("'s", "VBZ") if self._chance(0.06) else self._be(plural=plural)
        tokens = [("there", "EX"), be, *self._simple(*things, plural=plural, bare=0.05)]
        return [*tokens, *self._any_of((self._phrases(), self._complement("VBG"), self._passive()))]

    def _no_verb(self) -> Tokens:
        subject = self._simple(words.PEOPLE, words.THINGS, words.VEHICLES, words.PLACES, words.FOOD, words.ACTIONS,
                               plural=self._chance(0.3), bare=0.2)  # fmt: skip
        return [*subject, *self._any_of(([], self._phrase(), self._with_phrase())), *self._phrases()]

    def _picture(self) -> Tokens:
        start = [("a", "DT"), *(self._adjective() if self._chance(0.5) else [])]
        if self._chance(0.15):
            start = [("a", "DT"), ("close", "JJ"), ("up", "NN")]
        else:
            start.append((self._any_of(words.PICTURES), "NN"))
        return [*start, ("of", "IN"), *self._any_of((self._no_verb, self._bare_clause, self._bare_passive))()]

    def _led(self) -> Tokens:
        comma = [(",", ",")] if self._chance(0.4) else []
        lead = self._phrase() if self._chance(0.8) else [(self._word(words.ADVERBS), "RB")]
        return [*lead, *comma, *self._any_of((self._finite_clause, self._finite_clause, self._bare_clause))()]

    def _two_clauses(self) -> Tokens:
        return [*self._finite_clause(), self._any_of((("and", "CC"), ("but", "CC"))), *self._finite_clause()]

    def _no_subject(self) -> Tokens:
        return [*self._complement("VBG"), *self._more("VBG")]

    def _question(self) -> Tokens:
        return [*self._any_of(words.QUESTIONS), ("?", ".")]

    def _quoted(self) -> Tokens:
        if self._chance(0.5):
            return [("``", "``"), *self._any_of((self._bare_clause, self._finite_clause))(), ("''", "''")]
        said = self._any_of((self._complement("VB"), self._nouns(plural=False, classes=[words.PLACES])))
        return [("a", "DT"), ("sign", "NN"), *self._any_of(words.SIGNS), ("``", "``"), *said, ("''", "''")]

    def _numbered(self) -> Tokens:
        number: Token = (str(self._random.randrange(1, 2100)), "CD")
        start = self._simple(words.VEHICLES, words.PEOPLE, words.THINGS, plural=False, bare=0)
        return [*start, ("with", "IN"), ("the", "DT"), ("number", "NN"), number, *self._phrases()]

    def _foreign(self) -> Tokens:
        return [(word, "FW") for word in self._any_of(words.FOREIGN.split("|")).split()]


_DRILLED_FORMS = ("VBZ", "VBZ", "VBP", "VBP", "VBD", "VBD", "VBD", "VBG", "VB")
_SHAPES: tuple[Callable[[Captions], Tokens], ...] = (
    Captions._bare_clause, Captions._finite_clause, Captions._bare_passive, Captions._relative, Captions._there_is,
    Captions._no_verb, Captions._picture, Captions._led, Captions._two_clauses, Captions._no_subject, Captions._foreign,
    Captions._question, Captions._quoted, Captions._numbered,
)  # fmt: skip
_SHAPE_WEIGHTS = (26, 28, 9, 6, 5, 10, 4, 5, 4, 2, 2, 1, 1, 1)
