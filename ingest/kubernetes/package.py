"""Credentials that the package ``kubernetes`` reads: exec plugins, identity providers, several files, proxies.

Only its configuration, credentials (with exec plugins and token refresh) and TLS are used. Nothing else imports it.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import kubernetes.client
import kubernetes.config
import urllib3
from kubernetes.config import exec_provider

from .errors import Unauthorized
from .kubeconfig import CONNECTIONS
from .plugins import PluginProcess


class PackageCredentials:
    """The configuration as the package read it once. For one thread. Reading it and `headers` may run a plugin."""

    def __init__(self, kubeconfig: str | None, context: str | None) -> None:
        """Of a ``kubeconfig`` (several files are separated as in a path) with a ``context``, or of the pod.

        Raises Unauthorized. The message contains nothing from the files.
        """
        self._configuration = _configuration()
        with _safe_errors():
            if kubeconfig is not None:
                load: Any = kubernetes.config.load_kube_config  # Any: it has no types
                load(config_file=kubeconfig, context=context, client_configuration=self._configuration)
            else:
                load = kubernetes.config.load_incluster_config
                load(client_configuration=self._configuration)
            self.pools = _pools(self._configuration)
        self.url = str(self._configuration.host).rstrip("/")

    @property
    def certificate_files(self) -> dict[str, str]:
        """The authority of the server, and the client certificate. Data of a kubeconfig is in temporary files."""
        files = {"ca": self._configuration.ssl_ca_cert, "client-certificate": self._configuration.cert_file}
        return {name: str(path) for name, path in files.items() if path}

    def headers(self) -> dict[str, str]:
        """The headers that authenticate a request. They are renewed before they expire. Raises Unauthorized."""
        with _safe_errors():
            settings: dict[str, Any] = self._configuration.auth_settings()
        return {
            str(each["key"]): str(each["value"]).strip()
            for each in settings.values()
            if each.get("in") == "header" and each.get("value")
        }


def pools_of_server(url: str, ca_file: str | None) -> urllib3.PoolManager:
    """Connections to a server, by the proxies that the environment names."""
    configuration = _configuration()
    configuration.host, configuration.ssl_ca_cert = url, ca_file
    return _pools(configuration)


def _configuration() -> Any:
    """Any: the package's classes are generated and differ between its releases."""
    configuration: Any = kubernetes.client.Configuration()
    configuration.connection_pool_maxsize = CONNECTIONS
    return configuration


def _pools(configuration: Any) -> urllib3.PoolManager:
    client: Any = kubernetes.client.ApiClient(configuration)
    pools: urllib3.PoolManager = client.rest_client.pool_manager
    return pools


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


# The package starts plugins by `subprocess.Popen` and waits forever. Replacing that name is the only way to get at the
# process. Processes that other code starts through the package are not affected.
_exec_provider: Any = exec_provider
_exec_provider.subprocess = SimpleNamespace(Popen=PluginProcess, PIPE=subprocess.PIPE)
