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
        """Its state in one line. It begins with ``OK`` while the consumer works normally."""
        ...

    @property
    def ready(self) -> bool:
        """Whether it has finished the work that existed when the tables were first complete."""
        ...

    @property
    def queue_size(self) -> int:
        """The number of keys that it still has to write. Always 0 for consumers that write to tables of the same
        database.
        """
        ...

    @property
    def crash(self) -> BaseException | None:
        """The unexpected exception that ended it, which is a bug; otherwise None."""
        ...

    def start(self) -> None:
        """Start its threads."""
        ...

    def stop(self) -> None:
        """Ask it to end. Returns at once."""
        ...

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended. False after ``timeout`` seconds."""
        ...
