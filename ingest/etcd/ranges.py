"""Prefixes as etcd's ranges: from a key up to, not including, another one."""


def range_end(prefix: bytes) -> bytes:
    r"""The end of the range of all keys under a prefix.

    >>> range_end(b"a/"), range_end(b"a\xff"), range_end(b"\xff"), range_end(b"")
    (b'a0', b'b', b'\x00', b'\x00')
    """
    head = prefix.rstrip(b"\xff")
    return head[:-1] + bytes([head[-1] + 1]) if head else b"\0"
