"""What an agent requires of a consumer."""

from __future__ import annotations

from typing import Protocol


class Consumer(Protocol):
    """Work that an agent does with its tables, on threads of its own. It is started once and stopped once."""

    @property
    def name(self) -> str:
        """The name of its kind in the configuration, such as ``ipcache``."""
        ...

    @property
    def health(self) -> str:
        """One line about its state. It begins with ``OK`` while the consumer works as it should."""
        ...

    @property
    def ready(self) -> bool:
        """Whether it has finished the work that was there when the tables were first complete."""
        ...

    @property
    def queue_size(self) -> int:
        """How many keys it still has to write; always 0 for consumers that write to tables of the same database."""
        ...

    @property
    def crash(self) -> BaseException | None:
        """The unexpected exception that ended it, which is a bug; None while there was none."""
        ...

    def start(self) -> None:
        """Start its threads."""
        ...

    def stop(self) -> None:
        """Ask it to end. Returns at once."""
        ...

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; False when ``timeout`` seconds have passed before."""
        ...
