"""The API server: starts and stops, and can be used by method calls as well as over HTTP."""

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
    """Serves from `start` to `stop`, or as a context manager. Objects survive a stop, and the port stays the same.

    All methods may be called from any thread. Methods that read or write objects raise `Refusal` where a request would
    fail.
    """

    def __init__(self) -> None:
        """Not started. It has the namespaces of a new cluster and nothing else."""
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
        """Its address, after the first start."""
        return f"http://{_HOST}:{self._port}"

    def start(self) -> None:
        """Start to serve, on the same port as before. Does nothing if it is already serving."""
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
        """Stop listening, and cut every connection. Does nothing if it is not serving."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            if self._thread is not None:
                self._thread.join()
            self.cut()

    def write_kubeconfig(self, path: Path | str) -> str:
        """Write a kubeconfig file for this server. Returns its path."""
        cluster = {"name": "test", "cluster": {"server": self.url}}
        context = {"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "default"}}
        users = [{"name": "test", "user": {}}]
        value = {"apiVersion": "v1", "kind": "Config", "current-context": "test", "users": users}
        Path(path).write_text(json.dumps({**value, "clusters": [cluster], "contexts": [context]}))
        return str(path)

    # --- objects ------------------------------------------------------------------------------------------------------

    def create(self, value: Json) -> Json:
        """Create an object, in the namespace of its metadata, by default ``default``. Returns it as stored."""
        with self.store.lock:
            resource = self.store.resource_of(value)
            namespace = value.get("metadata", {}).get("namespace") or "default"
            return self.store.create(resource, namespace if resource.namespaced else "", value, _MANAGER)

    def apply(self, value: Json) -> Json:
        """Set these fields of an object, whoever owned them. Creates the object if it does not exist."""
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
        """An object. ``resource`` is a plural, with or without its group: ``pods``, ``deployments.apps``."""
        with self.store.lock:
            found = self.store.resource_named(resource)
            return self.store.get(found, namespace if found.namespaced else "", name)

    def list(self, resource: str, namespace: str = "") -> builtins.list[Json]:
        """All objects of a resource, in one namespace or in all."""
        with self.store.lock:
            return self.store.select(self.store.resource_named(resource), namespace, lambda _: True)

    def delete(self, resource: str, name: str, namespace: str = "default") -> None:
        """Delete an object. One with finalizers is only marked as deleting."""
        with self.store.lock:
            found = self.store.resource_named(resource)
            self.store.delete(found, namespace if found.namespaced else "", name, {})

    # --- faults -------------------------------------------------------------------------------------------------------

    def fail(
        self, verb: str = "", resource: str = "", *, status: int, times: int = 1, retry_after_s: int | None = None
    ) -> None:
        """Answer the next ``times`` requests of a verb (as in RBAC rules) and a plural with an error. Empty matches
        any.
        """
        with self.store.lock:
            self.faults.add(Fault(verb, resource, status, times, retry_after_s))

    def forget_history(self) -> None:
        """Compact the history: watches from an older version, and pages of older lists, get 410."""
        with self.store.lock:
            self.store.forget()

    def send_bookmarks(self) -> None:
        """Send a bookmark to every watch that allows bookmarks."""
        with self.store.lock:
            self.bookmarks += 1
            self.store.lock.notify_all()

    def end_watches(self) -> None:
        """End every watch normally."""
        with self.store.lock:
            self.endings += 1
            self.store.lock.notify_all()

    def cut(self) -> None:
        """Cut every connection. New ones are accepted."""
        with self.store.lock:
            self.epoch += 1
            for connection in self.connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # already closed
            self.store.lock.notify_all()
