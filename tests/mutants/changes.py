"""What may be changed in a module, and the module with one of these changes."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from typing import NamedTuple

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Mod: ast.Mult,
}
_LEFT_OUT = ("__repr__", "__slots__")


class Mutant(NamedTuple):
    """One change: where, and what it makes of the code."""

    number: int
    line: int
    before: str
    after: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """For lists of judged mutants: the code itself, for line numbers move."""
        return f"{self.before} -> {self.after}"


Change = tuple[ast.AST, str, Callable[[], None], Callable[[], None]]
"""A node, how to tell of it afterwards, how to change it, and how to change it back."""


def mutants_of(source: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    tree = ast.parse(source)
    found = []
    for node, shown, change, back in _changes(tree):
        before = _text(node)
        change()
        mutated = ast.fix_missing_locations(copy.deepcopy(tree))
        after = shown or _text(node)
        back()
        if after != before:
            found.append(Mutant(0, getattr(node, "lineno", 0), before, after, mutated))
    found.sort(key=lambda mutant: mutant.line)
    return [mutant._replace(number=number) for number, mutant in enumerate(found)]


def _text(node: ast.AST) -> str:
    """The first line of the code."""
    return ast.unparse(node).partition("\n")[0]


def _changes(tree: ast.Module) -> Iterator[Change]:
    """Every change of every function. Annotations, docstrings, messages and ``__repr__`` are left as they are."""
    for function in _functions(tree):
        for block in _blocks(function):
            for place, statement in enumerate(block):
                if isinstance(statement, (ast.Expr, ast.Assign, ast.AugAssign, ast.Delete, ast.Raise)) and not (
                    isinstance(statement, ast.Expr)
                    and isinstance(statement.value, (ast.Constant, ast.Yield, ast.Await))
                ):
                    yield statement, "(nothing)", *_put(block, place, ast.Pass())
                if isinstance(statement, (ast.Break, ast.Continue)):
                    other = ast.Continue() if isinstance(statement, ast.Break) else ast.Break()
                    yield statement, _text(other), *_put(block, place, other)
        for node in _nodes(function):
            yield from _of_node(node)


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name not in _LEFT_OUT:
            yield node


def _blocks(function: ast.AST) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(function):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                yield block


def _nodes(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """All expressions and statements of the body, but those of messages and annotations."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, (ast.Raise, ast.JoinedStr)):
            continue
        skipped = [node.annotation] if isinstance(node, ast.AnnAssign) else []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "cast":
            skipped.append(node.args[0])
        waiting += [child for child in ast.iter_child_nodes(node) if child not in skipped]


def _of_node(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            if type(operator) in _COMPARED:
                yield node, "", *_put(node.ops, place, _COMPARED[type(operator)]())
    elif isinstance(node, ast.BoolOp):
        yield node, "", *_set(node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
        if isinstance(node.op, ast.And):
            for place in range(len(node.values)):
                yield node, "", *_put(node.values, place, ast.Constant(True))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node, _text(node.operand), *_set(node, "operand", ast.UnaryOp(ast.Not(), node.operand))
    elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in _COMPUTED:
        yield node, "", *_set(node, "op", _COMPUTED[type(node.op)]())
    elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int)):
        new = not node.value if isinstance(node.value, bool) else node.value + 1
        yield node, "", *_set(node, "value", new)
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        yield node, "", *_set(node, "value", ast.Constant(None))
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)) and not isinstance(node.test, (ast.Compare, ast.Constant)):
        if not (isinstance(node.test, ast.UnaryOp) and isinstance(node.test.op, ast.Not)):
            yield node, "", *_set(node, "test", ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.ExceptHandler):
        yield node, f"{_text(node)} raise", *_set(node, "body", [ast.Raise()])


def _put(things: list[ast.AST] | list[ast.stmt] | list[ast.cmpop] | list[ast.expr], place: int, new: ast.AST):  # type: ignore[no-untyped-def]
    return _steps(things.__setitem__, place, things[place], new)  # type: ignore[arg-type]


def _set(node: ast.AST, name: str, new: object):  # type: ignore[no-untyped-def]
    return _steps(lambda key, value: setattr(node, key, value), name, getattr(node, name), new)


def _steps(put: Callable[..., None], place: object, old: object, new: object):  # type: ignore[no-untyped-def]
    return (lambda: put(place, new)), (lambda: put(place, old))
