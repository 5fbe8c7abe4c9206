"""Runs calls that may hang: credential plugins are other programs, and identity providers are other servers.

A call runs on a thread of its own, so that the caller can stop waiting after a time limit, and at once when it is asked
to stop. A plugin that exceeds its limit is killed, with all processes that it started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from .errors import Unauthorized

T = TypeVar("T")

_SLOW_S = 1.0

_thread_state = threading.local()


class PluginTimeout(Unauthorized):
    """A call has not ended within its time limit."""


class Plugins:
    """Runs one call at a time. For one thread at a time; `close` may be called from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """No call is running."""
        self._clock = clock
        self._lock = threading.Lock()
        self._call: _Call[Any] | None = None
        self._is_closed = False

    def run(self, function: Callable[[], T], timeout_s: float) -> T:
        """Call ``function`` and return its result.

        Raises PluginTimeout after the time limit, and Unauthorized after `close`.
        """
        call = _Call(function, self._clock())
        with self._lock:
            if self._is_closed:
                raise Unauthorized("stopped")
            self._call = call
        call.start()
        done = call.done.wait(timeout_s)
        callee = call.callee
        call.abandon()
        with self._lock:
            self._call = None
        if self._is_closed:
            raise Unauthorized("stopped")
        if not done:
            raise PluginTimeout(f"kubeconfig: {callee} gives no answer within {timeout_s:g} s")
        return call.result()

    @property
    def waiting(self) -> str:
        """What a call has been waiting for, for longer than a second, in words; empty if there is no such call."""
        with self._lock:
            call = self._call
        if call is None or call.done.is_set() or self._clock() - call.started_at < _SLOW_S:
            return ""
        return f"waiting for {call.callee}"

    def close(self) -> None:
        """End all waits, kill the plugin, and allow no further call. May be called from any thread and repeatedly."""
        with self._lock:
            self._is_closed = True
            call = self._call
        if call is not None:
            call.abandon()
            call.done.set()


class _Call(Generic[T]):
    """One call on a thread that is not joined. The thread ends with its plugin, or when its request ends."""

    def __init__(self, function: Callable[[], T], started_at: float) -> None:
        self.done = threading.Event()
        self.started_at = started_at
        self.callee = "the identity provider that the kubeconfig names"
        self._function = function
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._is_abandoned = False
        self._value: list[T] = []
        self._failure: BaseException | None = None

    def start(self) -> None:
        threading.Thread(target=self._run, name="kubernetes credentials", daemon=True).start()

    def result(self) -> T:
        if self._failure is not None:
            raise self._failure
        return self._value[0]

    def abandon(self) -> None:
        """Kill the plugin that is running or about to start."""
        with self._lock:
            self._is_abandoned = True
            if self._process is not None:
                _kill(self._process)

    def _run(self) -> None:
        _thread_state.started = self._started
        try:
            self._value = [self._function()]
        except BaseException as error:  # it is raised in the waiting thread
            self._failure = error
        with self._lock:
            self._process = None
        self.done.set()

    def _started(self, process: subprocess.Popen[str], command: str) -> None:
        with self._lock:
            self._process, self.callee = process, f"credential plugin {os.path.basename(command)!r}"
            if self._is_abandoned:
                _kill(process)


class PluginProcess(subprocess.Popen[str]):
    """A process that is known to its call, in a session of its own so that its children can be killed as well."""

    def __init__(self, args: Any, **options: Any) -> None:
        started = getattr(_thread_state, "started", None)
        if started is not None:
            options["start_new_session"] = True
        super().__init__(args, **options)
        if started is not None:
            started(self, str(args[0]))


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except OSError:
            process.kill()
