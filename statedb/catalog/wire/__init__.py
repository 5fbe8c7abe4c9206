"""How Cilium spells the rows of the catalog: key names, label strings, values. Pure: no tables and no I/O.

One module per format, each with ``decode`` and ``encode`` side by side, inverse to each other:

    keys                          where things stand in etcd
    identities ips nodes services the values that stand there
    labels cidr addresses         the small texts inside of them
    crds                          the same rows from objects of Kubernetes

Decoders take what real writers wrote, the way Go's JSON reader does: field names in any case, unknown fields, null for
nothing. Encoders write what Cilium writes, byte for byte. What cannot be read raises WireError.
"""

from ._errors import DECODE_ERRORS, WireError
from .partly import PartlyRead, faults_of

__all__ = ["DECODE_ERRORS", "PartlyRead", "WireError", "faults_of"]
