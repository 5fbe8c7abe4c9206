"""HTTP/1.1 on loopback or a Unix socket, a thread for each connection. Knows requests, not tables."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import socket
import stat
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

import msgspec

from ..address import Address, is_loopback
from ..errors import BadRequest, NoRow, NotFound, StartError
from .resources import Reply

log = logging.getLogger("statedb.agent")

CONNECTIONS_MAX = 64
_SOCKET_TIMEOUT_S = 10.0
_BODY_BYTES_MAX = 64 * 1024
_POLL_S = 0.1
_END_S = 1.0

Handler = Callable[[str, str], Reply]
"""(method, target) -> reply; raises BadRequest, NotFound."""


class Server(ThreadingMixIn, TCPServer):
    """Listens from the moment it is made; answers between `begin` and `end`."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self,
        address: Address,
        handler: Handler,
        *,
        connections_max: int = CONNECTIONS_MAX,
        timeout_s: float = _SOCKET_TIMEOUT_S,
    ) -> None:
        """Raises StartError, naming ``http.listen``. ``timeout_s``: a reader that takes nothing for so long is cut."""
        self.handler = handler
        self.timeout_s = timeout_s
        self._connections_max = connections_max
        self._connections: set[socket.socket] = set()
        self._lock = threading.Condition()
        self._thread = threading.Thread(target=self.serve_forever, args=(_POLL_S,), name="http", daemon=True)
        self.address = address
        bind_to = self._prepare(address)
        try:
            super().__init__(bind_to, _Handler)
        except OSError as error:
            raise StartError(f"http.listen: {_why(address, error)}") from None
        if not address.path:
            host, port = self.socket.getsockname()[:2]
            self.address = Address(host, port)

    def begin(self) -> None:
        """Answer requests from now on."""
        self._thread.start()

    def end(self) -> None:
        """Listen no more and cut all connections. At most once."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()
        with self._lock:
            connections = tuple(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._lock.wait_for(lambda: not self._connections, _END_S)
        if self.address.path:
            with contextlib.suppress(OSError):
                os.unlink(self.address.path)

    def server_bind(self) -> None:
        """Bind; a Unix socket is for its owner only, before anybody can connect."""
        super().server_bind()
        if self.address.path:
            os.chmod(self.address.path, 0o600)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread, or turn it away where there are too many."""
        with self._lock:
            full = len(self._connections) >= self._connections_max
            if not full:
                self._connections.add(request)
        if full:
            self._turn_away(request)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """The connection is over."""
        super().shutdown_request(request)
        with self._lock:
            self._connections.discard(request)
            self._lock.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the signature is given
        """A connection that broke is its reader's affair; anything else would be a bug, and is logged."""
        bug = not isinstance(sys.exception(), OSError)
        log.log(logging.ERROR if bug else logging.DEBUG, "a connection ended", exc_info=True)

    def _turn_away(self, request: socket.socket) -> None:
        body = b'{"error":"%d connections are open already; close one"}\n' % self._connections_max
        head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
        with contextlib.suppress(OSError):
            request.settimeout(1.0)
            request.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        super().shutdown_request(request)

    def _prepare(self, address: Address) -> Any:
        """What to bind to. A socket that a dead agent left behind is removed."""
        if not address.path:
            self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            return (address.host, address.port)
        self.address_family = socket.AF_UNIX
        _remove_stale(address.path)
        return address.path


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on. Raises StartError where somebody does, or it is something else."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise StartError(f"http.listen: {path} is there and no socket; choose another path")
    except OSError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            return  # bind will say what is wrong
        else:
            raise StartError(f"http.listen: another program listens on {path}; stop it, or choose another path")


def _why(address: Address, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{address} is in use; stop the other program, or choose another address (port 0: any free one)"
    return f"cannot listen on {address}: {error.strerror or error}; choose another address"


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    server_version = "statedb"
    sys_version = ""

    def setup(self) -> None:
        """Bound every wait for the other side."""
        super().setup()
        self.connection.settimeout(self.server.timeout_s)
        if not self.server.address.path:
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Errors that the protocol machinery finds, as JSON too."""
        self.close_connection = True
        self._send_json(code, message or "the request is not HTTP as we know it")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is given
        log.debug(format, *args)

    def address_string(self) -> str:
        """Not looked up; a Unix socket has none."""
        return str(self.server.address)

    def _serve(self) -> None:
        refusal = self._refusal()
        if refusal is not None or not self._skip_body():
            self.close_connection = True
            self._send_json(*(refusal or (413, f"a body has at most {_BODY_BYTES_MAX} bytes; none is needed")))
            return
        try:
            reply = self.server.handler(self.command, self.path)
        except NoRow as error:
            self._send_json(404, str(error), missing="row")
        except NotFound as error:
            self._send_json(404, str(error))
        except BadRequest as error:
            self._send_json(400, str(error))
        except Exception as error:
            log.exception("a request failed: %s", self.path)
            self._send_json(500, f"internal error: {type(error).__name__}; the log of the agent says more")
        else:
            self._send(reply)

    def _refusal(self) -> tuple[int, str] | None:
        """Web pages must not reach us through their visitor's browser, by a name that leads here or across sites."""
        if self.server.address.path:
            return None
        host = _host_of(self.headers.get("Host", ""))
        if host is None or not is_loopback(host):
            return 421, "the Host header names no loopback address; use 127.0.0.1 or localhost"
        origin = self.headers.get("Origin")
        if origin is not None and not is_loopback(_host_of(origin.rpartition("//")[2]) or "?"):
            return 403, "requests from other sites are not answered"
        return None

    def _skip_body(self) -> bool:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdigit() or int(length) > _BODY_BYTES_MAX:
            return False
        return len(self.rfile.read(int(length))) == int(length)

    def _send_json(self, status: int, error: str, **more: str) -> None:
        self._send(Reply(status, (msgspec.json.encode({"error": error, **more}) + b"\n",)))

    def _send(self, reply: Reply) -> None:
        chunked = not isinstance(reply.body, tuple)
        self.send_response(reply.status)
        self.send_header("Content-Type", "application/jsonl" if reply.lines else "application/json")
        if not chunked:
            self.send_header("Content-Length", str(sum(map(len, reply.body))))
        elif self.request_version == "HTTP/1.0":
            self.close_connection = True
        else:
            self.send_header("Transfer-Encoding", "chunked")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        try:
            self._send_body(reply, chunked=chunked and self.request_version != "HTTP/1.0")
        except BaseException:
            self.close_connection = True  # half a body: the connection is of no use any more
            raise

    def _send_body(self, reply: Reply, *, chunked: bool) -> None:
        body = iter(reply.body)
        try:
            for piece in body:
                if piece:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                elif self._reader_gone():
                    self.close_connection = True
                    return
        finally:
            close = getattr(body, "close", None)  # a generator: it may hold a stream
            if close is not None:
                close()
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _reader_gone(self) -> bool:
        """Whether the other side has closed: then there is something to read, and it is nothing."""
        look = select.poll()
        look.register(self.connection, select.POLLIN)
        return bool(look.poll(0)) and not self.connection.recv(1, socket.MSG_PEEK)


def _host_of(text: str) -> str | None:
    """The host of ``host:port`` or ``[host]:port``."""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        return host if closed and (not rest or rest.startswith(":")) else None
    return text.partition(":")[0] or None
