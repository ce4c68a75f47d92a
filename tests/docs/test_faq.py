import re

from tests.docs.pages import ROOT, prose


def answers():
    """Return the answers of the FAQ by their questions, without code blocks."""
    parts = re.split(r"^#{2,3} (.+)$", prose(ROOT / "docs" / "faq.md"), flags=re.MULTILINE)
    found = zip(parts[1::2], parts[2::2], strict=True)
    return {question: answer.strip() for question, answer in found if "?" in question}


def test_there_are_twenty_questions_and_more():
    assert len(answers()) > 20


def test_answers_are_two_to_five_sentences():
    lengths = {question: len(re.findall(r"[.?!](?=\s|$)", answer)) for question, answer in answers().items()}
    assert {question: length for question, length in lengths.items() if not 2 <= length <= 5} == {}
