"""What the docs tell a user to type is there: commands parse, scripts and targets exist, configs are valid."""

import re
import shlex
from importlib.util import find_spec
from itertools import takewhile

import pytest
import yaml

from jobs.development.write_references import commands_of
from raypipe.ablation.plan import Ablation
from raypipe.cli.main import build_parser
from raypipe.config.run import load_config
from tests.docs.pages import PAGES, ROOT, blocks, command_lines, page_name, prose

# A shell loop's variable, of which any value will do.
VARIABLE = re.compile(r"\$\w+")
COMMANDS = {command.prog for command in commands_of(build_parser())}
GROUPS = {name.rpartition(" ")[0] for name in COMMANDS if name.count(" ") > 1}


def typed(start):
    """Return (page, line) of all lines in the docs that start with a word."""
    found = []
    for page in PAGES:
        lines = [line.strip().removeprefix("$ ") for line in command_lines(page)]
        found += [(page_name(page), line) for line in lines if line.startswith(f"{start} ")]
    return found


def parse(line):
    words = shlex.split(VARIABLE.sub("1", line), comments=True)
    # What follows is the shell's: a file that takes the output, or another command.
    own = takewhile(lambda word: word not in (">", "|", "&", "&&"), words[1:])
    return build_parser().parse_args(list(own))


@pytest.mark.parametrize(("page", "line"), typed("raypipe"))
def test_commands_parse(page, line):
    assert parse(line).command


def test_a_wrong_command_does_not_parse(capsys):
    with pytest.raises(SystemExit):
        parse("raypipe run --confg mine.yaml")
    assert "--confg" in capsys.readouterr().err


def test_many_commands_were_found():
    used = {line.split()[1] for _, line in typed("raypipe")}
    assert {"run", "extract", "train", "score", "evaluate", "plan", "status", "report", "render", "demo"} <= used
    assert {"ablate", "export", "datasets", "weights", "pretrain"} <= used


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_commands_that_text_names_exist(page):
    for name in re.findall(r"`raypipe ([a-z0-9]+(?: [a-z0-9]+)?)", prose(page)):
        known = any(f"raypipe {part}" in COMMANDS | GROUPS for part in (name, name.split()[0]))
        assert known, name


@pytest.mark.parametrize(("page", "line"), typed("python"))
def test_scripts_that_are_called_exist(page, line):
    words = shlex.split(line, comments=True)
    if words[1] == "-m":
        assert find_spec(words[2]), words[2]
    else:
        assert (ROOT / words[1]).is_file(), words[1]


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {line.split()[1] for _, line in typed("make")}
    assert {"lint", "test", "docs"} <= named <= targets


def configs():
    for page in PAGES:
        for number, text in enumerate(blocks(page, "yaml")):
            yield pytest.param(text, id=f"{page_name(page)}-{number}")


@pytest.mark.parametrize("text", configs())
def test_configs_are_valid(text, tmp_path):
    document = yaml.safe_load(text)
    if "base" in document:
        ablation = Ablation.model_validate(document, strict=False)
        document = ablation.base
    # A part of a config is shown where the rest does not matter.
    whole = {"dataset": {"root": "data"}, "output": "runs/mine", "detector": {"kind": "boxes", "boxes_root": "boxes"}}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(whole | document))
    assert load_config(path)


def test_python_examples_compile():
    examples = [text for page in PAGES for text in blocks(page, "python")]
    assert examples
    for text in examples:
        compile(text, "<docs>", "exec")


def test_the_readme_names_every_command():
    readme = (ROOT / "README.md").read_text()
    missing = [name for name in COMMANDS if f"`{name}" not in readme and f"`{name.rpartition(' ')[0]}`" not in readme]
    assert not missing
