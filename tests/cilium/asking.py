"""The oracle: a process of Cilium's own packages (``oracle/main.go``) that answers questions about objects."""

from __future__ import annotations

import json
import subprocess
from types import TracebackType
from typing import Any, Self

from hypothesis import HealthCheck, settings

from . import binary

PROGRAM = binary.own("oracle")


_SHORT = 100


def cases(count: int = _SHORT) -> settings:
    """The settings of a comparison: the short form asks the same each time, a longer one searches.

    Drawing a case takes long on a loaded machine, and is no fault.
    """
    return settings(max_examples=count, derandomize=count <= _SHORT, suppress_health_check=[HealthCheck.too_slow])


class Oracle:
    """One process that answers one question after another. Each answer depends on its question alone."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [binary.find(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def ask(self, about: str, question: dict[str, Any]) -> Any:
        """The answer (Any: JSON). Raises RuntimeError where Cilium's code cannot answer, as for a panic of its own."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"about": about, "ask": question}).encode() + b"\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"the oracle ended with status {self._process.wait()}")
        told = json.loads(line)
        if "error" in told:
            raise RuntimeError(told["error"])
        return told["answer"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=60)  # the end of its input ends it
