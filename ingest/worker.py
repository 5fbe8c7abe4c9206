"""The thread of a source. It is started once, asked to stop, and joined. An unexpected error is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Worker:
    """Runs ``work`` on a thread, then calls ``ended`` with the exception that ended it, or None.

    ``work`` checks `stopping` between steps, and waits with `pause`. A worker that is stopped before it is started
    never runs.
    """

    def __init__(self, name: str, work: Callable[[], None], ended: Callable[[Exception | None], None]) -> None:
        """``name`` is the name of the thread."""
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
        """Wait for this time. Returns True at once when the worker is asked to end."""
        return self._stop.wait(seconds)

    def start(self) -> None:
        """Start the thread. A second call raises RuntimeError."""
        self._thread.start()
        self._started = True  # only now, because joining a thread that has not started is an error

    def stop(self) -> None:
        """Ask it to end. May be called from any thread and repeatedly."""
        self._stop.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended. True at once if it was never started."""
        if not self._started:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # whatever it is, the owner reports it
            self.failure = error
        self._ended(self.failure)
