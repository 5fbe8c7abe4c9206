"""Explains why a request failed, for operators. Knows nothing of Kubernetes."""

from __future__ import annotations

import socket
import ssl
from typing import Any


def reason(error: BaseException | Any) -> str:
    """The cause of a failed request, taken from the innermost error, without addresses of Python objects.

    ``error`` is an exception of urllib3 (Any: its ``args`` may have further errors).
    """
    seen = error
    for _ in range(8):
        inner = seen.__cause__ or next((each for each in seen.args if isinstance(each, BaseException)), None)
        if inner is None:
            break
        seen = inner
    if isinstance(seen, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {seen.verify_message}"
    if isinstance(seen, ssl.SSLError):
        return f"TLS: {seen.reason or type(seen).__name__}"
    if isinstance(seen, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(seen, TimeoutError) or "Timeout" in type(seen).__name__:
        return "no answer in time"
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror
    return f"the connection broke ({type(seen).__name__})"
