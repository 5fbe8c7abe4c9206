"""The program kube-apiserver: found, or built by the Go toolchain. Knows nothing of running it.

``python -m tests.apiserver.binary`` (``make kube-apiserver``) puts it into the cache folder. Needs nothing but Python.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

_MODULE = Path(__file__).parent
_PACKAGE = "k8s.io/kubernetes/cmd/kube-apiserver"
_DOWNLOAD_S = 300.0
_BUILD_S = 40 * 60.0
_PROGRESS_S = 15.0
_NO_GO = (
    "no kube-apiserver, and no Go toolchain to build one; install it from go.dev, or let KUBEBUILDER_ASSETS name one"
)

UNAVAILABLE = 69
"""Exit status where no kube-apiserver can be had on this machine (EX_UNAVAILABLE); 1 is a build that went wrong."""


class Missing(Exception):
    """There is no kube-apiserver, and what is needed to get one is not there either; the message names the remedy."""


class BuildFailed(Exception):
    """Nothing was missing, or a setting is wrong, and there is no kube-apiserver; the message says what went wrong."""


def version() -> str:
    """The release that go.mod pins, as ``v1.2.3``."""
    found = re.search(r"^(?:require|\t) ?k8s\.io/kubernetes (v\S+)", (_MODULE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise BuildFailed(f"{_MODULE / 'go.mod'} requires no k8s.io/kubernetes; write the release there")
    return found[1]


def cache() -> Path:
    """The folder of built servers, outside the checkout: ``$XDG_CACHE_HOME/statedb``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "statedb"


def find() -> Path:
    """The server that KUBEBUILDER_ASSETS names, else the cached one. Raises Missing."""
    named = _assets()
    if named is not None:
        return named
    built = _cached(version())
    if built.exists():
        return built
    if shutil.which("go") is None:
        raise Missing(_NO_GO)
    raise Missing("no kube-apiserver: run `make kube-apiserver`, or let KUBEBUILDER_ASSETS name a folder with one")


def provide() -> Path:
    """Put a server into the cache folder where it is not there yet. Raises Missing and BuildFailed."""
    named = _assets()
    if named is not None:
        said = subprocess.run([named, "--version"], check=True, capture_output=True, text=True).stdout.split()[-1]
        path = _cached(said)
        if not path.exists():
            _put(named, path)
        return path
    path = _cached(version())
    if not path.exists():
        _build(version(), path)
    return path


def _assets() -> Path | None:
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    if not folder:
        return None
    path = Path(folder) / "kube-apiserver"
    if not os.access(path, os.X_OK):
        raise BuildFailed(
            f"KUBEBUILDER_ASSETS names {folder}, which has no program kube-apiserver; correct or unset it"
        )
    return path


def _cached(release: str) -> Path:
    return cache() / f"kube-apiserver-{release}"


def _put(source: Path, path: Path) -> None:
    """A copy that appears whole: others may be looking for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    shutil.copy2(source, unfinished)
    unfinished.replace(path)


def _build(release: str, path: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise Missing(_NO_GO)
    until = time.monotonic() + _BUILD_S
    _say(f"building {release}: the modules")
    _download(go)
    output = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        _compile(_build_command(go, release, output), release, until)
        output.replace(path)
    finally:
        output.unlink(missing_ok=True)


def _download(go: str) -> None:
    """Fetch the largest module: who cannot, has no proxy. Raises Missing."""
    try:
        _run([go, "mod", "download", "k8s.io/kubernetes"], _DOWNLOAD_S)
    except subprocess.TimeoutExpired:
        raise Missing(
            f"no kube-apiserver: k8s.io/kubernetes did not come within {_DOWNLOAD_S:g} s; look at GOPROXY"
        ) from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or ["go mod download failed"]
        raise Missing(f"no kube-apiserver: k8s.io/kubernetes cannot be had: {said[-1]}") from None


def _run(command: Sequence[str], timeout_s: float) -> None:
    subprocess.run(command, cwd=_MODULE, check=True, capture_output=True, text=True, timeout=timeout_s)


def _build_command(go: str, release: str, output: Path) -> list[str]:
    numbers = "k8s.io/component-base/version"
    major, minor, _ = release.removeprefix("v").split(".", 2)
    stamps = {"gitVersion": release, "gitMajor": major, "gitMinor": minor}
    flags = " ".join(["-s -w", *(f"-X {numbers}.{name}={value}" for name, value in stamps.items())])
    polite = ["nice", "-n", "19"] if shutil.which("nice") else []
    return [*polite, go, "build", "-v", "-p", "2", "-trimpath", "-ldflags", flags, "-o", str(output), _PACKAGE]


def _compile(command: Sequence[str], release: str, until: float) -> None:
    """Run Go, and say now and then how far it is. Raises BuildFailed, also when time is over."""
    began = time.monotonic()
    said: list[str] = []
    with subprocess.Popen(
        command,
        cwd=_MODULE,
        env={**os.environ, "CGO_ENABLED": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        reader = threading.Thread(target=_collect, args=(process.stderr, said))
        reader.start()
        try:
            while not _ended(process, min(_PROGRESS_S, until - time.monotonic())):
                if time.monotonic() >= until:
                    raise BuildFailed(
                        f"gave up building {release} after {_BUILD_S / 60:g} minutes; see what keeps Go busy"
                    )
                _say(f"building {release}: {time.monotonic() - began:.0f} s, {len(said)} packages, now {_last(said)}")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # Go, and the compilers that it started
            reader.join()
    if process.returncode:
        raise BuildFailed(f"Go could not build {release}:\n{''.join(said[-20:])}")


def _collect(lines: Iterable[str], into: list[str]) -> None:
    for line in lines:
        into.append(line)  # the other thread reads it meanwhile


def _ended(process: subprocess.Popen[str], wait_s: float) -> bool:
    try:
        process.wait(max(0.0, wait_s))
    except subprocess.TimeoutExpired:
        return False
    return True


def _last(said: Sequence[str]) -> str:
    return said[-1].strip() if said else "reading what is cached"


def _say(what: str) -> None:
    print(f"kube-apiserver: {what}", flush=True)


def main() -> int:
    """Put a server into the cache folder and say where it is."""
    try:
        _say(str(provide()))
    except Missing as error:
        _say(str(error))
        return UNAVAILABLE
    except BuildFailed as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
