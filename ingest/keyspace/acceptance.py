"""What an operator has accepted of an etcd, until the source carries it out. Pure."""

from __future__ import annotations

from ..belief import History


class Acceptance:
    """For the source's thread, except `press`."""

    def __init__(self) -> None:
        """Nothing is accepted."""
        self._pressed = False

    def press(self) -> None:
        """The operator accepts what the etcd holds that answered last. May be called from any thread."""
        self._pressed = True

    def identified(self, history: History, *, is_shown: bool) -> bool:
        """A server answers. Returns whether what was accepted of the last one holds for it.

        It holds only where keys that are as they were show that it is the same server. An empty etcd cannot show that,
        and of one that nobody has seen yet nothing can be accepted.
        """
        holds = history is History.SAME and is_shown
        if not holds:
            self._pressed = False
        return holds

    def take(self) -> bool:
        """Whether anything was accepted since the last call."""
        pressed = self._pressed
        if pressed:
            self._pressed = False  # only where there was something, so that none of another thread is lost
        return pressed
