"""Cilium's clustermesh-apiserver, and small Go programs on Cilium's packages: found, or built by the Go toolchain.

``python -m tests.cilium.binary`` (``make cilium``) puts them into the cache folder: minutes the first time. Needs but
Python. Each folder below this one with a ``main.go`` is a program of ours, all in the module of the ``go.mod`` here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.apiserver import binary

HERE = Path(__file__).parent
MODULE = "github.com/cilium/cilium"
REQUIRED = "STATEDB_CILIUM"
"""Set to ``required``, missing programs fail the tests that need them. Else they are skipped, and counted."""


@dataclass(frozen=True)
class OwnProgram(binary.Program):
    """A program of ours: built again when one of its files or the module changes."""

    def cached(self) -> Path:
        files = sorted([*(HERE / self.name).rglob("*.go"), HERE / "go.mod", HERE / "go.sum", *HERE.glob("mcsapi/*")])
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
        return binary.cache() / f"cilium-{self.name}-{self.release()}-{digest}"


APISERVER = binary.Program("clustermesh-apiserver", MODULE, f"{MODULE}/clustermesh-apiserver", HERE)


def own(name: str) -> OwnProgram:
    """The program of the folder of this name."""
    return OwnProgram(name, MODULE, f"./{name}", HERE)


def programs() -> list[binary.Program]:
    """All of them."""
    return [APISERVER, *(own(main.parent.name) for main in sorted(HERE.glob("*/main.go")))]


def find(program: binary.Program) -> Path:
    """Where it lies once it is built. Raises binary.Missing."""
    path = program.cached()
    if not path.exists():
        raise binary.Missing(f"there is no {path.name}; run `make cilium`")
    return path


def missing() -> str:
    """Why the tests cannot run: the first program that is not built; empty where all are."""
    for each in programs():
        try:
            find(each)
        except binary.Missing as error:
            return str(error)
    return "" if crds().exists() else f"there is no {crds().name}; run `make cilium`"


def crds() -> Path:
    """The folder of Cilium's own CRDs, in the cache folder as well: tests need no Go."""
    return binary.cache() / f"cilium-crds-{APISERVER.release()}"


def provide() -> list[Path]:
    """Put what is not there yet into the cache folder. Raises binary.Missing and binary.BuildFailed."""
    built = binary.build(*programs())
    if not crds().exists():
        _copy_crds()
    return [*built, crds()]


def _copy_crds() -> None:
    command = ["go", "list", "-m", "-f", "{{.Dir}}", MODULE]
    environment = {**os.environ, "GOWORK": "off"}
    answer = subprocess.run(command, cwd=HERE, env=environment, check=True, capture_output=True, text=True)
    unfinished = crds().with_name(f"{crds().name}.{os.getpid()}")
    unfinished.mkdir(parents=True)
    module = Path(answer.stdout.strip())
    for each in module.joinpath("pkg", "k8s", "apis", "cilium.io", "client", "crds").glob("*/*.yaml"):
        shutil.copyfile(each, unfinished / each.name)  # files of the module are read-only
    unfinished.replace(crds())


if __name__ == "__main__":
    sys.exit(binary.main(provide))
