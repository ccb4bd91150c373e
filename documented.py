"""What help() says of a NamedTuple: its fields with their shapes and meanings, as they stand in the source.

>>> from closedform.theory.kernels.spectrum import Spectrum
>>> print(Spectrum.__doc__)  # doctest: +ELLIPSIS
The distinct eigenvalues of a kernel, their multiplicities, and the trace of the modes that are not listed.
<BLANKLINE>
Fields:
    eigenvalues: Float[Array, "*mode"]  # Lambda
    multiplicities: Float[Array, "*mode"]  # B, number of modes ...
    tail: Float[ArrayLike, ""]  # trace - sum of multiplicities * eigenvalues
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any, TypeVar

Kind = TypeVar("Kind", bound=type)


def documented(kind: Kind) -> Kind:
    """Adds the fields of a NamedTuple to its docstring. The source is read when someone asks, never at import."""
    kind.__doc__ = _Document(kind.__doc__ or "")  # pyright: ignore[reportAttributeAccessIssue]
    for field in kind._fields:
        getattr(kind, field).__doc__ = None  # not "Alias for field number 0"
    return kind


class _Document:
    """A docstring made when it is read."""

    def __init__(self, words: str):
        self.words = words

    def __get__(self, instance: Any, kind: type) -> str:
        return f"{inspect.cleandoc(self.words)}\n\nFields:\n{textwrap.indent(_fields(kind), '    ')}"


def _fields(kind: type) -> str:
    """The lines of the fields with their comments; without a source (a notebook's cell that is gone), the annotations."""
    try:
        source = textwrap.dedent(inspect.getsource(kind))
    except (OSError, TypeError):
        return "\n".join(f"{name}: {annotation}" for name, annotation in kind.__annotations__.items())
    (node,) = ast.parse(source).body
    assert isinstance(node, ast.ClassDef)
    fields = [part for part in node.body if isinstance(part, ast.AnnAssign)]
    return textwrap.dedent("\n".join(source.split("\n")[fields[0].lineno - 1 : fields[-1].end_lineno]))
