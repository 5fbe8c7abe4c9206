"""Compresses and decompresses one zstd frame, with bounded memory. Knows no format.

Python 3.14 has the codec in its standard library. For older versions the extras ``statedb[etcd]`` and ``statedb[zstd]``
install the same one.
"""

import sys
from typing import Any

from ._errors import WireError

_WINDOW_LOG_MAX = 24  # 16 MiB: the limit of Cilium's decoder


def decompress(value: bytes, bytes_max: int) -> bytes:
    """The content of a frame. Raises WireError for a bad, incomplete or too large frame, and without a codec."""
    zstd = _codec()
    try:
        decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX})
        data: bytes = decompressor.decompress(value, bytes_max + 1)
    except zstd.ZstdError as error:
        raise WireError(f"the value is not a zstd frame: {error}") from None
    if len(data) > bytes_max:
        raise WireError(f"the value has more than {bytes_max >> 20} MiB when decompressed")
    if not decompressor.eof:
        raise WireError("the value is an incomplete zstd frame")
    return data


def compress(data: bytes) -> bytes:
    """A frame with these bytes. Raises WireError without a codec."""
    frame: bytes = _codec().compress(data)
    return frame


def is_available() -> bool:
    """Whether a codec is installed."""
    try:
        _codec()
    except WireError:
        return False
    return True


def _codec() -> Any:
    """The module of the codec (Any: one of two). Raises WireError."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        raise WireError("the value is compressed: install 'statedb[zstd]' to read it") from None
    return zstd
