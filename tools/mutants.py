"""Make small changes to random lines of the package: one operator at one place each."""

import ast
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip

Change = tuple[str, ast.AST, Callable[[], None]]  # name of the operator, where, and what changes the tree


def changes(tree: ast.AST) -> Iterator[Change]:
    """Yield all changes that can be made to a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPPED:
            yield "operator", node, partial(setattr, node, "op", SWAPPED[type(node.op)]())
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPPED:
            yield "comparison", node, partial(node.ops.__setitem__, 0, SWAPPED[type(node.ops[0])]())
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
            yield "sign", node, partial(replace, tree, node, node.operand)
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
            yield "constant", node, partial(setattr, node, "value", other_constant(node.value))
        elif isinstance(node, ast.Call) and is_ordered(node):
            yield "arguments", node, partial(node.args.__setitem__, slice(2), node.args[1::-1])
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield "dropped call", node, partial(replace, tree, node, ast.Pass())
        elif isinstance(node, ast.If) and not node.orelse:
            yield "condition", node, partial(setattr, node, "test", ast.Constant(False))


def is_ordered(call: ast.Call) -> bool:
    """Whether the first two arguments of a call can be exchanged, and that matters."""
    starred = any(isinstance(argument, ast.Starred) for argument in call.args[:2])
    commutes = isinstance(call.func, ast.Name) and call.func.id in ("min", "max")
    return len(call.args) > 1 and not starred and not commutes


def other_constant(value: Any) -> float:
    """Return a neighbour of a number, or the opposite of a truth value."""
    return not value if isinstance(value, bool) else float(value) + 1 if isinstance(value, float) else int(value) + 1


def replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    """Replace a node in a tree."""
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(item is old for item in value):
                setattr(parent, name, [new if item is old else item for item in value])


def mutants(root: Path, prefix: str, n: int, seed: int) -> Iterator[tuple[str, str, int, str]]:
    """Yield n random mutants below `prefix`, or all if there are fewer: name, file, line and the whole new text."""
    files = [path for path in sorted(root.rglob("*.py")) if str(path.relative_to(root.parent)).startswith(prefix)]
    every = [(path, i) for path in files for i in range(len(possible(path)[1]))]
    for path, i in random.Random(seed).sample(every, min(n, len(every))):
        tree, found = possible(path)
        operator, node, apply = found[i]
        before = ast.unparse(node)
        apply()
        file = str(path.relative_to(root.parent))
        line: int = node.lineno  # type: ignore[attr-defined]
        name = f"{file}:{line}: {operator} in {' '.join(before.split())[:70]}"
        yield name, file, line, ast.unparse(ast.fix_missing_locations(tree))


def possible(path: Path) -> tuple[ast.Module, list[Change]]:
    """Parse a file; return its tree and the changes that can be made to it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    annotated = {
        id(inner)
        for node in ast.walk(tree)
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if part is not None
        for inner in ast.walk(part)
    }
    return tree, [change for change in changes(tree) if id(change[1]) not in annotated]
