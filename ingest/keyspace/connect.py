"""Chooses one of several servers, and reads the credentials for it. Knows nothing of what is stored there."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from random import SystemRandom

import msgspec

from ..errors import InvalidOptions
from ..etcd import Client, Closed, Endpoint, Keepalive, Tls, Unavailable, parse_endpoint
from ..names import MakeResolver, Unresolved
from .options import EtcdServers, TlsOptions
from .resolving import aliased, checked_aliases, resolver_of

_chance = SystemRandom()  # the global generator belongs to the program that we run in, which may have seeded it


class PemFiles(msgspec.Struct, frozen=True):
    """Paths of PEM files, and the names of the options that the user set them with."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    names: tuple[str, str, str] = ("tls.ca-file", "tls.cert-file", "tls.key-file")


class UserPassword(msgspec.Struct, frozen=True):
    """A user name and a password. The password is not shown by `repr`."""

    username: str
    password: str

    def __repr__(self) -> str:
        """Without the password."""
        return f"Login({self.username!r})"


class Servers(msgspec.Struct, frozen=True, kw_only=True):
    """The servers to connect to, and the credentials: a login, or a user and the file with the password.

    With ``locked`` a connection accepts answers from one etcd cluster only. ``resolver`` is tried first for names.
    """

    endpoints: tuple[Endpoint, ...]
    pems: PemFiles | None = None
    login: UserPassword | None = None
    username: str | None = None
    password_file: str | None = None
    timeout_s: float = 30.0
    keepalive: Keepalive = Keepalive()
    locked: bool = False
    resolver: MakeResolver | None = None

    @property
    def certificate_files(self) -> dict[str, str]:
        """The files with certificates, by the names of their options."""
        if self.pems is None:
            return {}
        named = zip(self.pems.names, (self.pems.ca_file, self.pems.cert_file))
        return {name: path for name, path in named if path is not None}


class Connector:
    """Makes clients of the current server, and of the next one when that fails. For one thread at a time.

    A name that the resolver knows is resolved again after a working connection was lost, and when all of its addresses
    have failed.
    """

    def __init__(self, servers: Servers, *, shuffle: Callable[[list[Endpoint]], None] = _chance.shuffle) -> None:
        """Raises InvalidOptions naming the option. ``shuffle`` spreads many agents over the servers."""
        self._servers = servers
        self._endpoints = list(servers.endpoints)
        shuffle(self._endpoints)
        self._untried = len(self._endpoints)
        self._addresses: list[Endpoint] = []
        self._resolved_to = 1
        self._shuffle = shuffle
        self._resolver = None if servers.resolver is None else servers.resolver()
        self._closed = False
        if (servers.username is None) != (servers.password_file is None):
            raise InvalidOptions("username and password-file belong together: give both or none")
        try:
            self._used = self._credentials()
        except OSError as error:
            raise InvalidOptions(str(error)) from None

    @property
    def servers(self) -> Servers:
        """Where it connects to."""
        return self._servers

    def connect(self) -> Client:
        """A client of the current server. Certificates and password are read again, so that they can be renewed.

        Raises Unavailable if a file cannot be used, or the server's name has no address now. Raises Closed after
        `close`.
        """
        servers = self._servers
        try:
            self._used = tls, login = self._credentials()
        except OSError as error:
            raise Unavailable(str(error)) from None
        if not self._addresses:
            self._addresses = self._resolved(self._endpoints[0])
            self._resolved_to = len(self._addresses)
        return Client(
            self._addresses[0],
            tls=tls,
            login=login,
            timeout_s=servers.timeout_s,
            keepalive=servers.keepalive,
            locked=servers.locked,
        )

    def close(self) -> None:
        """Cancel the resolution of a name, and allow no further one. May be called from any thread."""
        self._closed = True
        if self._resolver is not None:
            self._resolver.close()

    def _resolved(self, endpoint: Endpoint) -> list[Endpoint]:
        """The server with each address that the resolver has for its name."""
        if self._resolver is None or endpoint.address:
            return [endpoint]
        try:
            places = self._resolver.resolve(endpoint.host, endpoint.port)
        except Unresolved as error:
            if self._closed:
                raise Closed(f"{endpoint}: the connector is closed") from None
            raise Unavailable(f"{endpoint}: {error}") from None
        if places is None:
            return [endpoint]
        found = [msgspec.structs.replace(endpoint, address=place.address, address_port=place.port) for place in places]
        self._shuffle(found)
        return found

    def credentials_changed(self) -> bool:
        """Whether the files have changed since we connected. Raises OSError if they cannot be used."""
        return self._credentials() != self._used

    @property
    def has_others(self) -> bool:
        """Whether there is another server, which may have what the current one lacks."""
        return len(self._endpoints) > 1 or self._resolved_to > 1

    def mark_working(self) -> None:
        """The current server works."""
        self._untried = len(self._endpoints)
        del self._addresses[1:]

    def try_next(self) -> bool:
        """The current server failed: choose the next one. False when all have failed, one after the other."""
        del self._addresses[:1]
        if self._addresses:
            return True
        self._endpoints.append(self._endpoints.pop(0))
        self._untried -= 1
        if self._untried > 0:
            return True
        self._untried = len(self._endpoints)
        return False

    def _credentials(self) -> tuple[Tls, tuple[str, str] | None]:
        """Raises OSError, also for errors of ssl. The message names the option and the file, and has no secrets."""
        servers = self._servers
        tls = Tls() if servers.pems is None else _read_tls(servers.pems)
        if servers.login is not None:
            return tls, (servers.login.username, servers.login.password)
        if servers.username is None or servers.password_file is None:
            return tls, None
        try:
            password = _read("password-file", servers.password_file).decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise OSError(f"password-file: {servers.password_file} is not UTF-8 text") from None
        return tls, (servers.username, password)


def servers_of(options: EtcdServers, *, locked: bool = False) -> Servers:
    """The servers that options name. Raises InvalidOptions."""
    endpoints = []
    for place, text in enumerate(options.endpoints):
        try:
            endpoint = parse_endpoint(text)
        except ValueError as error:
            raise InvalidOptions(f"endpoints[{place}]: {error}") from None
        if options.tls is not None and not endpoint.secure:
            raise InvalidOptions(f"endpoints[{place}]: {endpoint} is not https, but tls is given")
        endpoints.append(endpoint)
    aliases = checked_aliases(options.host_aliases, endpoints)
    return Servers(
        endpoints=tuple(each for endpoint in endpoints for each in aliased(endpoint, aliases)),
        pems=None if options.tls is None else _pems(options.tls),
        username=options.username,
        password_file=options.password_file,
        timeout_s=options.request_timeout_s,
        keepalive=Keepalive(options.keepalive_s, options.keepalive_timeout_s),
        locked=locked,
        resolver=resolver_of(options.service_resolver),
    )


def _pems(tls: TlsOptions) -> PemFiles:
    return PemFiles(tls.ca_file, tls.cert_file, tls.key_file)


def _read_tls(pems: PemFiles) -> Tls:
    """What the files hold, checked. A file that another program is just writing must not be used half-written.

    `ssl` checks files, and not texts, so they are read before and after the check.
    """
    ca, cert, key = pems.names
    if (pems.cert_file is None) != (pems.key_file is None):
        where, dot, name = cert.rpartition(".")
        raise OSError(
            f"{where + ': ' if dot else ''}{name} and {key.rpartition('.')[2]} belong together: give both or none"
        )
    files = (ca, pems.ca_file), (cert, pems.cert_file), (key, pems.key_file)
    texts = [None if path is None else _read(option, path) for option, path in files]
    _check(pems)
    for (option, path), text in zip(files, texts):
        if path is not None and _read(option, path) != text:
            raise OSError(f"{option}: {path} changed while it was read; it is read again at the next attempt")
    return Tls(*texts)


def _check(pems: PemFiles) -> None:
    """Raises OSError if a file is wrong. gRPC would fail only later, without saying which."""
    ca, cert, key = pems.names

    def no_password() -> str:
        raise OSError(f"{key}: the key is encrypted; give one that is not")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if pems.ca_file is not None:
            context.load_verify_locations(pems.ca_file)
    except ssl.SSLError as error:
        raise OSError(f"{ca}: {pems.ca_file} holds no certificate: {error.reason}") from None
    except OSError as error:
        raise OSError(f"{ca}: {pems.ca_file}: {error.strerror}") from None
    try:
        if pems.cert_file is not None:
            context.load_cert_chain(pems.cert_file, pems.key_file, password=no_password)
    except ssl.SSLError as error:
        raise OSError(
            f"{cert}: {pems.cert_file} and {pems.key_file} are no certificate and its key: {error.reason}"
        ) from None


def _read(option: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise OSError(f"{option}: {path}: {error.strerror}") from None
    if not text:
        raise OSError(f"{option}: {path} is empty; a program that renews it should rename a complete file over it")
    return text
