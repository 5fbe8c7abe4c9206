"""Address and credentials of the API server, read by the package ``kubernetes`` from a kubeconfig or a pod.

Only its configuration, credentials (with exec plugins and token refresh) and TLS are used.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import kubernetes.client
import kubernetes.config
import urllib3

from ..errors import InvalidOptions
from .errors import Unauthorized
from .options import ApiServerOptions

_IN_POD = "KUBERNETES_SERVICE_HOST"
_TOKEN_AGE_S = 60.0
_CONNECTIONS = 32


class Credentials:
    """The configuration as it was read once. A new instance reads files and runs plugins again. For one thread."""

    def __init__(self, options: ApiServerOptions) -> None:
        """Raises Unauthorized. The message names files and options, and contains nothing from the files."""
        self._options = options
        # Any: the package's classes are generated and differ between its releases.
        self._configuration: Any = kubernetes.client.Configuration()
        self._configuration.connection_pool_maxsize = _CONNECTIONS
        self._token = ""
        self._token_read_at = float("-inf")
        with _safe_errors():
            self._load()
            client: Any = kubernetes.client.ApiClient(self._configuration)
        self.pools: urllib3.PoolManager = client.rest_client.pool_manager
        self.url: str = str(self._configuration.host).rstrip("/")

    @property
    def certificate_files(self) -> dict[str, str]:
        """The authority of the server, and the client certificate. Data of a kubeconfig is in temporary files."""
        files = {"ca": self._configuration.ssl_ca_cert, "client-certificate": self._configuration.cert_file}
        return {name: str(path) for name, path in files.items() if path}

    def headers(self) -> dict[str, str]:
        """The headers that authenticate a request. They are renewed before they expire. Raises Unauthorized."""
        if self._options.server is not None:
            return self._own_headers()
        with _safe_errors():
            settings: dict[str, Any] = self._configuration.auth_settings()
        return {
            str(each["key"]): str(each["value"]).strip()
            for each in settings.values()
            if each.get("in") == "header" and each.get("value")
        }

    def _load(self) -> None:
        options = self._options
        if options.server is not None:
            self._configuration.host = options.server
            if options.ca_file is not None:
                _check_readable("ca-file", options.ca_file)
                self._configuration.ssl_ca_cert = options.ca_file
            self._own_headers()
        elif options.kubeconfig is not None or not _is_in_pod():
            path = options.kubeconfig
            if path is not None:
                _check_readable("kubeconfig", os.path.expanduser(path))
            elif not _has_default():
                raise Unauthorized(
                    "no API server is known: there is no kubeconfig, and this is no pod; "
                    "give kubeconfig, or server with ca-file and token-file"
                )
            load: Any = kubernetes.config.load_kube_config  # Any: it has no types
            load(config_file=path or _defaults(), context=options.context, client_configuration=self._configuration)
        else:
            load = kubernetes.config.load_incluster_config
            load(client_configuration=self._configuration)

    def _own_headers(self) -> dict[str, str]:
        path = self._options.token_file
        if path is None:
            return {}
        if time.monotonic() - self._token_read_at > _TOKEN_AGE_S:
            try:
                with open(path, encoding="ascii") as file:
                    self._token = file.read().strip()
            except OSError as error:
                raise Unauthorized(f"token-file: {path}: {error.strerror}") from None
            except UnicodeDecodeError:
                raise Unauthorized(f"token-file: {path} holds no token") from None
            if not self._token or not self._token.isprintable() or " " in self._token:
                raise Unauthorized(f"token-file: {path} holds no token")
            self._token_read_at = time.monotonic()
        return {"authorization": f"Bearer {self._token}"}


def check(options: ApiServerOptions) -> None:
    """Check the options without reading files or sending requests. Raises InvalidOptions, which names the option."""
    if options.server is None:
        for name, value in (("ca-file", options.ca_file), ("token-file", options.token_file)):
            if value is not None:
                raise InvalidOptions(f"{name}: belongs to server; a kubeconfig has its own")
        if options.context is not None and options.kubeconfig is None and not _has_default():
            raise InvalidOptions("context: there is no kubeconfig that could have it; give kubeconfig")
        return
    if options.kubeconfig is not None or options.context is not None:
        raise InvalidOptions("server: give it or kubeconfig, not both")
    parts = urlsplit(options.server)
    try:
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        port_is_good = False
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_good:
        raise InvalidOptions("server: must be a URL like https://10.0.0.1:6443")
    if parts.username is not None or parts.query or parts.fragment:
        raise InvalidOptions("server: must hold neither user nor query; use token-file")
    if parts.scheme == "http" and options.ca_file is not None:
        raise InvalidOptions("ca-file: server is not https")


def _is_in_pod() -> bool:
    return bool(os.environ.get(_IN_POD)) and not _has_default()


def _has_default() -> bool:
    return any(path and os.path.exists(os.path.expanduser(path)) for path in _defaults().split(os.pathsep))


def _defaults() -> str:
    """The files that kubectl reads, as one text; the package has looked at the environment when it was imported."""
    return os.environ.get("KUBECONFIG") or "~/.kube/config"


def _check_readable(option: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise Unauthorized(f"{option}: {path}: {error.strerror}") from None


class _CapturedLog(logging.Filter):
    """Holds back what the package logs, since it may quote a kubeconfig."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        if record.module != "kube_config":
            return True
        self.texts.append(record.getMessage())
        return False


@contextmanager
def _safe_errors() -> Generator[None, None, None]:
    """Turns every exception inside into Unauthorized, with a text that quotes no secret."""
    captured, root = _CapturedLog(), logging.getLogger()
    root.addFilter(captured)
    try:
        yield
    except Unauthorized:
        raise
    except Exception as error:  # a kubeconfig can be wrong in more ways than the package has classes for
        raise Unauthorized(f"kubeconfig: {_without_secrets(error)}") from None
    finally:
        root.removeFilter(captured)
    if captured.texts:
        raise Unauthorized(f"kubeconfig: {_without_secrets(RuntimeError(captured.texts[0]))}")


def _without_secrets(error: Exception) -> str:
    """The beginning of an error's text. What follows says where, and may quote a user with its token."""
    if not isinstance(error, (kubernetes.config.ConfigException, RuntimeError)):
        return f"cannot be read ({type(error).__name__})"
    lines = str(error).splitlines() or [""]
    head = lines[0].split(" in ", 1)[0]
    if head.startswith(("exec:", "cmd-path:")):
        head = head.split(". ", 1)[0]
    elif not head.startswith(("Invalid kube-config", "Service ", "Token ", "Cert ")):
        head = "a part of it cannot be read"
    return head[:200]
