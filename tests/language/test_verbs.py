import pytest

from raypipe.language.verbs import PAST, PAST_PARTICIPLE, base_form

PASTS = """
walked walk|hiked hike|parked park|skated skate|hopped hop|rolled roll|passed pass|crossed cross|dressed dress
filled fill|added add|nodded nod|chatted chat|guided guide|loaded load|changed change|banged bang|lounged lounge
managed manage|charged charge|wobbled wobble|curled curl|growled growl|smiled smile|traveled travel|travelled travel
sailed sail|scaled scale|cycled cycle|stared stare|fired fire|explored explore|gathered gather|appeared appear
poured pour|steered steer|stirred stir|captured capture|floated float|created create|waited wait|visited visit
invited invite|noted note|shouted shout|saluted salute|greeted greet|baked bake|looked look|faded fade|avoided avoid
named name|climbed climb|joined join|lined line|tuned tune|opened open|phoned phone|shaped shape|galloped gallop
looped loop|bathed bathe|washed wash|played play|boxed box|argued argue|danced dance|used use|posed pose|raised raise
tied tie|tried try|carried carry|skied ski|freed free|required require|quoted quote|patrolled patrol|pedalled pedal
hugged hug|grazed graze|buzzed buzz|sniffed sniff|purred purr|swerved swerve|judged judge|parachuted parachute
queued queue|died die|whistled whistle|wasted waste|graduated graduate|panicked panic|tiptoed tiptoe
typed type|leaned lean|leapt leap|styled style|wreathed wreathe
ate eat|ran run|lay lie|laid lay|found find|saw see|were be|was be|had have|did do|hit hit|rode ride|wore wear
""".strip().replace("\n", "|")


@pytest.mark.parametrize("pair", PASTS.split("|"))
def test_base_form_of_a_past(pair):
    past, base = pair.split()
    assert base_form(past, "VBD") == base


@pytest.mark.parametrize(
    "pair",
    """walks walk|rides ride|watches watch|passes pass|goes go|crosses cross|dances dance|uses use|closes close
    tries try|ties tie|lies lie|flies fly|fixes fix|buzzes buzz|gazes gaze|has have|does do|skis ski|plays play
    sees see|carries carry|pushes push|races race|freezes freeze|echoes echo|canoes canoe|is be""".replace(
        "\n", "|"
    ).split("|"),
)
def test_base_form_of_a_third_person(pair):
    form, base = pair.split()
    assert base_form(form, "VBZ") == base


@pytest.mark.parametrize(
    ("word", "tag", "base"),
    [
        ("driven", "VBN", "drive"),
        ("worn", "VBN", "wear"),
        ("parked", "VBN", "park"),
        ("lay", "VBP", "lay"),  # The base form is left alone, though it is also a past.
        ("Walks", "VBZ", "walk"),
        ("walks", "NNS", "walks"),
        ("red", "VBD", "red"),
        ("glass", "VBZ", "glass"),
        ("", "VBD", ""),
        ("ed", "VBD", "ed"),
        ("s", "VBZ", ""),
    ],
)
def test_what_other_tags_and_odd_words_give(word, tag, base):
    assert base_form(word, tag) == base


def test_every_irregular_past_leads_back_to_a_verb_of_the_table():
    assert len(PAST) > 150
    for base, past in PAST.items():
        # "lay" is the past of lie and a base form, "saw" the past of see and a base form: both have one answer.
        assert base_form(past, "VBD") == base
        assert base_form(PAST_PARTICIPLE[base], "VBN") == base
