"""The options that replace the machine's resolver: aliases of hosts, and a resolver for Services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import msgspec

from statedb.catalog.wire import WireError
from statedb.catalog.wire.addresses import canonical

from ..errors import InvalidOptions, MissingDependency
from ..etcd import Endpoint
from ..names import MakeResolver
from .options import ServiceResolverOptions


def resolver_of(options: ServiceResolverOptions | None) -> MakeResolver | None:
    """The resolver for names of Services; None without options. Raises MissingDependency."""
    if options is None:
        return None
    try:
        from ..kubernetes.service_names import ServiceNames
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"service-resolver.kubernetes needs the package {error.name!r}; install 'statedb[kubernetes]'"
        ) from error
    return partial(ServiceNames, options.kubernetes)


def aliased(endpoint: Endpoint, aliases: Mapping[str, Sequence[str]]) -> list[Endpoint]:
    """The endpoint with each address that ``aliases`` has for its name. Names in ``aliases`` are in lower case."""
    addresses = aliases.get(endpoint.host)
    if not addresses:
        return [endpoint]
    return [msgspec.structs.replace(endpoint, address=address) for address in addresses]


def checked_aliases(aliases: Mapping[str, Sequence[str]], endpoints: Sequence[Endpoint]) -> dict[str, list[str]]:
    """The option ``host-aliases``, checked. Raises InvalidOptions with the reason."""
    hosts = {endpoint.host for endpoint in endpoints}
    found = {}
    for name, addresses in aliases.items():
        where = f"host-aliases.{name}"
        if name.lower() not in hosts:
            raise InvalidOptions(f"{where}: no endpoint has this name; they have {', '.join(sorted(hosts))}")
        if not addresses:
            raise InvalidOptions(f"{where}: the list is empty; name at least one address")
        try:
            found[name.lower()] = [canonical(address) for address in addresses]
        except WireError as error:
            raise InvalidOptions(f"{where}: {error}") from None
    return found
