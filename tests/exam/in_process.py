"""A bug of bugs.toml in this very process, for as long as a test needs it.

The functions of its file whose code differs get that code; everybody who holds them then runs it, whenever they came by
them. Nothing is imported anew, so no class has a double.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from tests.exam.planting import CHECKOUT, Patch, patches, planted


def bug_named(name: str) -> Patch:
    """The bug of this name."""
    return next(bug for bug in patches() if bug.name == name)


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _function(module: Any, qualname: str) -> FunctionType | None:
    """The function of this name; None for a class, and for what is made anew with each call of a function."""
    found = module
    for name in qualname.split("."):
        if name.startswith("<"):
            return None
        found = vars(found)[name]
    found = found.fget if isinstance(found, property) else found
    return found if isinstance(found, FunctionType) else None


@contextmanager
def plant(bug: Patch) -> Iterator[None]:
    """The bug is there. Raises BadPatch where its line is gone."""
    path = Path(CHECKOUT, bug.file)
    source = path.read_text(encoding="utf-8")
    module = importlib.import_module(bug.file.removesuffix(".py").replace("/", "."))
    sound = {code.co_qualname: code for code in _codes(compile(source, str(path), "exec"))}
    sick = {code.co_qualname: code for code in _codes(compile(planted(source, bug), str(path), "exec"))}
    # A line more or less moves the code below it, which is the same all the same.
    # What is new is within a function that differs.
    differ = [name for name, code in sick.items() if name in sound and _moved(code) != _moved(sound[name])]
    changed = [(found, sick[name]) for name in differ if (found := _function(module, name)) is not None]
    assert changed, f"{bug.name} changes no function"
    before = [(function, function.__code__) for function, _ in changed]
    try:
        for function, code in changed:
            function.__code__ = code
        yield
    finally:
        for function, code in before:
            function.__code__ = code


def _moved(code: CodeType) -> tuple[object, ...]:
    """What a function does, wherever it stands."""
    constants = tuple(_moved(item) if isinstance(item, CodeType) else repr(item) for item in code.co_consts)
    return code.co_code, code.co_names, code.co_varnames, constants
