"""Which server of an etcd to talk to, and with what credentials. Knows nothing of what is stored there."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable

from ..errors import InvalidOptions
from ..etcd import Client, Endpoint, Keepalive, Tls, Unavailable, parse_endpoint
from .options import KvstoreOptions, TlsOptions


class Connector:
    """Makes clients: of one server while it works, of the next when it failed. For one thread at a time."""

    def __init__(self, options: KvstoreOptions, *, shuffle: Callable[[list[Endpoint]], None] = random.shuffle) -> None:
        """Raises InvalidOptions naming the option. ``shuffle`` spreads many agents over the servers."""
        self._options = options
        self._endpoints = _endpoints(options)
        shuffle(self._endpoints)
        self._untried = len(self._endpoints)
        if (options.username is None) != (options.password_file is None):
            raise InvalidOptions("username and password-file belong together: give both or none")
        try:
            self._credentials()
        except OSError as error:
            raise InvalidOptions(str(error)) from None

    def connect(self) -> Client:
        """A client of the server in turn. Certificates and password are read anew, so that they can be renewed."""
        options = self._options
        try:
            tls, login = self._credentials()
        except OSError as error:
            raise Unavailable(str(error)) from None
        return Client(
            self._endpoints[0],
            tls=tls,
            login=login,
            timeout_s=options.request_timeout_s,
            keepalive=Keepalive(options.keepalive_s, options.keepalive_timeout_s),
        )

    def worked(self) -> None:
        """The server in turn is in order."""
        self._untried = len(self._endpoints)

    def failed(self) -> bool:
        """The server in turn is not: the next one's turn. False when all have failed, one after the other."""
        self._endpoints.append(self._endpoints.pop(0))
        self._untried -= 1
        if self._untried > 0:
            return True
        self._untried = len(self._endpoints)
        return False

    def _credentials(self) -> tuple[Tls, tuple[str, str] | None]:
        """Raises OSError, which ssl's errors are too; its text names option and file, never a secret."""
        options = self._options
        tls = Tls() if options.tls is None else _read_tls(options.tls)
        if options.username is None or options.password_file is None:
            return tls, None
        try:
            password = _read("password-file", options.password_file).decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise OSError(f"password-file: {options.password_file} is not UTF-8 text") from None
        return tls, (options.username, password)


def _endpoints(options: KvstoreOptions) -> list[Endpoint]:
    endpoints = []
    for place, text in enumerate(options.endpoints):
        try:
            endpoint = parse_endpoint(text)
        except ValueError as error:
            raise InvalidOptions(f"endpoints[{place}]: {error}") from None
        if options.tls is not None and not endpoint.secure:
            raise InvalidOptions(f"endpoints[{place}]: {endpoint} is not https, but tls is given")
        endpoints.append(endpoint)
    return endpoints


def _read_tls(options: TlsOptions) -> Tls:
    if (options.cert_file is None) != (options.key_file is None):
        raise OSError("tls: cert-file and key-file belong together: give both or none")
    tls = Tls(
        None if options.ca_file is None else _read("tls.ca-file", options.ca_file),
        None if options.cert_file is None else _read("tls.cert-file", options.cert_file),
        None if options.key_file is None else _read("tls.key-file", options.key_file),
    )
    _check(options)
    return tls


def _check(options: TlsOptions) -> None:
    """That the files hold what they should: gRPC would only say later, and to nobody, that they do not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if options.ca_file is not None:
            context.load_verify_locations(options.ca_file)
    except ssl.SSLError as error:
        raise OSError(f"tls.ca-file: {options.ca_file} holds no certificate: {error.reason}") from None
    try:
        if options.cert_file is not None:
            context.load_cert_chain(options.cert_file, options.key_file, password=_no_password)
    except ssl.SSLError as error:
        raise OSError(
            f"tls.cert-file: {options.cert_file} and {options.key_file} are no certificate and its key: {error.reason}"
        ) from None


def _no_password() -> str:
    raise OSError("tls.key-file: the key is encrypted; give one that is not")


def _read(option: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise OSError(f"{option}: {path}: {error.strerror}") from None
