import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raypipe.language.clauses import number_of, parse_clause, split_clauses
from raypipe.language.questions import to_question


def tagged(text):
    """Return the tokens of "a/DT man/NN walks/VBZ"."""
    return [tuple(token.rsplit("/", 1)) for token in text.split()]


REPAIRED = [
    # Auxiliaries, copulas, modals.
    ("a/DT man/NN is/VBZ riding/VBG a/DT bike/NN", "is a man riding a bike?"),
    (
        "The/DT man/NN is/VBZ pushing/VBG a/DT stroller/NN on/IN the/DT street/NN ./.",
        "is the man pushing a stroller on the street?",
    ),
    ("two/CD men/NNS are/VBP tall/JJ", "are two men tall?"),
    ("a/DT man/NN can/MD swim/VB", "can a man swim?"),
    ("a/DT man/NN has/VBZ been/VBN walking/VBG", "has a man been walking?"),
    ("a/DT man/NN has/VBZ just/RB fallen/VBN", "has a man just fallen?"),
    ("a/DT man/NN does/VBZ not/RB walk/VB", "does a man not walk?"),
    ("a/DT man/NN is/VBZ n't/RB walking/VBG", "isn't a man walking?"),
    ("a/DT man/NN ca/MD n't/RB swim/VB", "can't a man swim?"),
    ("he/PRP 's/VBZ riding/VBG", "is he riding?"),
    ("he/PRP 's/VBZ been/VBN riding/VBG", "has he been riding?"),
    ("he/PRP 'd/MD fallen/VBN", "had he fallen?"),
    ("he/PRP 'd/MD fall/VB", "would he fall?"),
    ("they/PRP 're/VBP riding/VBG", "are they riding?"),
    ("I/PRP am/VBP walking/VBG", "am I walking?"),
    ("John/NNP is/VBZ walking/VBG", "is John walking?"),
    ("John/NNP 's/POS dog/NN is/VBZ walking/VBG", "is John's dog walking?"),
    # Have and do as main verbs.
    ("a/DT man/NN has/VBZ a/DT dog/NN", "does a man have a dog?"),
    ("a/DT man/NN had/VBD a/DT dog/NN", "did a man have a dog?"),
    ("a/DT man/NN does/VBZ a/DT trick/NN", "does a man do a trick?"),
    # Other finite verbs.
    ("a/DT man/NN walks/VBZ his/PRP$ dog/NN", "does a man walk his dog?"),
    ("a/DT man/NN ran/VBD", "did a man run?"),
    ("two/CD men/NNS walk/VBP", "do two men walk?"),
    ("two/CD men/NNS walk/VB", "do two men walk?"),
    ("a/DT man/NN quickly/RB runs/VBZ away/RB", "does a man quickly run away?"),
    ("a/DT man/NN walks/VBZ and/CC talks/VBZ", "does a man walk and talk?"),
    ("a/DT man/NN ran/VBD ,/, jumped/VBD and/CC then/RB fell/VBD", "did a man run, jump and then fall?"),
    ("walks/VBZ a/DT dog/NN", "does someone walk a dog?"),
    # Bare participles and the number of their subject.
    ("a/DT man/NN riding/VBG a/DT bike/NN", "is a man riding a bike?"),
    ("two/CD men/NNS fighting/VBG", "are two men fighting?"),
    ("a/DT man/NN and/CC a/DT woman/NN walking/VBG", "are a man and a woman walking?"),
    ("a/DT car/NN parked/VBN on/IN the/DT street/NN", "is a car parked on the street?"),
    ("a/DT man/NN slowly/RB walking/VBG", "is a man slowly walking?"),
    ("riding/VBG a/DT bike/NN", "is someone riding a bike?"),
    ("a/DT parked/VBN car/NN", "is there a parked car?"),
    ("parked/VBN cars/NNS", "are there parked cars?"),
    ("a/DT brightly/RB painted/VBN bus/NN", "is there a brightly painted bus?"),
    ("a/DT sign/NN for/IN parking/VBG", "is there a sign for parking?"),
    ("a/DT picture/NN of/IN a/DT man/NN riding/VBG", "is there a picture of a man riding?"),
    # A finite verb of the main clause goes before a participle.
    ("a/DT man/NN riding/VBG a/DT bike/NN is/VBZ smiling/VBG", "is a man riding a bike smiling?"),
    # Relative and subordinate clauses.
    ("a/DT man/NN who/WP is/VBZ running/VBG falls/VBZ", "does a man who is running fall?"),
    ("a/DT man/NN who/WP runs/VBZ is/VBZ tall/JJ", "is a man who runs tall?"),
    ("a/DT man/NN who/WP is/VBZ running/VBG", "is there a man who is running?"),
    ("a/DT bike/NN that/IN a/DT man/NN rides/VBZ is/VBZ red/JJ", "is a bike that a man rides red?"),
    ("a/DT man/NN sitting/VBG while/IN a/DT dog/NN runs/VBZ", "is a man sitting while a dog runs?"),
    ("while/IN it/PRP rains/VBZ ,/, a/DT man/NN runs/VBZ", "does a man run while it rains?"),
    ("as/IN the/DT sun/NN sets/VBZ a/DT man/NN runs/VBZ", "does a man run as the sun sets?"),
    # Several main clauses and sentences.
    (
        "a/DT man/NN is/VBZ sitting/VBG and/CC a/DT dog/NN runs/VBZ",
        "is a man sitting and does a dog run?",
    ),
    ("a/DT man/NN is/VBZ sitting/VBG and/CC is/VBZ talking/VBG", "is a man sitting and talking?"),
    ("a/DT dog/NN runs/VBZ ./. It/PRP is/VBZ brown/JJ ./.", "does a dog run? is it brown?"),
    # What stands before the subject moves to the end.
    ("in/IN the/DT street/NN a/DT man/NN is/VBZ walking/VBG", "is a man walking in the street?"),
    ("in/IN the/DT street/NN ,/, men/NNS walk/VBP", "do men walk in the street?"),
    ("slowly/RB ,/, a/DT man/NN walks/VBZ", "does a man walk slowly?"),
    ("behind/IN him/PRP a/DT man/NN walking/VBG", "is a man walking behind him?"),
    ("in/IN the/DT street/NN is/VBZ a/DT man/NN", "is a man in the street?"),
    ("in/IN the/DT street/NN stands/VBZ a/DT man/NN", "does a man stand in the street?"),
    # "there is" and no verb.
    ("there/EX is/VBZ a/DT man/NN", "is there a man?"),
    ("there/EX a/DT man/NN", "is there a man?"),
    ("a/DT red/JJ car/NN on/IN the/DT street/NN", "is there a red car on the street?"),
    ("two/CD cars/NNS", "are there two cars?"),
    ("in/IN the/DT street/NN a/DT man/NN", "is there a man in the street?"),
    ("in/IN the/DT street/NN", "is it in the street?"),
    ("a/DT dog/NN walk/VB", "is there a dog walk?"),
    # Questions stay questions.
    ("Is/VBZ a/DT man/NN walking/VBG ?/.", "is a man walking?"),
    ("Does/VBZ a/DT man/NN walk/VB ?/.", "does a man walk?"),
    ("What/WP is/VBZ the/DT man/NN doing/VBG ?/.", "what is the man doing?"),
    # Nothing, punctuation, quotes, joining words.
    ("", ""),
    ("./. ,/, !/.", ""),
    ("and/CC a/DT man/NN runs/VBZ ,/,", "does a man run?"),
    ("he/PRP said/VBD ``/`` stop/VB ''/''", 'did he say "stop"?'),
    ("a/DT bus/NN (/( red/JJ )/) stops/VBZ", "does a bus (red) stop?"),
]


@pytest.mark.parametrize(("tokens", "question"), REPAIRED)
def test_a_repaired_question(tokens, question):
    assert to_question(tagged(tokens)) == question


@pytest.mark.parametrize(
    ("tokens", "question"),
    [
        # The paper's example, and what its printed rule does to captions without an auxiliary.
        (
            "The/DT man/NN is/VBZ pushing/VBG a/DT stroller/NN on/IN the/DT street/NN ./.",
            "is The man pushing a stroller on the street",
        ),
        ("a/DT man/NN riding/VBG a/DT bike/NN", "riding a man a bike"),
        ("a/DT man/NN walks/VBZ", "walks a man"),
        ("a/DT man/NN can/MD swim/VB", "can a man swim"),
        ("a/DT man/NN is/VBZ n't/RB walking/VBG", "is a man n't walking"),
        ("A/DT red/JJ car/NN ,/, a/DT bus/NN ./.", "A red car, a bus."),
        ("", ""),
    ],
)
def test_a_literal_question(tokens, question):
    assert to_question(tagged(tokens), "literal") == question


@pytest.mark.parametrize(
    ("subject", "number"),
    [
        ("a/DT man/NN", "singular"),
        ("the/DT men/NNS", "plural"),
        ("one/CD man/NN", "singular"),
        ("two/CD sheep/NN", "plural"),
        ("several/JJ fish/NN", "plural"),
        ("people/NN", "plural"),
        ("they/PRP", "plural"),
        ("he/PRP", "singular"),
        ("I/PRP", "first"),
        ("a/DT man/NN with/IN two/CD dogs/NNS", "singular"),
        ("a/DT group/NN of/IN people/NNS", "singular"),
        ("a/DT couple/NN of/IN men/NNS", "plural"),
        ("a/DT couple/NN", "singular"),
        ("a/DT lot/NN of/IN cars/NNS", "plural"),
        ("one/CD of/IN the/DT men/NNS", "singular"),
        ("a/DT black/JJ and/CC white/JJ dog/NN", "singular"),
        ("a/DT man/NN ,/, woman/NN and/CC child/NN", "plural"),
        ("a/DT man/NN in/IN a/DT suit/NN and/CC tie/NN", "singular"),
        ("a/DT man/NN in/IN a/DT suit/NN and/CC a/DT hat/NN", "singular"),
        ("a/DT man/NN in/IN a/DT suit/NN and/CC a/DT young/JJ woman/NN", "plural"),
        ("a/DT car/NN on/IN a/DT road/NN and/CC a/DT truck/NN", "plural"),
        ("a/DT table/NN with/IN a/DT cup/NN and/CC a/DT plate/NN", "singular"),
        ("", "singular"),
    ],
)
def test_number_of_a_subject(subject, number):
    assert number_of(tagged(subject)) == number


def test_the_parts_of_a_clause():
    clause = parse_clause(tagged("in/IN the/DT street/NN a/DT man/NN walks/VBZ"))
    assert (clause.lead, clause.kind) == (tagged("in/IN the/DT street/NN"), "main")
    assert (clause.subject, clause.body[clause.verb]) == (tagged("a/DT man/NN"), ("walks", "VBZ"))


@pytest.mark.parametrize(
    ("tokens", "clauses"),
    [
        ("a/DT man/NN sits/VBZ and/CC a/DT dog/NN runs/VBZ", [("", 3), ("and", 3)]),
        # A woman is: her own clause; a woman are: part of the subject.
        ("a/DT man/NN sitting/VBG and/CC a/DT woman/NN is/VBZ standing/VBG", [("", 3), ("and", 4)]),
        ("a/DT man/NN sitting/VBG and/CC a/DT woman/NN are/VBP talking/VBG", [("", 8)]),
        ("a/DT man/NN and/CC a/DT woman/NN are/VBP talking/VBG", [("", 7)]),
        ("a/DT man/NN sits/VBZ and/CC talks/VBZ", [("", 5)]),
        (
            "a/DT man/NN sits/VBZ and/CC a/DT man/NN and/CC a/DT woman/NN are/VBP talking/VBG",
            [("", 3), ("and", 7)],
        ),
        ("a/DT man/NN holds/VBZ a/DT bat/NN and/CC a/DT ball/NN that/WDT is/VBZ red/JJ", [("", 11)]),
    ],
)
def test_main_clauses_are_split(tokens, clauses):
    assert [(joiner, len(clause)) for joiner, clause in split_clauses(tagged(tokens))] == clauses


TAGS = [
    "DT",
    "NN",
    "NNS",
    "NNP",
    "JJ",
    "IN",
    "TO",
    "RB",
    "CC",
    "CD",
    "EX",
    "PRP",
    "PRP$",
    "POS",
    "VB",
    "VBZ",
    "VBP",
    "VBD",
    "VBN",
    "VBG",
    "MD",
    "WP",
    "WDT",
    "WRB",
    ".",
    ",",
    "``",
    "''",
    ":",
    "XX",
]
WORDS = ["a", "is", "n't", "'s", "'d", "has", "does", "not", "and", "while", "as", "there", "that", "of", '"', "(", ""]


@given(st.lists(st.tuples(st.sampled_from(WORDS) | st.text(max_size=4), st.sampled_from(TAGS)), max_size=12))
@example([("0", "EX")])
@example([("a", "CC")])
@example([("as", "IN"), ("is", "VBZ")])
def test_any_tokens_give_one_question_or_nothing(tokens):
    question = to_question(tokens)
    has_letter = any(character.isalnum() for word, _ in tokens for character in word)
    assert question.endswith("?") == has_letter
    assert has_letter or question == ""
    assert isinstance(to_question(tokens, "literal"), str)


@given(
    st.lists(
        st.sampled_from(tagged("a/DT man/NN two/CD men/NNS red/JJ in/IN walking/VBG is/VBZ walks/VBZ")), min_size=1
    )
)
def test_no_word_is_lost(tokens):
    words = set(to_question(tokens).removesuffix("?").split())
    # The one word that may change is the verb.
    assert {word for word, _ in tokens} - words <= {"walks"}


def test_a_sentence_of_12_000_tokens():
    clause = tagged("a/DT man/NN is/VBZ walking/VBG and/CC")
    question = to_question(clause * 2000)
    assert question.count("is a man walking") == 2000
