"""Which server of several to talk to, and with what credentials. Knows nothing of what is stored there."""

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

_chance = SystemRandom()  # not the generator of the program that we run in: that may be seeded


class PemFiles(msgspec.Struct, frozen=True):
    """Paths of PEM files, and what their options are called where the user wrote them."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    names: tuple[str, str, str] = ("tls.ca-file", "tls.cert-file", "tls.key-file")


class UserPassword(msgspec.Struct, frozen=True):
    """User and password, where they stand together; it does not show them."""

    username: str
    password: str

    def __repr__(self) -> str:
        """Without the password."""
        return f"Login({self.username!r})"


class Servers(msgspec.Struct, frozen=True, kw_only=True):
    """Where to connect to, and how: with a login, or a user and the file of its password.

    ``locked``: one connection takes answers of one etcd cluster only. ``resolver`` is asked for names first.
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
    """Makes clients: of one server while it works, of the next when it failed. For one thread at a time.

    A name that a resolver knows is asked for anew after a connection that worked was lost, and when all of its
    addresses have failed.
    """

    def __init__(self, servers: Servers, *, shuffle: Callable[[list[Endpoint]], None] = _chance.shuffle) -> None:
        """Raises InvalidOptions naming the option. ``shuffle`` spreads many agents over the servers."""
        self._servers = servers
        self._endpoints = list(servers.endpoints)
        shuffle(self._endpoints)
        self._untried = len(self._endpoints)
        self._addresses: list[Endpoint] = []
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
        """A client of the server in turn. Certificates and password are read anew, so that they can be renewed.

        Raises Unavailable where a file is not in order, or the server's name has no address now; Closed after `close`.
        """
        servers = self._servers
        try:
            self._used = tls, login = self._credentials()
        except OSError as error:
            raise Unavailable(str(error)) from None
        if not self._addresses:
            self._addresses = self._resolved(self._endpoints[0])
        return Client(
            self._addresses[0],
            tls=tls,
            login=login,
            timeout_s=servers.timeout_s,
            keepalive=servers.keepalive,
            locked=servers.locked,
        )

    def close(self) -> None:
        """A name that is being asked for is given up, and no other is asked for. From any thread."""
        self._closed = True
        if self._resolver is not None:
            self._resolver.close()

    def _resolved(self, endpoint: Endpoint) -> list[Endpoint]:
        """A server, once for each address that the resolver knows of its name."""
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
        """Whether the files say something else than when we connected. Raises OSError if they are not in order."""
        return self._credentials() != self._used

    def mark_working(self) -> None:
        """The server in turn is in order."""
        self._untried = len(self._endpoints)
        del self._addresses[1:]

    def try_next(self) -> bool:
        """The server in turn is not: the next one's turn. False when all have failed, one after the other."""
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
        """Raises OSError, which ssl's errors are too; its text names option and file, never a secret."""
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
    ca, cert, key = pems.names
    if (pems.cert_file is None) != (pems.key_file is None):
        where, dot, name = cert.rpartition(".")
        raise OSError(
            f"{where + ': ' if dot else ''}{name} and {key.rpartition('.')[2]} belong together: give both or none"
        )
    tls = Tls(
        None if pems.ca_file is None else _read(ca, pems.ca_file),
        None if pems.cert_file is None else _read(cert, pems.cert_file),
        None if pems.key_file is None else _read(key, pems.key_file),
    )
    _check(pems)
    return tls


def _check(pems: PemFiles) -> None:
    """That the files hold what they should: gRPC would only say later, and to nobody, that they do not."""
    ca, cert, key = pems.names

    def no_password() -> str:
        raise OSError(f"{key}: the key is encrypted; give one that is not")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if pems.ca_file is not None:
            context.load_verify_locations(pems.ca_file)
    except ssl.SSLError as error:
        raise OSError(f"{ca}: {pems.ca_file} holds no certificate: {error.reason}") from None
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
            return file.read()
    except OSError as error:
        raise OSError(f"{option}: {path}: {error.strerror}") from None
