"""Rows of before and a directory: `sources` says from which one they are, and so what a first look may delete."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import pytest

from ingest import ManifestsOptions
from ingest.backends import BACKENDS
from ingest.belief import History
from ingest.directory import Generation, Scan
from ingest.manifests.origin import history, origin_of
from statedb.catalog import Nodes, Sources

from .test_lost_mounts import Mount, row, running
from .test_manifests import Rig, node


def again(rig: Rig) -> Rig:
    """Another source on the same tables."""
    options = ManifestsOptions(directory=str(rig.directory), rescan_s=0.02, settle_s=0.01)
    rig.source = BACKENDS["manifests"].open(rig.db, "c1", 1, options)
    return rig


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    mount = Mount(tmp_path / "m")
    mount.publish(a=node("a", 1), b=node("b", 2))
    return mount


@pytest.fixture
def before(mount: Mount) -> Rig:
    """A source that has ended, and left its rows."""
    rig = Rig(mount.path)
    with running(rig):
        rig.until(lambda: rig.nodes().keys() == {"a", "b"} and row(rig).state == "synced")
    assert row(rig).origin
    return rig


def test_what_went_meanwhile_goes_with_the_first_look(mount: Mount, before: Rig):
    mount.publish(b=node("b", 2))
    with running(again(before)) as rig:
        rig.until(lambda: rig.nodes().keys() == {"b"} and row(rig).state == "synced")


def test_nothing_goes_where_the_directory_is_no_longer_mounted(mount: Mount, before: Rig):
    origin = row(before).origin
    shutil.rmtree(mount.path)
    mount.path.mkdir()
    with running(again(before)) as rig:
        rig.until(lambda: row(rig).withheld_deletes == 2 and "no longer mounted" in row(rig).last_error)
        assert row(rig).state == "stale"
        assert rig.nodes().keys() == {"a", "b"}
        assert not rig.db.snapshot()[Nodes].initialized
        assert row(rig).origin == origin, "the rows are still from there"
        os.rmdir(mount.path)
        Mount(mount.path).publish(b=node("b", 2))
        rig.until(lambda: rig.nodes().keys() == {"b"} and row(rig).state == "synced")


def test_nothing_goes_where_the_mount_is_half_deleted(mount: Mount, before: Rig):
    (mount.path / "..data" / "a.yaml").unlink()
    with running(again(before)) as rig:
        rig.until(lambda: row(rig).withheld_deletes == 1 and "the mount is being deleted" in row(rig).last_error)
        assert rig.nodes().keys() == {"a", "b"}
        mount.publish(b=node("b", 2))
        rig.until(lambda: rig.nodes().keys() == {"b"} and row(rig).state == "synced")


BROKEN = ["", "apiVersion: [", "apiVersion: cilium.io/v2\nkind: CiliumNode\nmetadata: {name: a}\nspec: 7\n", "a: 1\n"]


@pytest.mark.parametrize("text", BROKEN)
@pytest.mark.parametrize("cure", ["written", "removed", "accepted"])
def test_nothing_goes_that_may_be_in_a_file_that_cannot_be_read(tmp_path: Path, text: str, cure: str):
    """A source that does not end keeps these objects. After a restart they were deleted, and the source was synced."""
    first = Rig(tmp_path)
    first.write("a.yaml", node("a", 1))
    first.write("b.yaml", node("b", 2))
    with running(first):
        first.until(lambda: first.nodes().keys() == {"a", "b"} and row(first).state == "synced")
    (tmp_path / "a.yaml").write_text(text)
    with running(again(first)) as rig:
        rig.until(lambda: row(rig).withheld_deletes == 1 and "table 'rejected' names" in row(rig).last_error)
        assert (rig.nodes().keys(), row(rig).state) == ({"a", "b"}, "stale")
        assert len(rig.rejected()) == 1
        if cure == "written":
            rig.write("a.yaml", node("a", 1), node("c", 3))
        elif cure == "removed":
            (tmp_path / "a.yaml").unlink()
        else:
            rig.source.accept()
        expected = {"b"} | ({"a", "c"} if cure == "written" else set())
        rig.until(lambda: rig.nodes().keys() == expected and row(rig).state == "synced")
        assert bool(rig.rejected()) is (cure == "accepted")


def test_nothing_goes_that_may_be_in_an_unreadable_file_of_a_lost_mount(mount: Mount, before: Rig):
    """No object with rows was missing, so the empty folder counted as the mount."""
    mount.publish(a="apiVersion: [")
    with running(again(before)) as rig:
        rig.until(lambda: row(rig).withheld_deletes == 2 and "table 'rejected' names" in row(rig).last_error)
        os.rename(mount.path, mount.path.with_name("away"))
        mount.path.mkdir()
        rig.until(lambda: not rig.nodes() or "no longer mounted" in row(rig).last_error)
        assert rig.nodes().keys() == {"a", "b"}
        rig.source.accept()
        rig.until(lambda: not rig.nodes() and row(rig).state == "synced" and not rig.rejected())


def test_an_object_that_stands_twice_in_a_file_keeps_no_rows_of_before(tmp_path: Path):
    """It can be read. The row of a file that was removed stayed until somebody accepted that."""
    first = Rig(tmp_path)
    first.write("a.yaml", node("a", 1), node("a", 1))
    first.write("b.yaml", node("b", 2))
    with running(first):
        first.until(lambda: first.nodes().keys() == {"a", "b"} and row(first).state == "synced")
    (tmp_path / "b.yaml").unlink()
    with running(again(first)) as rig:
        rig.until(lambda: row(rig).state == "synced" or "rejected" in row(rig).last_error)
        assert (rig.nodes().keys(), row(rig).state) == ({"a"}, "synced")
        assert list(rig.rejected()) == ["a.yaml:CiliumNode/a (again)"]


def test_an_empty_file_in_a_directory_that_was_doubted_at_the_first_look_may_be_unwritten(tmp_path: Path):
    first = Rig(tmp_path / "m")
    first.directory.mkdir()
    first.write("a.yaml", node("a", 1))
    first.write("b.yaml", node("b", 2))
    with running(first):
        first.until(lambda: first.nodes().keys() == {"a", "b"} and row(first).state == "synced")
    os.rename(first.directory, tmp_path / "away")
    first.directory.mkdir()
    with running(again(first)) as rig:
        rig.until(lambda: row(rig).withheld_deletes == 2)
        (tmp_path / "away" / "b.yaml").write_text("")
        rig.directory.rmdir()
        os.rename(tmp_path / "away", rig.directory)
        rig.until(lambda: row(rig).state == "synced" or "table 'rejected' names" in row(rig).last_error)
        assert rig.nodes().keys() == {"a", "b"}


def test_rows_of_which_nobody_knows_the_directory_stay_until_accepted(mount: Mount, before: Rig):
    with before.db.write(Sources) as txn:
        for each in list(txn[Sources].values()):
            txn[Sources].insert(msgspec.structs.replace(each, origin='{"etcd":1}'))
    mount.publish(b=node("b", 2))
    with running(again(before)) as rig:
        rig.until(lambda: row(rig).withheld_deletes == 1 and "which directory" in row(rig).last_error)
        assert rig.nodes().keys() == {"a", "b"}
        rig.source.accept()
        rig.until(lambda: rig.nodes().keys() == {"b"} and row(rig).state == "synced")


def scan(device: int, inode: int, link: str, *files: str) -> Scan:
    return Scan(Path("/m"), {name: (n, 0, 0, 0) for n, name in enumerate(files)}, Generation(device, inode, link))


def digests(**files: str) -> dict[str, bytes]:
    return {name: digest.encode() for name, digest in files.items()}


BEFORE = origin_of(scan(1, 1, "..1", "a", "b"), digests(a="1", b="2"))


@pytest.mark.parametrize(
    ("now", "files", "judged"),
    [
        (scan(1, 1, "..2", "a"), digests(a="9"), History.SAME),
        (scan(7, 7, "..2", "a", "c"), digests(a="1", c="3"), History.SAME),  # a pod on another machine
        (scan(7, 7, "..2", "a", "c"), digests(a="9", c="1"), History.OTHER),  # other files in the same names
        (scan(7, 7, "..2"), {}, History.OTHER),
        (scan(1, 7, "..2"), {}, History.OTHER),
        (scan(1, 1, "", "a"), digests(a="1"), History.OTHER),  # a copy below the mount
        (scan(1, 1, ""), {}, History.OTHER),
        (scan(1, 1, "..1", "a"), digests(a="1"), History.OTHER),  # half deleted
        (scan(1, 1, "..1", "a", "b"), digests(a="1", b="2"), History.SAME),
    ],
)
def test_which_directory_the_rows_are_from(now: Scan, files: dict[str, bytes], judged: History):
    assert history(BEFORE, now, files)[0] is judged


@pytest.mark.parametrize("kept", ["", "{}", '{"cluster_uid":"u","versions":{}}', "\xff"])
def test_an_origin_that_is_none_of_a_directory_proves_nothing(kept: str):
    assert history(kept, scan(1, 1, "..1", "a"), digests(a="1"))[0] is History.UNPROVEN


def test_the_files_that_have_not_changed_for_the_longest_time_are_kept():
    names = [f"f{n:02}" for n in range(20)]
    kept = origin_of(scan(1, 1, "", *names), dict.fromkeys(names, b"x"))
    assert list(msgspec.json.decode(kept)["files"]) == names[:8]
