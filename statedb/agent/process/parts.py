"""Several parts that an agent starts and stops as one consumer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar


class Part(Protocol):
    """A derivation, or a writer."""

    @property
    def health(self) -> str:
        """The state in one line."""
        ...

    @property
    def crash(self) -> BaseException | None:
        """The exception that ended it."""
        ...

    def start(self) -> None:
        """Start its threads."""
        ...

    def stop(self) -> None:
        """Ask it to end."""
        ...

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended."""
        ...


P = TypeVar("P", bound=Part)


class Parts(Generic[P]):
    """The implementation of a `Consumer` that consists of several parts."""

    def __init__(self, name: str, parts: Sequence[P]) -> None:
        """``parts`` are started and stopped together."""
        self.name = name
        self._parts = tuple(parts)

    @property
    def health(self) -> str:
        """The health of the first part that does not work, or of the first with a remark."""
        lines = [part.health for part in self._parts]
        failing = next((each for each in lines if not each.startswith("OK")), "")
        return failing or next((each for each in lines if each != "OK"), "OK")

    @property
    def crash(self) -> BaseException | None:
        """The exception of the first part that crashed."""
        return next((part.crash for part in self._parts if part.crash is not None), None)

    def start(self) -> None:
        """Start each part."""
        for part in self._parts:
            part.start()

    def stop(self) -> None:
        """Ask each part to end. What it has written stays."""
        for part in self._parts:
            part.stop()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until all parts have ended, ``timeout`` seconds for each. False if one has not."""
        ended = [part.join(timeout) for part in self._parts]
        return all(ended)
