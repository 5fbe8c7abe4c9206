"""Our small programs in Go: built once, then anew where their source changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_HERE = Path(__file__).parent
_BUILT = _HERE.parent / "build"
_DOWNLOAD_S = 300.0
_BUILD_S = 40 * 60.0


class Missing(Exception):
    """A program in Go cannot be built here; the message says why."""


def go_program(folder: str) -> Path:
    """The program in a folder of benchmarks/, which may take minutes at the first time. Raises Missing."""
    go = shutil.which("go")
    if go is None:
        raise Missing("there is no Go toolchain; install it from go.dev")
    program = _BUILT / folder / "program"
    _run([go, "mod", "download"], folder, _DOWNLOAD_S, "its modules cannot be had; look at GOPROXY")
    _run([go, "build", "-trimpath", "-o", str(program), "."], folder, _BUILD_S, "Go cannot build it")
    return program


def _run(command: list[str], folder: str, longest_s: float, what: str) -> None:
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}  # a go.work above the checkout is somebody else's
    where = _HERE / folder
    try:
        subprocess.run(
            command, cwd=where, env=environment, check=True, capture_output=True, text=True, timeout=longest_s
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"benchmarks/{folder}: {what}: not done after {longest_s:g} s") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or [f"exit status {error.returncode}"]
        raise Missing(f"benchmarks/{folder}: {what}: {said[-1]}") from None
