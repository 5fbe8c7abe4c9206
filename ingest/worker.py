"""The one thread of a source: started once, asked to stop, joined; what ends it against expectation is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Worker:
    """Runs ``work`` on a thread, then ``ended`` with the exception that ended it, or None.

    ``work`` looks at `stopping` between steps, or waits on it with `pause`. A worker that was stopped before it was
    started never runs.
    """

    def __init__(self, name: str, work: Callable[[], None], ended: Callable[[Exception | None], None]) -> None:
        """``name`` is the thread's."""
        self.failure: Exception | None = None
        self._work = work
        self._ended = ended
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._started = False

    @property
    def stopping(self) -> bool:
        """Whether it was asked to end."""
        return self._stop.is_set()

    def pause(self, seconds: float) -> bool:
        """Wait; True if it was asked to end meanwhile, at once."""
        return self._stop.wait(seconds)

    def start(self) -> None:
        """Begin. Raises RuntimeError the second time."""
        self._thread.start()
        self._started = True  # not before: who joins a thread that has not begun gets an error

    def stop(self) -> None:
        """Ask it to end. From any thread, more than once."""
        self._stop.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; True at once if it never started."""
        if not self._started:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # whatever it is, it must be seen: the owner shows it
            self.failure = error
        self._ended(self.failure)
