"""Credentials in files that another program is just renewing."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from ingest.etcd import Tls, Unavailable, parse_endpoint
from ingest.keyspace.connect import Connector, PemFiles, Servers

NAMES = ("ca", "cert", "key")


@contextmanager
def reading_in_turn(path: Path, contents: Sequence[bytes]) -> Iterator[None]:
    """Each opening of the file finds the next content, and then what it held before.

    It is a named pipe, which is replaced while it is being read.
    """
    whole = path.read_bytes()

    def serve() -> None:
        for number, content in enumerate(contents, start=1):
            with path.open("wb") as reader:  # waits for one
                path.unlink()
                if number < len(contents):
                    os.mkfifo(path)
                else:
                    path.write_bytes(whole)
                reader.write(content)

    path.unlink()
    os.mkfifo(path)
    server = threading.Thread(target=serve, daemon=True)
    server.start()
    yield
    server.join(10)
    assert not server.is_alive(), "not all was read"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    authority = trustme.CA()
    agent = authority.issue_cert("agent.example")
    texts = (authority.cert_pem, agent.cert_chain_pems[0], agent.private_key_pem)
    found = {name: tmp_path / name for name in NAMES}
    for path, text in zip(found.values(), texts, strict=True):
        text.write_to_path(str(path))
    return found


def connector(files: dict[str, Path]) -> Connector:
    pems = PemFiles(*[str(files[name]) for name in NAMES])
    return Connector(Servers(endpoints=(parse_endpoint("https://127.0.0.1:1"),), pems=pems))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_empty_when_it_is_read_is_named(files: dict[str, Path], name: str):
    """A check of the files a moment later finds them complete. gRPC aborts the process for an empty key."""
    connecting, whole = connector(files), files[name].read_bytes()
    files[name].write_bytes(b"")
    with pytest.raises(Unavailable, match=f"tls.{name}-file: .* is empty"):
        connecting.connect()
    files[name].write_bytes(whole)
    connecting.connect().close()


@pytest.mark.parametrize("name", NAMES)
def test_what_was_read_half_written_is_not_used(files: dict[str, Path], name: str):
    connecting, half = connector(files), files[name].read_bytes()[:100]
    with reading_in_turn(files[name], [half]):
        with pytest.raises(Unavailable, match=f"tls.{name}-file: .* changed while it was read"):
            connecting.connect()
    connecting.connect().close()


def test_what_was_read_empty_and_is_complete_a_moment_later_is_not_used(files: dict[str, Path]):
    """Without this, the check passes and gRPC gets half a pair: `Check failed: private_key != nullptr`, SIGABRT."""
    connecting = connector(files)
    with reading_in_turn(files["key"], [b""]):
        with pytest.raises(Unavailable, match=r"tls.key-file: .* is empty"):
            connecting.connect()
    connecting.connect().close()


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ({"certificate": b"c"}, "belong together"),
        ({"key": b"k"}, "belong together"),
        ({"certificate": b"c", "key": b""}, "is empty"),
        ({"certificate": b"", "key": b"k"}, "is empty"),
        ({"authorities": b""}, "is empty"),
    ],
)
def test_texts_for_which_grpc_aborts_or_trusts_the_system_are_refused(texts: dict[str, bytes], told: str):
    with pytest.raises(ValueError, match=told):
        Tls(**texts)
