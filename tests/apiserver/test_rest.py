"""The client of the tests leaves nothing to Python's collector, whose warnings would fail a test that comes later."""

from __future__ import annotations

import gc
import socket
import struct
import threading
import warnings
from contextlib import suppress
from pathlib import Path

import trustme

from .rest import Rest


def test_a_reset_before_the_handshake_leaves_no_socket_behind(tmp_path: Path):
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def reset_all() -> None:
            for _ in range(20):
                connection, _ = listening.accept()
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()

        server = threading.Thread(target=reset_all)
        server.start()
        rest = Rest(f"https://127.0.0.1:{listening.getsockname()[1]}", str(tmp_path / "ca.pem"), "t")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for _ in range(20):
                with suppress(OSError):
                    rest.get("/x")
                gc.collect()
        server.join()
    assert [str(each.message) for each in told] == []
