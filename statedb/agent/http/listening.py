"""Binds the address of a server: TCP, or a Unix socket that only its owner may use."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Generator
from pathlib import Path

from ..address import Address
from ..errors import StartError

BACKLOG = 1024
SEND_BUFFER_BYTES = 32 * 1024
"""The size of the send buffer of a connection; the kernel uses at most twice as much. By default the buffer grows to 4
MB, and the agent encodes that much for a reader that never reads: 21 such readers kept it busy for over 18 seconds.
"""


class Listener:
    """A listening socket. ``address`` is the actual one, also if port 0 was requested.

    The file of a Unix socket has mode 0600 before anybody can connect to it. A file that a dead agent left is replaced.
    `close` removes the file only if it still belongs to this socket.
    """

    def __init__(self, address: Address, option: str = "http.listen") -> None:
        """Raises StartError, which names the option and the remedy."""
        self.address = address
        self._file: tuple[int, int] | None = None
        family = socket.AF_UNIX if address.path else socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # connections inherit it
        try:
            if address.path:
                self._bind_file(address.path)
            else:
                self._bind_port(address)
        except OSError as error:
            self.socket.close()
            raise StartError(f"{option}: {_reason(address, error)}") from None
        except StartError:
            self.socket.close()
            raise

    def close(self) -> None:
        """Stop listening. May be called again."""
        path, ours = self.address.path, self._file
        self._file = None
        if path and ours is not None:
            with contextlib.suppress(OSError), _locked(path):
                if _identity(path) == ours:
                    os.unlink(path)
        self.socket.close()

    def _bind_port(self, address: Address) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address.host, address.port))
        self.socket.listen(BACKLOG)
        host, port = self.socket.getsockname()[:2]
        self.address = Address(host, port, secure=address.secure)

    def _bind_file(self, path: str) -> None:
        with _locked(path):
            _remove_stale(path)
            self.socket.bind(path)
            os.chmod(path, 0o600)  # before listen: until then nobody can connect
            self.socket.listen(BACKLOG)
            self._file = _identity(path)


@contextlib.contextmanager
def _locked(path: str) -> Generator[None]:
    """Prevent other agents from replacing or removing a socket in the same directory meanwhile."""
    descriptor = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path, follow_symlinks=False)
    return found.st_dev, found.st_ino


def _remove_stale(path: str) -> None:
    """Remove a socket without a listener. Raises StartError if it has one, or if the file is not a socket."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise StartError(f"http.listen: {path} exists and is not a socket; choose another path")
    except OSError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            return  # bind raises the right error
        else:
            raise StartError(f"http.listen: another program listens on {path}; stop it, or choose another path")


def _reason(address: Address, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{address} is in use; stop the other program, or choose another address (port 0: any free one)"
    return f"cannot listen on {address}: {error.strerror or error}; choose another address"
