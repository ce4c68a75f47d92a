"""What `--help` says of the command line: every command is listed by its purpose, and has examples that are right."""

import argparse
import shlex
import subprocess
import sys
from itertools import takewhile

import pytest

from raypipe import __version__
from raypipe.cli.main import PURPOSES, build_parser, main
from raypipe.cli.options import EXAMPLES


def parsers_of(parser):
    """Return all parsers below a parser, those of groups too, by the words that call them."""
    found = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                found |= {command.prog: command} | parsers_of(command)
    return found


PARSERS = parsers_of(build_parser())


def examples_of(parser):
    return [line.strip() for line in parser.epilog.removeprefix(EXAMPLES).splitlines()]


def test_all_parsers_are_looked_at():
    assert {"raypipe run", "raypipe weights", "raypipe weights convert", "raypipe pretrain smm"} <= set(PARSERS)
    assert len(PARSERS) >= 24


@pytest.mark.parametrize("prog", PARSERS)
def test_every_command_has_examples_of_itself_that_parse(prog):
    parser = PARSERS[prog]
    assert parser.epilog.startswith(EXAMPLES)
    for line in examples_of(parser):
        assert line.startswith(f"{prog} ") or line == prog
        own = takewhile(lambda word: word != ">", shlex.split(line)[1:])
        assert build_parser().parse_args(list(own)).work


@pytest.mark.parametrize("prog", PARSERS)
def test_help_ends_with_the_examples_as_they_are(prog, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    with pytest.raises(SystemExit) as ended:
        main([*prog.split()[1:], "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.endswith(f"{PARSERS[prog].epilog}\n")


def test_commands_are_listed_once_by_purpose_with_a_line_each(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    names = [name for group in PURPOSES.values() for name in group]
    assert sorted(names) == sorted(prog.removeprefix("raypipe ") for prog in PARSERS if prog.count(" ") == 1)
    for purpose, group in PURPOSES.items():
        listed = said.split(f"\n{purpose}:\n")[1].splitlines()[: len(group)]
        assert [line.split()[0] for line in listed] == list(group)
        assert all(len(line.split()) > 3 for line in listed)
    lines = [line.strip() for line in said.split(EXAMPLES)[1].split("\n\n")[0].splitlines()]
    for line in lines:
        own = list(takewhile(lambda word: word != ">", shlex.split(line)[1:]))
        assert own == ["COMMAND", "--help"] or build_parser().parse_args(own).work


def test_the_package_is_the_command(tmp_path):
    def called(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "raypipe", *arguments], capture_output=True, text=True, cwd=tmp_path
        )

    assert called("--version").stdout == f"raypipe {__version__}\n"
    assert called("--help").stdout.startswith("usage: raypipe [-h]")
    refused = called("run")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "raypipe: run needs --config FILE; `raypipe run --example` prints one\n"
