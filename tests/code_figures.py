"""Figures of the code itself: ``python -m tests.code_figures`` prints how long things are."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
PACKAGES = ("engine", "batchjobs")
MAX_LINES, MAX_PARAMETERS = 60, 8


@dataclass(frozen=True)
class Function:
    """``num_lines`` with signature and docstring; parameters without ``self``."""

    where: str
    num_lines: int
    num_parameters: int
    is_command: bool


def functions() -> Iterator[Function]:
    for path in modules():
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield _function(path, node)


def modules() -> list[Path]:
    return [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]


def _function(path: Path, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Function:
    arguments = node.args
    names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    decorators = [ast.unparse(item) for item in node.decorator_list]
    return Function(
        where=f"{path.relative_to(ROOT)}:{node.lineno} {node.name}",
        num_lines=(node.end_lineno or 0) - node.lineno + 1,
        num_parameters=sum(name.arg not in ("self", "cls") for name in names),
        is_command=any("command" in item or "click." in item for item in decorators),
    )


def too_long() -> list[str]:
    return [f"{f.where}: {f.num_lines} lines" for f in functions() if f.num_lines > MAX_LINES]


def too_many_parameters() -> list[str]:
    """But for the façade and commands, whose parameters are the users' words."""
    return [
        f"{f.where}: {f.num_parameters} parameters"
        for f in functions()
        if f.num_parameters > MAX_PARAMETERS
        and not f.is_command
        and not f.where.startswith("engine/__init__")
    ]


def main() -> None:
    lines = sorted((len(path.read_text().splitlines()), path) for path in modules())
    found = sorted(functions(), key=lambda f: f.num_lines)
    num_lines, largest = lines[-1]
    print(f"{len(lines)} modules, {sum(size for size, _ in lines):,} lines")
    print(f"  median {median(size for size, _ in lines):.0f} lines")
    print(f"  largest {num_lines}: {largest.relative_to(ROOT)}")
    print(f"{len(found)} functions")
    print(f"  median {median(f.num_lines for f in found):.0f} lines")
    print(f"  largest {found[-1].num_lines}: {found[-1].where}")
    for name, problems in (
        (f"over {MAX_LINES} lines", too_long()),
        (f"over {MAX_PARAMETERS} parameters", too_many_parameters()),
    ):
        print(f"  {name}: {len(problems)}")
        for problem in problems:
            print(f"    {problem}")


if __name__ == "__main__":
    main()
