"""A TLS socket that Python 3.11 leaves open when its handshake never began."""

from __future__ import annotations

import ssl
import traceback


def close_unfinished_tls(error: OSError) -> None:
    """Close the TLS socket that Python leaves to the garbage collector if the peer resets before the handshake."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        made = frame.f_locals.get("self")
        if isinstance(made, ssl.SSLSocket):
            made.close()
