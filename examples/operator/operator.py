"""An operator: each Website has a ConfigMap with its page, a status and a finalizer. Install crd.yaml first."""

from consumers import reconcile
from ingest import kubernetes
from statedb import Database

RESOURCE, FINALIZER = "websites.example.org", "example.org/website"


class Websites:
    """What is done for the rows. Each step may be repeated; what raises is tried again, with growing pauses."""

    def __init__(self, writer):
        self.writer = writer

    def update(self, snapshot, site):
        if site.deleting:
            self.delete(snapshot, site)
            return
        self.writer.add_finalizer(RESOURCE, site, FINALIZER)
        owner = self.writer.owner(RESOURCE, site)
        page = {"name": f"page-of-{site.key.name}", "namespace": site.key.namespace, "ownerReferences": [owner]}
        data = {"index.html": site.at("spec", "html")}
        self.writer.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": page, "data": data})
        self.writer.set_status(RESOURCE, site, {"ready": True, "observedGeneration": site.generation})

    def delete(self, snapshot, site):
        print("taken down:", site.key.name)  # whatever must be undone elsewhere comes here
        self.writer.remove_finalizer(RESOURCE, site, FINALIZER)

    def prune(self, snapshot, sites):
        """Nothing: what a Website owns goes with it."""


if __name__ == "__main__":
    db = Database()
    source = kubernetes.resources(db, RESOURCE)
    with kubernetes.writer("websites") as writer:
        source.start()
        reconcile(db, source.tables[0], Websites(writer), name="websites").run()
