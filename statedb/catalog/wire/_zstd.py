"""One zstd frame to bytes and back, within bounds. Knows no format.

Python 3.14 has the codec in its standard library; before, the extras ``statedb[etcd]`` and ``statedb[zstd]`` bring the
same one.
"""

import sys
from typing import Any

from ._errors import WireError

_WINDOW_LOG_MAX = 24  # 16 MiB: what a decoder of Cilium keeps at most


def decompress(value: bytes, bytes_max: int) -> bytes:
    """What a frame holds. Raises WireError for what is none, is cut off, holds more, or where there is no codec."""
    zstd = _codec()
    try:
        decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX})
        data: bytes = decompressor.decompress(value, bytes_max + 1)
    except zstd.ZstdError as error:
        raise WireError(f"the value is no zstd frame: {error}") from None
    if len(data) > bytes_max:
        raise WireError(f"the value holds more than {bytes_max >> 20} MiB")
    if not decompressor.eof:
        raise WireError("the value is a zstd frame that is cut off")
    return data


def compress(data: bytes) -> bytes:
    """A frame that holds the bytes. Raises WireError where there is no codec."""
    frame: bytes = _codec().compress(data)
    return frame


def is_there() -> bool:
    """Whether there is a codec."""
    try:
        _codec()
    except WireError:
        return False
    return True


def _codec() -> Any:
    """The module (Any: one of two). Raises WireError."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        raise WireError("the value is compressed: install 'statedb[zstd]' to read it") from None
    return zstd
