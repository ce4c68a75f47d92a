"""Write the reference pages of the docs from the code: every key of the configs, and every command.

    python -m jobs.development.write_references

A test compares the committed pages with what this writes.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from raypipe.ablation.plan import Ablation, Variation
from raypipe.cli.main import build_parser
from raypipe.config.run import RunConfig
from raypipe.pretraining.blip2_config import Blip2TrainingConfig
from raypipe.pretraining.detector import DetectorTrainingConfig
from raypipe.pretraining.labelling import LabelVqaConfig
from raypipe.pretraining.state_machine_config import SmmConfig

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
RECIPES: dict[str, type[BaseModel]] = {
    "raypipe pretrain smm": SmmConfig,
    "raypipe pretrain blip2": Blip2TrainingConfig,
    "raypipe pretrain labels": LabelVqaConfig,
    "raypipe pretrain detector": DetectorTrainingConfig,
}
# The same in every config; described with the run's.
SHARED = ("tracking", "ray")

WRITTEN_BY = "<!-- Written by `python -m jobs.development.write_references`: change the code, not this page. -->"
RUN_INTRO = """\
A run is one YAML file. This page lists every key. Unknown keys are refused. Relative paths start at the folder in \
which the command runs. `--set key=value` overrides a key on the command line, as in `--set score.model=knn`."""
RECIPES_INTRO = """\
Each training of the models behind the features takes one YAML file, too. [Training](../training.md) explains \
them. The keys of `tracking` and `ray`, where a recipe has them, are [those of a run](config.md#tracking)."""
COMMANDS_INTRO = """\
`raypipe COMMAND --help` prints the same. Options in brackets may be left out. The exit code is 0 if all is well, 1 \
after a failure, 2 after a mistake in the call, the config or the data, 3 if some videos or segments became dead \
letters, and 130 after an interrupt."""

KINDS = {int: "whole number", float: "number", bool: "`true` or `false`", str: "text", Any: "any value"}
BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}


def allowed(annotation: Any) -> str:
    """Return in words what values a type has: its kind, or the values of a Literal."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return allowed(arguments[0])
    if origin in (Union, UnionType):
        return " or ".join("`null`" if kind is NoneType else allowed(kind) for kind in arguments)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is dict:
        return f"map of names to {allowed(arguments[1])}"
    if origin in (tuple, list):
        return f"list of {allowed(arguments[0])}"
    return KINDS[annotation]


def bounds(field: FieldInfo) -> str:
    """Return the bounds of a number in words, or an empty text."""
    found = {name: getattr(mark, name) for mark in field.metadata for name in BOUNDS if hasattr(mark, name)}
    return ", ".join(BOUNDS[name].format(f"{value:,}" if value > 9999 else value) for name, value in found.items())


def part_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a part of a config, which may be optional; None for a plain value."""
    kinds = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
    return next((kind for kind in kinds if issubclass(kind, BaseModel)), None)


def rows_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield every key below a model: its dotted name, its default as YAML has it, what it may be, what it means."""
    for name, field in model.model_fields.items():
        part = part_of(field.annotation)
        if part:
            yield from rows_of(part, f"{prefix}{name}.")
            continue
        default = "required" if field.is_required() else f"`{json.dumps(field.default).strip(chr(34)) or chr(34) * 2}`"
        values = ", ".join(filter(None, (allowed(field.annotation), bounds(field))))
        yield f"{prefix}{name}", default, values, field.description or ""


def config_tables(model: type[BaseModel], heading: str, *, leave_out: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the lines of a model's tables: its own keys first, then one table for each of its parts."""
    own = {name: field for name, field in model.model_fields.items() if part_of(field.annotation) is None}
    everything = list(rows_of(model))
    yield from table(("key", "default", "values", "meaning"), [row for row in everything if row[0] in own])
    for name, field in model.model_fields.items():
        if name in own or name in leave_out:
            continue
        rows = [row for row in everything if row[0].startswith(f"{name}.")]
        yield from ("", f"{heading} {name}", "")
        if NoneType in get_args(field.annotation):
            yield from ("All of these may be left out together.", "")
        yield from table(("key", "default", "values", "meaning"), rows)


def table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield the lines of a Markdown table; the first cell of each row is code."""
    yield f"| {' | '.join(titles)} |"
    yield f"|{' --- |' * len(titles)}"
    for first, *others in rows:
        yield f"| {' | '.join([f'`{first}`', *map(cell, others)])} |"


def cell(text: str) -> str:
    """Return a text as a cell of a Markdown table: bars and angle brackets lose their meaning, outside of code too."""
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    return "`".join(part if number % 2 else part.replace("<", "&lt;") for number, part in enumerate(parts))


def config_page() -> str:
    """Return the page of a run's keys, with those of an ablation at its end."""
    lines = [WRITTEN_BY, "", "# Config reference", "", RUN_INTRO, "", *config_tables(RunConfig, "##")]
    lines += ["", "## An ablation's file", "", "[Ablations](../ablations.md) has an example.", ""]
    plain = [row for row in rows_of(Ablation) if row[0] in Ablation.model_fields]
    rows = [*plain, *((f"variations[].{key}", *others) for key, *others in rows_of(Variation))]
    return "\n".join([*lines, *table(("key", "default", "values", "meaning"), rows)]) + "\n"


def recipes_page() -> str:
    """Return the page of the keys of the training recipes."""
    lines = [WRITTEN_BY, "", "# Recipe reference", "", RECIPES_INTRO]
    for name, model in RECIPES.items():
        lines += ["", f"## `{name}`", "", *config_tables(model, "###", leave_out=SHARED)]
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """Return the page of all commands with their options."""
    parser = build_parser()
    lines = [WRITTEN_BY, "", "# Command reference", "", COMMANDS_INTRO]
    for command in commands_of(parser):
        lines += ["", f"## {command.prog}", "", *command_lines(command)]
    return "\n".join(lines) + "\n"


def commands_of(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parsers of all commands below a parser that have no commands of their own, in their order."""
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not nested:
        yield parser
    for action in nested:
        for command in action.choices.values():
            yield from commands_of(command)


def command_lines(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield what a command's parser says: the description, a table of its options, the examples."""
    if parser.description:
        yield from (cell(parser.description), "")
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    yield from table(("option", "meaning"), [(option(action), meaning(action, parser.prog)) for action in actions])
    if parser.epilog:
        yield from ("", "```text", parser.epilog.strip(), "```")


def option(action: argparse.Action) -> str:
    """Return how an option is written, in brackets where it may be left out."""
    value = action.metavar or (
        "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    )
    if not action.option_strings:
        return f"[{value}]" if action.nargs == "?" else f"{value}"
    text = action.option_strings[-1] if action.nargs == 0 else f"{action.option_strings[-1]} {value}"
    return text if action.required else f"[{text}]"


def meaning(action: argparse.Action, prog: str) -> str:
    """Return the help of an option with its placeholders filled in."""
    return (action.help or "") % (vars(action) | {"prog": prog})


PAGES = {"config.md": config_page, "recipes.md": recipes_page, "commands.md": commands_page}


def main() -> int:
    """Write all pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())
        print(f"wrote docs/reference/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
