"""The files that ``statedb init`` writes: a commented configuration and, for manifests, an example cluster."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..demo.tour import example_cluster
from ..errors import StartError

CONFIG = "agent.yaml"
_CLUSTER = "cluster"

SOURCES = {
    "manifests": """\
  manifests:
    directory: cluster # YAML files with Cilium's CRDs; changes are followed
""",
    "kubernetes": """\
  kubernetes: {} # as kubectl does: $KUBECONFIG, ~/.kube/config, else the service account of the pod
  # kubernetes:
  #   context: production
  #   tables: [nodes, services] # fill only these
""",
    "kvstore": """\
  kvstore:
    endpoints: ["http://127.0.0.1:2379"] # all servers of one etcd cluster
    # tls: {ca-file: ca.pem, cert-file: client.pem, key-file: client-key.pem}
    # username: statedb
    # password-file: password
""",
    "clustermesh": """\
  clustermesh:
    endpoints: ["https://127.0.0.1:2379"] # an etcd in ClusterMesh layout, or several replicas of one
    tls: {ca-file: ca.pem, cert-file: client.pem, key-file: client-key.pem}
  # kubernetes: {tables: [policies, namespaces]} # what such an etcd does not carry
""",
    "etcd": """\
  etcd:
    endpoints: ["http://127.0.0.1:2379"] # an etcd to which another agent publishes tables
    tables: [nodes, services, pods] # as they are called there, under `consumers: [publish: ...]`
    # tls: {ca-file: ca.pem, cert-file: client.pem, key-file: client-key.pem}
""",
}
"""For each backend, its lines below ``ingest:``."""

EXTRAS = {"kubernetes": "kubernetes", "kvstore": "etcd", "clustermesh": "etcd", "etcd": "etcd"}
"""For each backend, the extra of the package that it needs."""

_TEXT = """\
# The configuration of a statedb agent. Try it, and run it:
#
#   statedb check -c agent.yaml
#   statedb run -c agent.yaml
#
# Paths are relative to this file. A misspelt or wrong option is an error that names it.

cluster:
  name: cluster1 # lower-case letters, digits and dashes, at most 32
  id: 1 # different in each cluster of a mesh: 1 to 255, or to 511 if Cilium's max-connected-clusters says so

# Where rows come from. Each table has one source.{extra}
ingest:
{source}
# Tables derived from those above, kept up to date as they change.
# consumers: [ipcache, routes, loadbalancer, selectors]

http:
  listen: "127.0.0.1:9974" # this machine only; or unix:/run/statedb/agent.sock

log-level: info # debug, info, warning, error
log-format: text # json for programs
"""


def text(source: str) -> str:
    """The configuration for a backend."""
    extra = EXTRAS.get(source)
    return _TEXT.format(source=SOURCES[source], extra=f" Needs: pip install 'statedb[{extra}]'" if extra else "")


def write(folder: Path, source: str) -> list[Path]:
    """Write the files into a folder, which is created if needed. Returns their paths. Existing files are never
    overwritten.

    Raises StartError.
    """
    config, cluster = folder / CONFIG, folder / _CLUSTER
    wanted = [config, cluster] if source == "manifests" else [config]
    for path in wanted:
        if path.exists() or path.is_symlink():
            raise StartError(f"{path}: exists, and nothing is overwritten; name another folder, or remove it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if cluster in wanted:
            shutil.copytree(example_cluster(), cluster)
        with open(config, "x", encoding="utf-8") as file:
            file.write(text(source))
    except OSError as error:
        raise StartError(f"{error.filename}: cannot be written: {error.strerror}") from None
    return wanted
