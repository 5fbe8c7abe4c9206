"""A directory of YAML files in tables, with real files."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ingest.manifests.source as source_module
from ingest import BACKENDS, InvalidOptions, ManifestsOptions, OwnedElsewhere, Source
from ingest.directory import Directory
from statedb import Database, WatchSet
from statedb.catalog import TABLES, Endpoints, Identities, Nodes, Rejected, SourceRow, Sources

from ...waiting import eventually

NODE = """\
apiVersion: cilium.io/v2
kind: CiliumNode
metadata: {{name: {name}}}
spec:
  addresses: [{{ip: {ip}, type: InternalIP}}]
  ipam: {{podCIDRs: [10.244.{n}.0/24]}}
"""
IDENTITY = """\
apiVersion: cilium.io/v2
kind: CiliumIdentity
metadata: {{name: "{id}"}}
security-labels: {{"k8s:app": {app}}}
"""
WAIT_S = 60.0


def node(name: str, n: int = 1) -> str:
    return NODE.format(name=name, ip=f"172.18.0.{n}", n=n)


def identity(number: int, app: str = "web") -> str:
    return IDENTITY.format(id=number, app=app)


def documents(*texts: str) -> str:
    return "---\n".join(texts)


class Rig:
    """A source on a directory, and waiting for what the tables show."""

    def __init__(self, directory: Path, *, db: Database | None = None, **options: object) -> None:
        self.directory = directory
        self.db = db or Database(*TABLES)
        values = {"rescan_s": 0.02, "settle_s": 0.01, **options}
        self.source: Source = BACKENDS["manifests"].open(
            self.db,
            "c1",
            1,
            ManifestsOptions(directory=str(directory), **values),  # type: ignore[arg-type]
        )

    def write(self, name: str, *texts: str) -> None:
        hidden = self.directory / f".{name}"
        hidden.write_text(documents(*texts))
        os.replace(hidden, self.directory / name)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait on the tables until the condition holds."""
        while True:
            snapshot = self.db.snapshot()
            watches = WatchSet(*(snapshot[table].watch() for table in TABLES))
            if condition():
                return
            assert watches.wait(timeout=WAIT_S), f"never: {self.nodes()} {self.rejected()} {self.state()}"

    def nodes(self) -> dict[str, str]:
        return {row.key.name: row.addresses[0].ip for row in self.db.snapshot()[Nodes].values()}

    def identities(self) -> dict[int, str]:
        return {row.key.id: row.labels[0] for row in self.db.snapshot()[Identities].values()}

    def rejected(self) -> dict[str, str]:
        return {row.key.object: row.error for row in self.db.snapshot()[Rejected].values()}

    def state(self) -> SourceRow:
        return self.db.snapshot()[Sources].values()[0] if False else next(iter(self.db.snapshot()[Sources].values()))


@pytest.fixture
def make() -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(directory: Path, *, start: bool = True, db: Database | None = None, **options: object) -> Rig:
        rig = Rig(directory, db=db, **options)
        rigs.append(rig)
        if start:
            rig.source.start()
        return rig

    yield make
    for rig in rigs:
        rig.source.stop()
    for rig in rigs:
        assert rig.source.join(10)
        assert rig.source.failure is None


def test_a_directory_fills_the_tables_and_its_changes_follow(tmp_path: Path, make: Callable[..., Rig]):
    (tmp_path / "all.yaml").write_text(documents(node("a", 1), identity(1000), node("b", 2)))
    rig = make(tmp_path)
    assert rig.db.wait_initialized(*rig.source.tables, timeout=WAIT_S)
    assert rig.nodes() == {"a": "172.18.0.1", "b": "172.18.0.2"}
    assert rig.identities() == {1000: "k8s:app=web"}
    rig.write("more.yaml", node("c", 3))
    rig.until(lambda: "c" in rig.nodes())
    rig.write("all.yaml", node("a", 9))
    rig.until(lambda: rig.nodes() == {"a": "172.18.0.9", "c": "172.18.0.3"})
    assert rig.identities() == {}
    (tmp_path / "more.yaml").unlink()
    rig.until(lambda: rig.nodes() == {"a": "172.18.0.9"})


def test_initialized(tmp_path: Path, make: Callable[..., Rig]):
    """An empty directory is an empty list; a missing one says nothing, and its tables are not initialized."""
    rig = make(tmp_path / "d")
    rig.until(lambda: "No such file" in rig.state().last_error)
    assert rig.state().state == "connecting"
    assert not rig.db.snapshot()[Nodes].initialized
    (tmp_path / "d").mkdir()
    assert rig.db.wait_initialized(*rig.source.tables, timeout=WAIT_S)
    rig.until(lambda: rig.state().state == "synced")


def test_no_false_deletes(tmp_path: Path, make: Callable[..., Rig]):
    """A directory that goes away is an outage: the tables keep their content and say so."""
    directory = tmp_path / "d"
    directory.mkdir()
    (directory / "a.yaml").write_text(node("a"))
    rig = make(directory)
    rig.until(lambda: rig.state().state == "synced")
    with rig.db.changes(Nodes) as stream:
        stream.next(timeout=0)
        directory.rename(tmp_path / "elsewhere")
        rig.until(lambda: rig.state().state == "stale")
        assert "No such file" in rig.state().last_error
        assert rig.nodes() == {"a": "172.18.0.1"}
        (tmp_path / "elsewhere" / "b.yaml").write_text(node("b", 2))
        (tmp_path / "elsewhere").rename(directory)
        rig.until(lambda: "b" in rig.nodes() and rig.state().state == "synced")
        changes = [change for batch in iter(lambda: stream.next(timeout=0), None) for change in batch]
        assert [(change.row.key.name, change.deleted) for change in changes] == [("b", False)]
    shutil.rmtree(directory)
    rig.until(lambda: rig.state().state == "stale")
    assert set(rig.nodes()) == {"a", "b"}


def test_quiet(tmp_path: Path, make: Callable[..., Rig]):
    """Touched, rewritten and reordered files that say the same wake nobody."""
    rig = make(tmp_path)
    rig.write("a.yaml", node("a"), node("b", 2))
    rig.until(lambda: len(rig.nodes()) == 2)
    watch = rig.db.snapshot()[Nodes].watch()
    rig.write("a.yaml", "# a comment\n", node("b", 2), node("a"), identity(1))
    rig.until(lambda: len(rig.identities()) == 1)
    assert not watch.tripped


def test_a_bad_document_is_rejected_alone_and_heals(tmp_path: Path, make: Callable[..., Rig]):
    rig = make(tmp_path)
    rig.write("a.yaml", node("a"), node("b", 2), identity(7))
    rig.until(lambda: len(rig.nodes()) == 2)
    bad = node("b", 3).replace("  addresses: [{", "  bootid: []\n  addresses: [{")
    rig.write("a.yaml", node("a", 5), bad, identity(7), "kind: CiliumNode\n", "a: [\n", node("c", 6))
    rig.until(lambda: "c" in rig.nodes() and len(rig.rejected()) == 3)
    assert rig.nodes() == {"a": "172.18.0.5", "b": "172.18.0.2", "c": "172.18.0.6"}
    assert set(rig.rejected()) == {"a.yaml:CiliumNode/b", "a.yaml:18", "a.yaml:20"} or rig.rejected()
    row = next(row for row in rig.db.snapshot()[Rejected].values() if row.key.object == "a.yaml:CiliumNode/b")
    assert row.key.table == "nodes"
    assert row.excerpt.startswith("---")
    rig.write("a.yaml", node("b", 3))
    rig.until(lambda: rig.nodes() == {"b": "172.18.0.3"} and rig.rejected() == {})


def test_a_file_that_does_not_parse_keeps_its_last_good_objects(tmp_path: Path, make: Callable[..., Rig]):
    rig = make(tmp_path, file_bytes_max=10_000)
    rig.write("a.yaml", node("a"), node("b", 2))
    rig.until(lambda: len(rig.nodes()) == 2)
    for content in (b"\xff\xfe broken", b"a: [1,\n", b"#" * 10_001):
        (tmp_path / "a.yaml").write_bytes(content)
        rig.until(lambda: len(rig.rejected()) == 1)
        rig.write("other.yaml", node("c", 3))
        rig.until(lambda: set(rig.nodes()) == {"a", "b", "c"})
        rig.write("other.yaml")
        rig.until(lambda: set(rig.nodes()) == {"a", "b"})
        rig.write("a.yaml", node("a"), node("b", 2))
        rig.until(lambda: rig.rejected() == {})
    rig.write("a.yaml", node("b", 2))
    rig.until(lambda: set(rig.nodes()) == {"b"})


def test_a_file_that_is_empty_while_it_is_written_keeps_its_objects(tmp_path: Path, make: Callable[..., Rig]):
    """Most programs empty a file before they write it, and may be stopped in between for any time."""
    rig = make(tmp_path)
    rig.write("a.yaml", node("a"), node("b", 2))
    rig.until(lambda: set(rig.nodes()) == {"a", "b"})
    for _ in range(3):
        with open(tmp_path / "a.yaml", "w") as file:
            rig.until(lambda: "is empty" in rig.rejected().get("a.yaml", ""))
            rig.write("b.yaml", node("c", 3))  # whatever else happens there
            rig.until(lambda: set(rig.nodes()) == {"a", "b", "c"})
            os.utime(tmp_path / "a.yaml")
            rig.write("b.yaml")
            rig.until(lambda: set(rig.nodes()) == {"a", "b"})
            file.write(documents(node("a"), node("b", 2)))
        rig.until(lambda: rig.rejected() == {})
        assert set(rig.nodes()) == {"a", "b"}
    rig.write("a.yaml")  # another file in its place, which is empty
    rig.until(lambda: not rig.nodes())
    rig.write("a.yaml", node("a"))
    rig.until(lambda: set(rig.nodes()) == {"a"})
    (tmp_path / "a.yaml").write_bytes(b"")
    rig.until(lambda: len(rig.rejected()) == 1)
    (tmp_path / "a.yaml").unlink()
    rig.until(lambda: not rig.nodes() and rig.rejected() == {})


def test_a_file_that_is_written_during_a_warm_start_is_read_once_it_is_still(tmp_path: Path, make: Callable[..., Rig]):
    first = make(tmp_path)
    first.write("a.yaml", node("a"), node("b", 2))
    first.write("b.yaml", node("c", 3))
    first.until(lambda: set(first.nodes()) == {"a", "b", "c"})
    first.source.stop()
    assert first.source.join(10)
    second = make(tmp_path, start=False, db=first.db)
    pause, deleted = second.source._worker.pause, []
    with first.db.changes(Nodes, since=first.db.snapshot()) as changes, open(tmp_path / "a.yaml", "w") as file:

        def finish_writing(seconds: float) -> bool:
            if not file.closed:
                file.write(documents(node("a"), node("b", 4)))
                file.close()
            return pause(seconds)

        second.source._worker.pause = finish_writing
        second.source.start()
        while set(second.nodes().items()) != {("a", "172.18.0.1"), ("b", "172.18.0.4"), ("c", "172.18.0.3")}:
            deleted += [change.row.key.name for change in changes.next(WAIT_S) if change.deleted]
    assert not deleted


def test_secrets_are_not_shown(tmp_path: Path, make: Callable[..., Rig]):
    rig = make(tmp_path)
    rig.write("a.yaml", "kind: Secret\napiVersion: v1\nmetadata: {name: s}\ndata: {password: hunter2\n")
    rig.until(lambda: len(rig.rejected()) == 1)
    (row,) = rig.db.snapshot()[Rejected].values()
    assert "hunter2" not in f"{row}"


def test_kinds_of_others_are_ignored_and_misspelt_ones_are_rejected(tmp_path: Path, make: Callable[..., Rig]):
    rig = make(tmp_path)
    rig.write(
        "a.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n",
        "apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: x}\n",
        "apiVersion: cilium.io/v2\nkind: CiliumNod\nmetadata: {name: x}\n",
        "- just\n- text\n",
        node("a"),
    )
    rig.until(lambda: len(rig.rejected()) == 2)
    assert set(rig.nodes()) == {"a"}
    assert any("'CiliumNod'" in error for error in rig.rejected().values())


def test_lists_are_read_like_their_items(tmp_path: Path, make: Callable[..., Rig]):
    rig = make(tmp_path)
    untyped = "apiVersion: v1\nkind: List\nitems:\n- " + node("a").replace("\n", "\n  ").rstrip() + "\n"
    bare = node("b", 2).split("\n", 2)[2].replace("\n", "\n  ").rstrip()
    typed = f"apiVersion: cilium.io/v2\nkind: CiliumNodeList\nitems:\n- {bare}\n"
    rig.write("a.yaml", untyped, typed)
    rig.until(lambda: set(rig.nodes()) == {"a", "b"})
    assert rig.rejected() == {}


def test_two_files_that_claim_one_object_share_it_until_one_goes(tmp_path: Path, make: Callable[..., Rig]):
    rig = make(tmp_path)
    rig.write("a.yaml", node("n", 1))
    rig.until(lambda: rig.nodes() == {"n": "172.18.0.1"})
    rig.write("b.yaml", node("n", 2), node("seen", 3))
    rig.until(lambda: "seen" in rig.nodes())
    assert rig.nodes()["n"] == "172.18.0.1"
    with rig.db.changes(Nodes) as stream:
        stream.next(timeout=0)
        (tmp_path / "a.yaml").unlink()
        rig.until(lambda: rig.nodes()["n"] == "172.18.0.2")
        assert [change.deleted for change in stream.next(timeout=0) or ()] == [False]


def test_an_object_twice_in_one_file_counts_once_and_is_shown(tmp_path: Path, make: Callable[..., Rig]):
    rig = make(tmp_path)
    rig.write("a.yaml", node("n", 1), node("n", 2))
    rig.until(lambda: len(rig.rejected()) == 1)
    assert rig.nodes() == {"n": "172.18.0.1"}
    assert list(rig.rejected()) == ["a.yaml:CiliumNode/n (again)"]


def test_a_file_whose_name_is_not_utf8_is_read(tmp_path: Path, make: Callable[..., Rig]):
    """The source ended by an error as soon as it saved which directory its rows are from."""
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.yaml")).write_text(documents(node("n", 1), "kind: {"))
    rig = make(tmp_path)
    rig.until(lambda: len(rig.rejected()) == 1 and rig.state().state == "synced")
    assert rig.nodes() == {"n": "172.18.0.1"}
    assert next(iter(rig.rejected())).startswith("\\xff.yaml:")


def test_a_configmap_swap_is_taken_up_as_one_change(tmp_path: Path, make: Callable[..., Rig]):
    def generation(name: str, **files: str) -> None:
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / f"{file}.yaml").write_text(text)
        (tmp_path / "..data_tmp").symlink_to(name)
        os.replace(tmp_path / "..data_tmp", tmp_path / "..data")

    generation("..1", a=node("a"), b=node("b", 2))
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").symlink_to(f"..data/{name}.yaml")
    rig = make(tmp_path)
    rig.until(lambda: len(rig.nodes()) == 2)
    with rig.db.changes(Nodes) as stream:
        stream.next(timeout=0)
        generation("..2", a=node("a", 7), c=node("c", 3))
        shutil.rmtree(tmp_path / "..1")
        rig.until(lambda: set(rig.nodes()) == {"a", "c"})
        batch = stream.next(timeout=0)
        assert batch is not None
        assert {(c.row.key.name, c.deleted) for c in batch} == {("a", False), ("b", True), ("c", False)}


def test_an_address_that_moves_between_slices_is_never_deleted(tmp_path: Path, make: Callable[..., Rig]):
    def slice_of(name: str, *ips: str) -> str:
        endpoints = "".join(
            f"- {{name: p{ip}, id: 1000, networking: {{addressing: [{{ipv4: {ip}}}], node: 172.18.0.2}}}}\n"
            for ip in ips
        )
        return (
            "apiVersion: cilium.io/v2alpha1\nkind: CiliumEndpointSlice\n"
            f"metadata: {{name: {name}}}\nnamespace: default\nendpoints:\n{endpoints}"
        )

    rig = make(tmp_path)
    rig.write("a.yaml", slice_of("ces-1", "10.0.0.1", "10.0.0.2"), slice_of("ces-2", "10.0.0.3"))
    endpoints = lambda: {row.key.ip for row in rig.db.snapshot()[Endpoints].values()}  # noqa: E731
    rig.until(lambda: len(endpoints()) == 3)
    with rig.db.changes(Endpoints) as stream:
        stream.next(timeout=0)
        rig.write("a.yaml", slice_of("ces-1", "10.0.0.2"), slice_of("ces-2", "10.0.0.3", "10.0.0.1", "10.0.0.4"))
        rig.until(lambda: "10.0.0.4" in endpoints())
        changes = [change for batch in iter(lambda: stream.next(timeout=0), None) for change in batch]
    assert [(change.row.key.ip, change.deleted) for change in changes] == [("10.0.0.4", False)]


def test_only_the_chosen_tables_are_filled(tmp_path: Path, make: Callable[..., Rig]):
    rig = make(tmp_path, tables=("nodes",))
    rig.write("a.yaml", node("a"), identity(5), node("b", 2))
    rig.until(lambda: len(rig.nodes()) == 2)
    assert rig.identities() == {}
    assert [row.key.table for row in rig.db.snapshot()[Sources].values()] == ["nodes"]


def test_tables_that_it_cannot_carry_are_refused(tmp_path: Path, make: Callable[..., Rig]):
    with pytest.raises(InvalidOptions, match="no table 'pods'; they carry nodes"):
        make(tmp_path, start=False, tables=("pods",))
    with pytest.raises(InvalidOptions, match="at least one"):
        make(tmp_path, start=False, tables=())


def test_a_second_source_is_refused_and_the_next_one_after_stop_is_not(tmp_path: Path, make: Callable[..., Rig]):
    (tmp_path / "a.yaml").write_text(documents(node("a"), node("b", 2)))
    rig = make(tmp_path)
    rig.until(lambda: len(rig.nodes()) == 2 and rig.state().state == "synced")
    other = make(tmp_path, start=False)
    second = BACKENDS["manifests"].open(rig.db, "c1", 1, ManifestsOptions(directory=str(tmp_path)))
    with pytest.raises(OwnedElsewhere, match="'nodes' of cluster 'c1'"):
        second.start()
    rig.source.stop()
    assert rig.source.join(10)
    assert rig.state().state == "absent"
    (tmp_path / "b.yaml").unlink(missing_ok=True)
    (tmp_path / "a.yaml").write_text(node("a"))
    second = BACKENDS["manifests"].open(rig.db, "c1", 1, ManifestsOptions(directory=str(tmp_path)))
    second.start()
    rig.until(lambda: set(rig.nodes()) == {"a"})
    second.stop()
    assert second.join(10)
    assert other.source.join(0), "one that never started has ended"


def test_stop_is_prompt_and_may_come_twice(tmp_path: Path, make: Callable[..., Rig]):
    rig = make(tmp_path, rescan_s=3600.0)
    rig.until(lambda: rig.state().state == "synced")
    rig.source.stop()
    rig.source.stop()
    assert rig.source.join(2)


def test_objects_are_joined_again_only_when_a_file_has_changed(
    tmp_path: Path, make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
):
    """Each look at the directory took as long as all of its objects."""
    joined, looks = list[int](), list[int]()
    join, scan = source_module.join_services, Directory.scan
    monkeypatch.setattr(source_module, "join_services", lambda *each: joined.append(1) or join(*each))
    monkeypatch.setattr(Directory, "scan", lambda self: looks.append(1) or scan(self))
    (tmp_path / "a.yaml").write_text(node("a", 1))
    rig = make(tmp_path)
    rig.until(lambda: set(rig.nodes()) == {"a"})
    known = len(looks)
    eventually(lambda: len(looks) >= known + 5)
    assert len(joined) == 1
    rig.write("a.yaml", node("b", 2))
    rig.until(lambda: set(rig.nodes()) == {"b"})
    rig.write("b.yaml", node("a", 1))
    rig.until(lambda: set(rig.nodes()) == {"a", "b"})
    (tmp_path / "a.yaml").unlink()
    rig.until(lambda: set(rig.nodes()) == {"a"})
