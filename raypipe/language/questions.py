"""Yes/no questions from declarative captions: Algorithm 2 (Appendix G), repaired for captions without an auxiliary.

Algorithm 2 moves the first verb to the front. Captions are often without a finite verb ("a man riding a bike") or
without an auxiliary ("a man walks"), where that gives no English question; `repaired` adds is/are or does/do/did.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from raypipe.language.clauses import FINITE_BE, Token, number_of, parse_clause, split_clauses
from raypipe.language.verbs import base_form, mend_tag

_BE = {"singular": "is", "plural": "are", "first": "am"}
_DO = {"VBZ": "does", "VBD": "did", "VBP": "do", "VB": "do"}
_CONTRACTED = {"'re": "are", "'m": "am", "'ve": "have", "'ll": "will"}
_NO_SPACE_BEFORE = frozenset(
    (".", ",", ":", ";", "!", "?", "%", ")", "]", "}", "...", "n't", "'s", "'re", "'m", "'ve", "'ll", "'d", "'")
)
_NO_SPACE_AFTER = frozenset(("(", "[", "{", "$", "#"))


def to_question(tagged: Sequence[Token], rule: Literal["repaired", "literal"] = "repaired") -> str:
    """Return the yes/no question of a declarative sentence, given as (word, Penn Treebank tag) tokens.

    `repaired`: lower case at the start, no final punctuation, one "?" at the end; "" where no token has a letter or
    a digit. Several sentences give several questions, as do main clauses joined by and, or, but.

    - auxiliary, copula or modal: it moves to the front ("a man is riding" -> "is a man riding?")
    - another finite verb: does, do or did and its base form ("a man ran" -> "did a man run?")
    - bare participle: is or are ("two men fighting" -> "are two men fighting?"); without a subject, "is someone
      riding a bike?"
    - no verb: "is there a red car on the street?", and "is it in the street?" where only a prepositional phrase is
      left; so has "a picture of a man riding a bike", because the picture does not ride
    - prepositional phrases and adverbs before the subject move to the end
    - a question (its first word is an auxiliary or a wh-word) stays one

    Text of another language has one of these forms too, whatever its tags.

    `literal`: D_firstverb + D1 + D2, lines 4 to 6 of Algorithm 2 as printed, one space apart: final punctuation is
    dropped, nothing is added, no letter changes its case ("is The man pushing a stroller on the street"). The first
    verb is the first token tagged VB* or MD. The sentence is unchanged, with its punctuation, if there is none.
    """
    tokens = [(_unquote(word), tag) for word, tag in tagged if word.strip()]
    if rule == "literal":
        return _literal(tokens)
    tokens = [(word, mend_tag(word, tag)) for word, tag in tokens]
    questions = [_sentence_question(sentence) for sentence in _sentences(tokens)]
    return " ".join(f"{question}?" for question in questions if question)


def _literal(tokens: list[Token]) -> str:
    first = next((i for i, (_, tag) in enumerate(tokens) if tag.startswith("VB") or tag == "MD"), None)
    if first is None:
        return _join(_plain(tokens))
    tokens = _strip_punctuation(tokens, at_start=False)
    return " ".join(_plain(tokens[first : first + 1] + tokens[:first] + tokens[first + 1 :]))


def _sentences(tokens: list[Token]) -> list[list[Token]]:
    sentences: list[list[Token]] = [[]]
    for token in tokens:
        if token[0].strip(".!?"):
            sentences[-1].append(token)
        else:
            sentences.append([])
    return sentences


def _sentence_question(sentence: list[Token]) -> str:
    tokens = _strip_punctuation(sentence, at_start=True)
    if not tokens and any(character.isalnum() for word, _ in sentence for character in word):
        # Nothing but a conjunction, which joins nothing.
        return _join(["is", "there", *_plain(sentence)])
    if len(tokens) > 1 and tokens[0][0] == tokens[-1][0] == '"':
        tokens = _strip_punctuation(tokens[1:-1], at_start=True)
    if not tokens:
        return ""
    tokens = [(_lower_first(*tokens[0]), tokens[0][1]), *tokens[1:]]
    if tokens[0][1] in ("WP", "WDT", "WP$") or tokens[0][0] in ("where", "why", "how"):
        return _join(_plain(tokens))
    words: list[str] = []
    for joiner, clause in split_clauses(tokens):
        words += [joiner, *_clause_question(_strip_punctuation(clause, at_start=True))]
    return _join(word for word in words if word)


def _clause_question(tokens: list[Token]) -> list[str]:
    if not tokens:
        return []
    clause = parse_clause(tokens)
    lead, subject, rest = (_plain(part) for part in (clause.lead, clause.subject, clause.body[clause.verb :]))
    number = number_of(clause.subject)
    if clause.kind == "none":
        if not subject:
            return ["is", "it", *lead]
        there = [] if clause.body[0][1] == "EX" else ["there"]
        return ["are" if number == "plural" else "is", *there, *subject, *lead]
    if clause.kind == "participle":
        return [*([_BE[number], *subject] if subject else ["is", "someone"]), *rest, *lead]
    if clause.kind == "auxiliary":
        front, after = _auxiliary(clause.body[clause.verb :])
        return [front, *subject, *_drop_repeated(front, after), *lead]
    (word, tag), after = clause.body[clause.verb], clause.body[clause.verb + 1 :]
    if not subject and lead and after:
        # The subject follows the verb: "in the street stands a man".
        return [_DO[tag], *_plain(after), base_form(word, tag), *lead]
    return [_DO[tag], *(subject or ["someone"]), base_form(word, tag), *_bases_of_joined(tag, after), *lead]


def _plain(tokens: Iterable[Token]) -> list[str]:
    return [word for word, _ in tokens]


def _auxiliary(tokens: list[Token]) -> tuple[str, list[Token]]:
    """Return the auxiliary that tokens start with, in full and with n't if it has one, and the tokens after it."""
    word, after = tokens[0][0].lower(), tokens[1:]
    if after and after[0][0].lower() == "n't":
        return f"{word}n't", after[1:]
    following = next((token for token in after if token[1] != "RB"), ("", ""))
    if word == "'s":
        return ("has" if following[0].lower() in ("been", "got", "had") else "is"), after
    if word == "'d":
        return ("had" if following[1] == "VBN" else "would"), after
    return _CONTRACTED.get(word, word), after


def _drop_repeated(front: str, tokens: list[Token]) -> list[str]:
    """Return the words without auxiliaries that repeat the one in front: "is a man sitting and (is) talking"."""
    return [
        word
        for i, (word, _) in enumerate(tokens)
        if not (i and word.lower() == front and front in FINITE_BE and tokens[i - 1][1] == "CC")
    ]


def _bases_of_joined(tag: str, tokens: list[Token]) -> list[str]:
    """Return the words with verbs joined to the main one in their base form too: "does a man walk and talk"."""
    words = _plain(tokens)
    for i, (word, other) in enumerate(tokens):
        before = i - 1
        while before > 0 and tokens[before][1] == "RB":
            before -= 1
        if other == tag and before >= 0 and (tokens[before][1] == "CC" or tokens[before][0] == ","):
            words[i] = base_form(word, tag)
    return words


def _unquote(word: str) -> str:
    return '"' if word in ("``", "''") else word.strip()


def _lower_first(word: str, tag: str) -> str:
    keeps = tag in ("NNP", "NNPS") or word == "I" or (len(word) > 1 and word.isupper())
    return word if keeps else word[:1].lower() + word[1:]


def _strip_punctuation(tokens: list[Token], *, at_start: bool) -> list[Token]:
    """Return tokens without punctuation at the end and, if asked, without it or a joining word at the start."""
    start, stop = 0, len(tokens)
    while stop and not _has_letter(tokens[stop - 1][0]) and tokens[stop - 1][0] not in ('"', ")", "]", "%"):
        stop -= 1
    while at_start and start < stop and (tokens[start][1] == "CC" or not _has_letter(tokens[start][0])):
        if tokens[start][0] in ('"', "(", "[", "$", "#"):
            break
        start += 1
    kept = tokens[start:stop]
    return kept if any(_has_letter(word) for word, _ in kept) else []


def _has_letter(word: str) -> bool:
    return any(map(str.isalnum, word))


def _join(words: Iterable[str]) -> str:
    """Return the sentence that tokens make: a space between two, but for punctuation and contractions."""
    text, in_quotes, glued = "", False, True
    for word in words:
        closes = word == '"' and in_quotes
        text += word if glued or closes or word.lower() in _NO_SPACE_BEFORE else f" {word}"
        glued = word in _NO_SPACE_AFTER or (word == '"' and not closes)
        in_quotes ^= word == '"'
    return text
