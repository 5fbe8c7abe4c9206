"""The agent that a command queries, and the credentials for it: from options, the environment, and a user's file.

The file is ``client.yaml`` in ``~/.config/statedb``, or the file that ``STATEDB_CLIENT_CONFIG`` names. It has the
fields ``server``, ``ca-file``, ``cert-file``, ``key-file`` and ``token-file``, and is for one agent. It is ignored if
an option or the environment names a server, so that a token is never sent to another agent.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..client.credentials import Credentials
from ..client.remote import DEFAULT_SERVER, Remote
from ..errors import ConfigError
from ..process.strict import Problems, to_struct

_CONFIG = "STATEDB_CLIENT_CONFIG"
_FILES = ("ca_file", "cert_file", "key_file", "token_file")
NAMES = ("server", *_FILES)
"""The names of the options. In the environment they are called ``STATEDB_SERVER`` and so on."""


class _File(Credentials, frozen=True, kw_only=True, rename="kebab"):
    server: str | None = None


def agent(options: Mapping[str, Any], timeout_s: float | None = None) -> Remote:
    """The agent that these options select. Raises BadRequest, ConfigError."""
    given = {name: options.get(name) or os.environ.get(f"STATEDB_{name.upper()}") or None for name in NAMES}
    file = _File() if given["server"] else _read()
    files = {name: given[name] or getattr(file, name) for name in _FILES}
    server = given["server"] or file.server or DEFAULT_SERVER
    more = {} if timeout_s is None else {"timeout_s": timeout_s}
    return Remote(server, credentials=Credentials(**files), **more)


def _read() -> _File:
    named = os.environ.get(_CONFIG)
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    path = Path(named or f"{home}/statedb/client.yaml").expanduser()
    if not named and not path.exists():
        return _File()
    import yaml  # start-up time: most users have no such file

    try:
        value = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except yaml.YAMLError:
        raise ConfigError([f"{path}: is not YAML; write fields like 'server: https://agent.example:9974'"]) from None
    problems = Problems()
    found = to_struct(_File, {} if value is None else value, "", problems)
    if found is None:
        raise ConfigError([f"{path}: {problem}" for problem in problems])
    named_files = {name: _relative_to(path, getattr(found, name)) for name in _FILES}
    return msgspec.structs.replace(found, **named_files)


def _relative_to(path: Path, name: str | None) -> str | None:
    """A path relative to the directory of the file that names it."""
    return None if name is None else str(path.parent / os.path.expanduser(name))
