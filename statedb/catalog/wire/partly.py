"""Rows of an object of which some part could not be decoded."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from ._errors import WireError
from .addresses import canonical

R = TypeVar("R")


class PartlyRead(tuple[Any, ...]):
    """The rows of the parts that could be decoded (Any: of several types). ``faults`` name each bad part and its error.

    It equals the tuple of its rows.
    """

    faults: tuple[str, ...]

    @classmethod
    def of(cls, rows: Iterable[Any], faults: Sequence[str]) -> tuple[Any, ...]:
        """The rows, as a plain tuple if there are no faults."""
        if not faults:
            return tuple(rows)
        found = cls(rows)
        found.faults = tuple(faults)
        return found


def faults_of(rows: tuple[Any, ...]) -> tuple[str, ...]:
    """The faults of the object that these rows come from; empty if there are none."""
    return rows.faults if isinstance(rows, PartlyRead) else ()


def readable_address(text: str, faults: list[str], field: str, *places: int) -> str | None:
    """The canonical form of an address, or None if it is not one, which is then added to ``faults``.

    ``places`` are filled into ``field`` (``endpoints[{}].addresses[{}]``), only if there is a fault.
    """
    try:
        return canonical(text)
    except WireError as error:
        faults.append(f"{field.format(*places)}: {error}")
        return None
