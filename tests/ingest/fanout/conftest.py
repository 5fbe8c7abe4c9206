"""Real etcd servers that may be mistreated."""

from ..clustermesh.conftest import server as server
