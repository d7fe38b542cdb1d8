"""The arguments of the ``az`` commands that our pages name, as ``az`` itself declares them.

``az.json`` was taken from the parser of azure-cli 2.91.0; ``python -m tests.adf.az 'CALL'...``
takes it anew where that package is installed, which is 500 MB and so no dependency of ours. The
extension ``datafactory`` is no package: :data:`EXTENSION` was written by hand, by the declarations
in the extension's source.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import shlex
import sys
from pathlib import Path

TABLE = Path(__file__).with_name("az.json")
# https://github.com/Azure/azure-cli-extensions/tree/237bd72e/src/datafactory/azext_datafactory:
# generated/_params.py, and manual/_params.py for what `az datafactory` itself does with factories.
EXTENSION = {
    "datafactory list": [[["--resource-group", "-g"], False, None]],
    "datafactory pipeline create-run": [
        [["--factory-name"], True, None],
        [["--name", "--pipeline-name", "-n"], True, None],
        [["--resource-group", "-g"], True, None],
        [["--parameters"], False, None],
    ],
    "datafactory pipeline-run show": [
        [["--factory-name"], True, None],
        [["--resource-group", "-g"], True, None],
        [["--run-id"], True, None],
    ],
    "datafactory trigger start": [
        [["--factory-name"], True, None],
        [["--name", "--trigger-name", "-n"], True, None],
        [["--resource-group", "-g"], True, None],
    ],
    "datafactory trigger stop": [
        [["--factory-name"], True, None],
        [["--name", "--trigger-name", "-n"], True, None],
        [["--resource-group", "-g"], True, None],
    ],
}
GLOBAL = [[["--output", "-o"], False, None], [["--query"], False, None]]


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise ValueError(message)


def check(words):
    """Raise ValueError if ``az`` would not take these words, which begin after ``az``.

    A command that is only named, without an option, need only be one.
    """
    table = json.loads(TABLE.read_text()) | EXTENSION
    length = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    while length and " ".join(words[:length]) not in table:
        length -= 1
    if not length:
        raise ValueError(f"no command az {' '.join(words)}")
    if length == len(words):  # only named
        return
    parser = Parser(allow_abbrev=False)
    known = set()
    for options, is_required, nargs in [*table[" ".join(words[:length])], *GLOBAL]:
        if options and not known & set(options):
            known |= set(options)
            how = {"action": "store_true"} if nargs == 0 else {"nargs": nargs}
            parser.add_argument(*options, required=is_required, **how)
    parser.parse_args(words[length:])


def commands_in(path):
    """Return the ``az`` commands of a page or module: in blocks, and between backticks."""
    text = path.read_text()
    if path.suffix == ".py":
        text = "\n".join(_texts(ast.parse(text)))
    joined = re.sub(r"\\\n\s*", " ", text)
    inline = re.findall(r"`(az [^`]+)`", joined.replace("\n", " "))
    blocks = re.findall(r"^ *```\n(.*?)^ *```", joined, re.DOTALL | re.MULTILINE)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    shell = [found for line in lines for found in re.findall(r"(?:^|\$\()(az [^)#]+)", line)]
    return [shlex.split(command)[1:] for command in [*inline, *shell]]


def _texts(tree):
    """Yield the texts of a module, with a name for what is put into them."""
    inner = set()
    for node in ast.walk(tree):  # outer nodes come first
        if isinstance(node, ast.JoinedStr):
            inner.update(node.values)
            yield "".join(
                part.value if isinstance(part, ast.Constant) else "NAME" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inner:
            yield node.value


def record(samples):
    """Take the table from az's own parser: each sample is a call that it accepts."""
    from azure.cli.core import get_default_cli
    from azure.cli.core.parser import AzCliCommandParser

    table, parse = {}, AzCliCommandParser.parse_args

    class Parsed(Exception):
        pass

    def parse_args(self, args=None, namespace=None):
        found = parse(self, args, namespace)
        table[found.command] = [
            [sorted(action.option_strings), bool(action.required), action.nargs]
            for action in found._parser._actions
            if action.dest != "help"
        ]
        raise Parsed

    AzCliCommandParser.parse_args = parse_args
    for words in samples:
        try:
            get_default_cli().invoke(words)
        except Parsed:
            continue
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(table[k])}" for k in sorted(table))
    TABLE.write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    record([shlex.split(command) for command in sys.argv[1:]])
