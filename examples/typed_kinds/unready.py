"""Print each deployment that has fewer pods ready than it wants, and its pods that are not ready, with their nodes."""

from collections.abc import Iterator

from ingest import kubernetes
from statedb import Database, Snapshot
from statedb.catalog import kinds


def unready(snapshot: Snapshot) -> Iterator[str]:
    """Lines about both tables at one instant. Every field has a type, which mypy and an editor know."""
    for deployment in snapshot[kinds.Deployments].values():
        wanted = 1 if deployment.spec.replicas is None else deployment.spec.replicas
        if deployment.status.ready_replicas >= wanted:
            continue
        name, namespace = deployment.key.name, deployment.key.namespace
        yield f"{namespace}/{name}: {deployment.status.ready_replicas} of {wanted} pods are ready"
        for pod in snapshot[kinds.Pods.by_namespace][namespace]:
            if deployment.spec.selector.selects(pod.labels) and not pod.status.holds("Ready"):
                yield f"  {pod.key.name}: {pod.status.phase} on {pod.spec.node_name or 'no node'}"


def main() -> None:
    """As the user of kubectl, or as the service account of a pod."""
    db = Database()
    source = kubernetes.resources(db, kinds.Pods, kinds.Deployments)
    source.start()
    db.wait_initialized(*source.tables)
    print(*unready(db.snapshot()), sep="\n")
    source.stop()


if __name__ == "__main__":
    main()
