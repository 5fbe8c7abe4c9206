"""Cilium's formats of the rows of the catalog: key names, label texts, values. Pure: no tables and no I/O.

One module for each format, with ``decode`` and ``encode`` that are inverse to each other:

    keys                          the names of keys in etcd
    identities ips nodes services the values of these keys
    labels cidr addresses         the texts inside them
    crds                          the same rows from objects of Kubernetes
    kinds metadata                typed rows from any object of Kubernetes

Decoders accept what real writers write, as the JSON decoder of Go does: field names in any case, unknown fields, null
for an absent value. Encoders write what Cilium writes, byte for byte. Decoders raise WireError for everything else.
"""

from ._errors import DECODE_ERRORS, WireError
from .partly import PartlyRead, faults_of

__all__ = ["DECODE_ERRORS", "PartlyRead", "WireError", "faults_of"]
