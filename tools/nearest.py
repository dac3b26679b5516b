"""Find the tests nearest to a line of the package, by the names that functions mention; nothing is run."""

import ast
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

MOST = 12  # tests for a line
FARTHEST = 5  # calls between a test and the line
COMMON = 2  # files that may define a name which is followed everywhere; others only into what imports them


@dataclass(frozen=True, eq=False)
class Function:
    """A function, method or statement of a module: where it is, what it is called, and the names that it mentions."""

    file: str
    names: frozenset[str]
    lines: range
    mentions: frozenset[str]

    @property
    def is_test(self) -> bool:
        """Whether pytest runs it."""
        return self.file.startswith("tests/test_") and any(name.startswith("test_") for name in self.names)


class Tests:
    """All functions of the package and of the tests."""

    def __init__(self, root: Path) -> None:
        self.functions: list[Function] = []
        self.imports: dict[str, set[str]] = {}
        for path in sorted([*(root / "segan_cli").rglob("*.py"), *(root / "tests").glob("*.py")]):
            file, tree = str(path.relative_to(root)), ast.parse(path.read_text(encoding="utf-8"))
            self.imports[file] = set(imported(tree)) | {f"segan_cli.cli.{word}" for word in words([*ast.walk(tree)])}
            self.functions += functions(file, tree)

    @cached_property
    def by_mention(self) -> dict[str, list[Function]]:
        """The functions that mention a name."""
        found = defaultdict(list)
        for function in self.functions:
            for name in function.mentions:
                found[name].append(function)
        return found

    @cached_property
    def n_files(self) -> dict[str, int]:
        """In how many files of the package a name is defined."""
        files = defaultdict(set)
        for function in self.functions:
            for name in function.names:
                files[name].add(function.file)
        return {name: len(defined) for name, defined in files.items()}

    def nearest(self, file: str, line: int) -> list[str]:
        """Return the tests from which the fewest calls lead to a line, nearest first."""
        module = [function for function in self.functions if function.file == file]
        near = self.tests_of([function for function in module if line in function.lines][-1:])
        return near or self.tests_of(module)

    def tests_of(self, front: list[Function]) -> list[str]:
        """Return the tests that lead to functions, of equally near ones first those that share most names with them."""
        seen, found = set(front), list[Function]()
        names = frozenset[str]().union(*(function.mentions for function in front))
        for _ in range(FARTHEST):
            front = [caller for function in front for caller in self.callers(function) if caller not in seen]
            front = list(dict.fromkeys(front))
            seen |= set(front)
            tests = [function for function in front if function.is_test]
            found += sorted(tests, key=lambda test: -len(test.mentions & names))
            front = [function for function in front if not function.is_test]
        return [f"{function.file}::{next(iter(function.names))}" for function in found[:MOST]]

    def callers(self, function: Function) -> list[Function]:
        """Return what mentions a function, and may mean it."""
        module = function.file.removesuffix(".py").removeprefix("tests/").replace("/", ".")
        return [
            caller
            for name in function.names
            for caller in self.by_mention[name]
            if caller is not function
            and (self.n_files[name] <= COMMON or caller.file == function.file or module in self.imports[caller.file])
        ]


def imported(tree: ast.Module) -> list[str]:
    """Return the modules that a module imports, anywhere in it."""
    nodes = list(ast.walk(tree))
    found = [
        f"{node.module}.{alias.name}" for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    found += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return found + [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]


def functions(file: str, tree: ast.Module) -> list[Function]:
    """Return the functions and other statements of a module."""
    found = []
    for statement in tree.body:
        members = [node for node in ast.walk(statement) if isinstance(node, ast.FunctionDef) and node is not statement]
        for node in (statement, *members):
            nodes = list(ast.walk(node))
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            name = str(getattr(node, "name", ""))
            names = {name} if name else stored(nodes)
            if name.startswith("_") and isinstance(statement, ast.ClassDef):
                names = {statement.name}  # a method that is called by none, or by its class alone
            lines = range(first, (node.end_lineno or first) + 1)
            mentions = mentioned(nodes) | (arguments(nodes) if file.startswith("tests/") else set())
            found.append(Function(file, frozenset(names), lines, frozenset(mentions)))
    return found


def stored(nodes: list[ast.AST]) -> set[str]:
    """Return the names that statements define."""
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def mentioned(nodes: list[ast.AST]) -> set[str]:
    """Return the names that a function uses, words of a command among them, without its variables."""
    names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)} - stored(nodes)
    return names | {node.attr for node in nodes if isinstance(node, ast.Attribute)} | words(nodes)


def arguments(nodes: list[ast.AST]) -> set[str]:
    """Return the names of arguments, which are fixtures in tests."""
    return {node.arg for node in nodes if isinstance(node, ast.arg)}


def words(nodes: list[ast.AST]) -> set[str]:
    """Return the texts in statements, for commands among them."""
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
