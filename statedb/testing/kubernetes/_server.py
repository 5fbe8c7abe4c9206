"""The API server: starts and stops, and is used by calls of the test beside HTTP."""

from __future__ import annotations

import builtins
import json
import socket
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from ._faults import Fault
from ._handler import Handler
from ._state import State
from ._store import Json

_HOST = "127.0.0.1"
_MANAGER = "test"


class ApiServer(State):
    """Serves from `start` to `stop`, or as a context manager. Objects outlive a stop; the port stays the same.

    For any threads. Methods that read and write objects raise `Refusal` as a request would be refused.
    """

    def __init__(self) -> None:
        """Not started; it has the namespaces of a new cluster and nothing else."""
        super().__init__()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._port = 0

    # --- life ---------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    @property
    def url(self) -> str:
        """Where it is, once it was started."""
        return f"http://{_HOST}:{self._port}"

    def start(self) -> None:
        """Serve, on the same port as before. Nothing happens where it serves already."""
        if self._server is not None:
            return
        api = self

        class Bound(Handler):
            server_of_api = api

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Connections that are cut are what tests do."""

        self._server = Server((_HOST, self._port), Bound)
        self._port = self._server.server_address[1]
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, kwargs={"poll_interval": 0.01}, daemon=True, name="api-server")
        self._thread.start()

    def stop(self) -> None:
        """Nobody listens any more, and every connection is cut. Nothing happens where it does not serve."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            if self._thread is not None:
                self._thread.join()
            self.cut()

    def write_kubeconfig(self, path: Path | str) -> str:
        """Write a file that leads clients here; gives its path."""
        cluster = {"name": "test", "cluster": {"server": self.url}}
        context = {"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "default"}}
        users = [{"name": "test", "user": {}}]
        value = {"apiVersion": "v1", "kind": "Config", "current-context": "test", "users": users}
        Path(path).write_text(json.dumps({**value, "clusters": [cluster], "contexts": [context]}))
        return str(path)

    # --- objects ------------------------------------------------------------------------------------------------------

    def create(self, value: Json) -> Json:
        """Add an object, in the namespace that its metadata names or else ``default``; gives it as stored."""
        with self.store.lock:
            resource = self.store.resource_of(value)
            namespace = value.get("metadata", {}).get("namespace") or "default"
            return self.store.create(resource, namespace if resource.namespaced else "", value, _MANAGER)

    def apply(self, value: Json) -> Json:
        """Make an object have these fields, whoever owned them; create it where it is not there."""
        with self.store.lock:
            resource = self.store.resource_of(value)
            metadata = value["metadata"]
            namespace = (metadata.get("namespace") or "default") if resource.namespaced else ""
            part = "status" if "status" in value and resource.has_status else ""
            stored, _ = self.store.apply(resource, namespace, metadata["name"], value, _MANAGER, force=True)
            if part:
                stored, _ = self.store.apply(resource, namespace, metadata["name"], value, _MANAGER, part, force=True)
            return stored

    def get(self, resource: str, name: str, namespace: str = "default") -> Json:
        """An object. ``resource`` is a plural, perhaps with its group: ``pods``, ``deployments.apps``."""
        with self.store.lock:
            found = self.store.named(resource)
            return self.store.get(found, namespace if found.namespaced else "", name)

    def list(self, resource: str, namespace: str = "") -> builtins.list[Json]:
        """All objects of a resource, of one namespace or of all."""
        with self.store.lock:
            return self.store.select(self.store.named(resource), namespace, lambda _: True)

    def delete(self, resource: str, name: str, namespace: str = "default") -> None:
        """Remove an object; one that finalizers hold is marked."""
        with self.store.lock:
            found = self.store.named(resource)
            self.store.delete(found, namespace if found.namespaced else "", name, {})

    # --- faults -------------------------------------------------------------------------------------------------------

    def fail(
        self, verb: str = "", resource: str = "", *, status: int, times: int = 1, retry_after_s: int | None = None
    ) -> None:
        """Answer the next requests with an error: of a verb as rights name it, of a plural; empty: any."""
        with self.store.lock:
            self.faults.add(Fault(verb, resource, status, times, retry_after_s))

    def forget_history(self) -> None:
        """As a compaction: watches that begin at an older version, and pages of older lists, are refused with 410."""
        with self.store.lock:
            self.store.forget()

    def send_bookmarks(self) -> None:
        """Every watch that allows bookmarks is sent one."""
        with self.store.lock:
            self.bookmarks += 1
            self.store.lock.notify_all()

    def end_watches(self) -> None:
        """Every watch is ended in good order."""
        with self.store.lock:
            self.endings += 1
            self.store.lock.notify_all()

    def cut(self) -> None:
        """Every connection is cut; new ones are welcome."""
        with self.store.lock:
            self.epoch += 1
            for connection in self.connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it is closed already
            self.store.lock.notify_all()
