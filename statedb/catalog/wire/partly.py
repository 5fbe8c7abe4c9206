"""Rows of an object of which some part could not be read."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from ._errors import WireError
from .addresses import canonical

R = TypeVar("R")


class PartlyRead(tuple[Any, ...]):
    """The rows of what could be read (Any: of several types). ``faults`` name each part that could not, and why.

    It equals the tuple of its rows.
    """

    faults: tuple[str, ...]

    @classmethod
    def of(cls, rows: Iterable[Any], faults: Sequence[str]) -> tuple[Any, ...]:
        """The rows, as a plain tuple where nothing is wrong with the object."""
        if not faults:
            return tuple(rows)
        found = cls(rows)
        found.faults = tuple(faults)
        return found


def faults_of(rows: tuple[Any, ...]) -> tuple[str, ...]:
    """What is wrong with the object of these rows; empty where all of it could be read."""
    return rows.faults if isinstance(rows, PartlyRead) else ()


def readable_address(text: str, faults: list[str], field: str, *places: int) -> str | None:
    """The canonical form of an address, or None where it is none: that is added to ``faults``.

    ``places`` are filled into ``field``, which is only spelled out where it is needed: ``endpoints[{}].addresses[{}]``.
    """
    try:
        return canonical(text)
    except WireError as error:
        faults.append(f"{field.format(*places)}: {error}")
        return None
