"""Address and credentials of the API server, from options, a kubeconfig or the service account of a pod.

The package ``kubernetes`` is imported only for what `kubeconfig.py` leaves to it.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

import urllib3

from ..errors import InvalidOptions
from .errors import Unauthorized
from .kubeconfig import CONNECTIONS, Settings, of_kubeconfig, of_pod
from .options import ApiServerOptions

_IN_POD = "KUBERNETES_SERVICE_HOST"
_TOKEN_AGE_S = 60.0
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


class Credentials(Protocol):
    """The configuration as it was read once. For one thread."""

    @property
    def url(self) -> str:
        """The address of the server."""
        ...

    @property
    def pools(self) -> urllib3.PoolManager:
        """Its connections."""
        ...

    @property
    def certificate_files(self) -> dict[str, str]:
        """The authority of the server, and the client certificate. Data of a kubeconfig is in temporary files."""
        ...

    def headers(self) -> dict[str, str]:
        """The headers that authenticate a request. They are renewed before they expire. Raises Unauthorized."""
        ...


class PlainCredentials:
    """Credentials that need no package: reading them reads files at most."""

    def __init__(self, settings: Settings, pools: urllib3.PoolManager | None = None) -> None:
        """Raises Unauthorized. The message names files, and contains nothing from them."""
        self.url = settings.url.rstrip("/")
        self.pools = pools or _pools(settings)
        self._settings = settings
        self._token = ""
        self._token_read_at = float("-inf")
        self.headers()

    @property
    def certificate_files(self) -> dict[str, str]:
        """See `Credentials`."""
        files = {"ca": self._settings.ca_file, "client-certificate": self._settings.certificate_file}
        return {name: path for name, path in files.items() if path}

    def headers(self) -> dict[str, str]:
        """See `Credentials`. A token in a file is read again every minute."""
        path, fixed = self._settings.token_file, self._settings.authorization
        if path is None:
            return {} if fixed is None else {"authorization": fixed}
        if time.monotonic() - self._token_read_at > _TOKEN_AGE_S:
            self._token = _token(path)
            self._token_read_at = time.monotonic()
        return {"authorization": f"Bearer {self._token}"}


def plain_credentials(options: ApiServerOptions) -> PlainCredentials | None:
    """The credentials, if reading files is enough; else None, and `package_credentials` has them.

    Raises Unauthorized. The message names files and options, and contains nothing from the files.
    """
    if options.server is not None:
        if options.ca_file is not None:
            _check_readable("ca-file", options.ca_file)
        settings = Settings(options.server, options.ca_file, token_file=options.token_file)
        if not _has_proxy():
            return PlainCredentials(settings)
        return PlainCredentials(settings, _package().pools_of_server(options.server, options.ca_file))
    path = _kubeconfig(options)
    if path is not None and os.pathsep in path:
        return None
    found = of_pod() if path is None else of_kubeconfig(path, options.context)
    return None if found is None or _has_proxy() else PlainCredentials(found)


def package_credentials(options: ApiServerOptions) -> Callable[[], Credentials]:
    """A function that reads the credentials with the package; it may run a plugin. Both raise Unauthorized."""
    path, package = _kubeconfig(options), _package()
    return lambda: package.PackageCredentials(path, options.context)


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
    if not _is_url(options.server):
        raise InvalidOptions("server: must be a URL like https://10.0.0.1:6443")
    parts = urlsplit(options.server)
    if parts.username is not None or parts.query or parts.fragment:
        raise InvalidOptions("server: must hold neither user nor query; use token-file")
    if parts.scheme == "http" and options.ca_file is not None:
        raise InvalidOptions("ca-file: server is not https")


def check_url(url: str) -> None:
    """Check the address of a server in a kubeconfig. Raises Unauthorized.

    Without a scheme, a token would be sent unencrypted, even to a server whose authority is known.
    """
    if not _is_url(url):
        raise Unauthorized("kubeconfig: server: must be a URL like https://10.0.0.1:6443")


def check_headers(headers: Mapping[str, str]) -> None:
    """Check the headers that authenticate. Raises Unauthorized, which quotes nothing of them."""
    if not all(value.isascii() and value.isprintable() for value in headers.values()):
        raise Unauthorized("kubeconfig: the token has characters that are not allowed in a header")


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        return False
    named = text.startswith(("http://", "https://")) and parts.hostname
    return bool(named) and port_is_good and text.isprintable() and " " not in text


def _is_in_pod() -> bool:
    return bool(os.environ.get(_IN_POD)) and not _has_default()


def _has_default() -> bool:
    return any(path and os.path.exists(os.path.expanduser(path)) for path in _defaults().split(os.pathsep))


def _defaults() -> str:
    """The files that kubectl reads, as one text; the package has looked at the environment when it was imported."""
    return os.environ.get("KUBECONFIG") or "~/.kube/config"


def _kubeconfig(options: ApiServerOptions) -> str | None:
    """The kubeconfig to read, perhaps several; None in a pod. Raises Unauthorized if there is none."""
    if options.kubeconfig is not None:
        _check_readable("kubeconfig", os.path.expanduser(options.kubeconfig))
        return options.kubeconfig
    if _is_in_pod():
        return None
    if not _has_default():
        raise Unauthorized(
            "no API server is known: there is no kubeconfig, and this is no pod; "
            "give kubeconfig, or server with ca-file and token-file"
        )
    return _defaults()


def _package() -> Any:
    """Our module that uses the package (Any: it is imported late). Raises Unauthorized if the package is missing."""
    try:
        from . import package  # it takes longer than listing thousands of objects, and most sources do without
    except ModuleNotFoundError as error:
        raise Unauthorized(
            f"these credentials need the package {error.name!r}; install 'statedb[kubernetes]'"
        ) from None
    return package


def _pools(settings: Settings) -> urllib3.PoolManager:
    named: dict[str, Any] = {} if settings.server_name is None else {"server_hostname": settings.server_name}
    return urllib3.PoolManager(
        maxsize=CONNECTIONS,
        cert_reqs=ssl.CERT_REQUIRED if settings.verifies else ssl.CERT_NONE,
        ca_certs=settings.ca_file,
        cert_file=settings.certificate_file,
        key_file=settings.key_file,
        **named,
    )


def _token(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            token = file.read().strip()
    except OSError as error:
        raise Unauthorized(f"token-file: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Unauthorized(f"token-file: {path} holds no token") from None
    if not token or not token.isprintable() or " " in token:
        raise Unauthorized(f"token-file: {path} holds no token")
    return token


def _has_proxy() -> bool:
    return any(value and name.lower() in _PROXIES for name, value in os.environ.items())


def _check_readable(option: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise Unauthorized(f"{option}: {path}: {error.strerror}") from None
