"""Reads the common forms of a kubeconfig, and the service account of a pod, without the package ``kubernetes``.

Importing that package takes longer than listing thousands of objects. What is read here is what the package would give
(`test_plain_credentials_are_those_of_the_package`). Anything unusual, and every mistake, is left to the package: then
the result is None, and the package reads it, or says what is wrong.
"""

from __future__ import annotations

import atexit
import base64
import os
import tempfile
import threading
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import msgspec
import yaml
from urllib3.util import make_headers

from .errors import Unauthorized

_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
CONNECTIONS = 32
"""How many idle connections are kept."""

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Settings(msgspec.Struct, frozen=True):
    """The address of a server, files for TLS, and the header that authenticates; None stands for none."""

    url: str
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None
    verifies: bool = True
    authorization: str | None = None
    token_file: str | None = None
    """A file with a bearer token that is renewed, in place of ``authorization``."""


_Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
"""A text, or, as the default, an empty one. One that is empty or null in the file is unusual."""


class _Cluster(msgspec.Struct, rename="kebab"):
    server: _Text
    certificate_authority: _Text = ""
    certificate_authority_data: _Text = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: _Text = ""
    proxy_url: Any = msgspec.UNSET


class _User(msgspec.Struct, rename="kebab"):
    client_certificate: _Text = ""
    client_certificate_data: _Text = ""
    client_key: _Text = ""
    client_key_data: _Text = ""
    token: _Text = ""
    token_file: _Text = msgspec.field(name="tokenFile", default="")
    username: _Text = ""
    password: _Text = ""
    exec: Any = msgspec.UNSET
    auth_provider: Any = msgspec.UNSET
    impersonated: Any = msgspec.field(name="as", default=None)


class _Context(msgspec.Struct):
    cluster: _Text
    user: _Text = ""


class _NamedCluster(msgspec.Struct):
    name: str
    cluster: _Cluster


class _NamedUser(msgspec.Struct):
    name: str
    user: _User


class _NamedContext(msgspec.Struct):
    name: str
    context: _Context


class _Kubeconfig(msgspec.Struct, rename="kebab"):
    clusters: list[_NamedCluster]
    contexts: list[_NamedContext]
    users: list[_NamedUser] = []
    current_context: _Text = ""


class _Unusual(Exception):
    """The package must read it."""


def of_kubeconfig(path: str, context: str | None) -> Settings | None:
    """What a kubeconfig says; None if only the package can tell. Raises Unauthorized if it asks for impersonation."""
    path = os.path.expanduser(path)
    try:
        config = msgspec.convert(yaml.load(Path(path).read_bytes(), Loader=_Parser), _Kubeconfig)
        chosen = _only(config.contexts, context or config.current_context).context
        cluster = _only(config.clusters, chosen.cluster).cluster
        user = _only(config.users, chosen.user).user if chosen.user else _User()
        return _settings(cluster, user, os.path.abspath(os.path.dirname(path)))
    except (_Unusual, OSError, ValueError, RecursionError, yaml.YAMLError):  # msgspec's errors are ValueErrors
        return None


def of_pod() -> Settings | None:
    """What Kubernetes gives a pod; None if something is missing."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    token, ca = _SERVICE_ACCOUNT / "token", _SERVICE_ACCOUNT / "ca.crt"
    try:
        if not host or not port or not token.stat().st_size or not ca.stat().st_size:
            return None
    except OSError:
        return None
    shown = f"[{host}]" if ":" in host or "%" in host else host
    return Settings(f"https://{shown}:{port}", ca_file=str(ca), token_file=str(token))


def _only(named: list[Any], name: str) -> Any:
    """The only one with this name (Any: three types that have a name)."""
    found = [each for each in named if each.name == name]
    if len(found) != 1:
        raise _Unusual
    return found[0]


def _settings(cluster: _Cluster, user: _User, folder: str) -> Settings:
    if user.impersonated:  # the package would ignore it, and use the permissions of the user itself
        raise Unauthorized(
            "kubeconfig: the user impersonates another one (as), which is not supported; "
            "give one with permissions of its own"
        )
    if any(each is not msgspec.UNSET for each in (user.exec, user.auth_provider, cluster.proxy_url)):
        raise _Unusual
    url = cluster.server.rstrip("/")
    token_file = None if user.token else _token_file(user, folder)
    with_tls = url.startswith("https")
    return Settings(
        url,
        _file(cluster.certificate_authority, cluster.certificate_authority_data, folder) if with_tls else None,
        _file(user.client_certificate, user.client_certificate_data, folder) if with_tls else None,
        _file(user.client_key, user.client_key_data, folder) if with_tls else None,
        cluster.tls_server_name or None,
        not cluster.insecure_skip_tls_verify,
        None if token_file else _authorization(user),
        token_file,
    )


def _file(path: str, data: str, folder: str) -> str | None:
    """A file, or one that holds the data. Raises ValueError for data that are not in Base64."""
    if path and data:
        raise _Unusual
    if data:
        return _written(base64.standard_b64decode(data))
    if not path:
        return None
    path = os.path.normpath(os.path.join(folder, path))
    if not os.path.isfile(path):
        raise _Unusual
    return path


def _token_file(user: _User, folder: str) -> str | None:
    """The file with the token of a user. It must hold one now; it may hold another one later."""
    if not user.token_file:
        return None
    path = os.path.normpath(os.path.join(folder, user.token_file))
    if not Path(path).read_text().strip():
        raise _Unusual
    return path


def _authorization(user: _User) -> str | None:
    """The header of a user. A token in the kubeconfig comes before a password."""
    if user.token:
        return f"Bearer {user.token}".strip()
    if not user.username or not user.password:
        return None
    return make_headers(basic_auth=f"{user.username}:{user.password}")["authorization"]


_lock = threading.Lock()
_paths: dict[bytes, str] = {}
"""Files with what stood in kubeconfigs, because OpenSSL reads certificates of clients from files only."""


def _written(data: bytes) -> str:
    """A file with these bytes, which only we can read. It is removed when the process ends."""
    with _lock:
        path = _paths.get(data)
        if path is None or not os.path.isfile(path):
            descriptor, path = tempfile.mkstemp(prefix="statedb-")
            with open(descriptor, "wb") as file:
                file.write(data)
            if not _paths:
                atexit.register(_remove)
            _paths[data] = path
    return path


def _remove() -> None:
    for path in _paths.values():
        Path(path).unlink(missing_ok=True)
