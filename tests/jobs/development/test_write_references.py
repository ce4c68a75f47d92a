import argparse
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from jobs.development.write_references import (
    allowed,
    cell,
    command_lines,
    commands_of,
    config_tables,
    option,
    rows_of,
)


class Inner(BaseModel):
    size: int = Field(gt=0, le=20000, description="how large, in `a<b` | <c>")


class Outer(BaseModel):
    name: str
    kind: Literal["a", "b"] = "a"
    limit: float | None = Field(None, ge=0.5, description="the most; null: none")
    inner: Inner = Inner(size=1)
    other: Inner | None = None


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (int, "whole number"),
        (bool, "`true` or `false`"),
        (float | None, "number or `null`"),
        (Literal["x", "y"], "`x`, `y`"),
        (Literal["x"] | None, "`x` or `null`"),
        (list[str] | None, "list of text or `null`"),
        (tuple[Literal["x", "y"], ...], "list of `x`, `y`"),
        (dict[str, Annotated[int, Field(ge=1)]], "map of names to whole number"),
        (dict[str, Any], "map of names to any value"),
    ],
)
def test_values_in_words(annotation, expected):
    assert allowed(annotation) == expected


def test_a_type_without_words_is_an_error():
    with pytest.raises(KeyError):
        allowed(bytes)


def test_rows_have_dotted_names_defaults_and_bounds():
    assert list(rows_of(Outer)) == [
        ("name", "required", "text", ""),
        ("kind", "`a`", "`a`, `b`", ""),
        ("limit", "`null`", "number or `null`, at least 0.5", "the most; null: none"),
        ("inner.size", "required", "whole number, above 0, at most 20,000", "how large, in `a<b` | <c>"),
        ("other.size", "required", "whole number, above 0, at most 20,000", "how large, in `a<b` | <c>"),
    ]


def test_each_part_has_a_table():
    lines = list(config_tables(Outer, "##", leave_out=("other",)))
    assert lines[:4] == [
        "| key | default | values | meaning |",
        "| --- | --- | --- | --- |",
        "| `name` | required | text |  |",
        "| `kind` | `a` | `a`, `b` |  |",
    ]
    assert lines[5:8] == ["", "## inner", ""]
    assert lines[-1].startswith("| `inner.size` | required |")
    assert "All of these may be left out together." in list(config_tables(Outer, "##"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a | b", "a \\| b"),
        ("two\n  lines", "two lines"),
        ("<output>/x", "&lt;output>/x"),
        ("`<output>` and <b>", "`<output>` and &lt;b>"),
    ],
)
def test_cells_are_plain(text, expected):
    assert cell(text) == expected


def parser():
    made = argparse.ArgumentParser(prog="tool")
    commands = made.add_subparsers()
    first = commands.add_parser("first", description="Do the first.", epilog="tool first --size 3")
    first.add_argument("--size", type=int, default=2, metavar="N", help="how many (default: %(default)s)")
    first.add_argument("--kind", choices=("a", "b"), required=True, help="which of %(prog)s")
    first.add_argument("-q", "--quiet", action="store_true")
    first.add_argument("folder", metavar="DIR")
    first.add_argument("more", nargs="?", metavar="MORE")
    group = commands.add_parser("group").add_subparsers()
    group.add_parser("second")
    return made


def test_commands_of_groups_are_found():
    assert [command.prog for command in commands_of(parser())] == ["tool first", "tool group second"]


def test_a_command_is_a_table_of_its_options():
    first = next(commands_of(parser()))
    assert list(command_lines(first)) == [
        "Do the first.",
        "",
        "| option | meaning |",
        "| --- | --- |",
        "| `[--size N]` | how many (default: 2) |",
        "| `--kind {a,b}` | which of tool first |",
        "| `[--quiet]` |  |",
        "| `DIR` |  |",
        "| `[MORE]` |  |",
        "",
        "```text",
        "tool first --size 3",
        "```",
    ]


def test_an_option_without_a_metavar_is_named_by_itself():
    made = argparse.ArgumentParser()
    assert option(made.add_argument("--some-thing")) == "[--some-thing SOME_THING]"
