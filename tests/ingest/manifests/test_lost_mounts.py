"""A mount that is lost, swapped or replaced: what is missing then is a doubt, and not a truth."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from ingest.directory import Directory, Generation, Scan, difference
from statedb.catalog import Backends, SourceKey, SourceRow, Sources

from ...waiting import eventually
from .test_manifests import Rig, node


class Mount:
    """A folder that changes as a ConfigMap does: ``..data`` leads to the generation that counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def publish(self, **files: str) -> None:
        generation = self.path / f"..{uuid4()}"  # a name that no earlier one had, as kubelet's
        generation.mkdir()
        for name, text in files.items():
            (generation / f"{name}.yaml").write_text(text)
        (self.path / "..tmp").symlink_to(generation.name)
        before = os.path.realpath(self.path / "..data") if (self.path / "..data").is_symlink() else ""
        os.replace(self.path / "..tmp", self.path / "..data")
        if before:
            shutil.rmtree(before)


@contextmanager
def running(rig: Rig) -> Iterator[Rig]:
    rig.source.start()
    try:
        yield rig
    finally:
        rig.source.stop()
        assert rig.source.join(10)


def row(rig: Rig) -> SourceRow:
    return rig.db.snapshot()[Sources][SourceKey("c1", "nodes")]


def test_an_unmounted_volume_deletes_nothing_and_what_went_meanwhile_goes_when_it_is_back(tmp_path: Path):
    mount = Mount(tmp_path / "m")
    mount.publish(a=node("a", 1), b=node("b", 2))
    rig = Rig(mount.path)
    with running(rig):
        rig.until(lambda: rig.nodes().keys() == {"a", "b"} and row(rig).state == "synced")
        os.rename(mount.path, tmp_path / "away")
        mount.path.mkdir()  # an unmount leaves the folder that it was mounted on
        rig.until(lambda: "no longer mounted" in row(rig).last_error)
        assert row(rig).state == "stale"
        assert row(rig).withheld_deletes == 2
        assert rig.nodes().keys() == {"a", "b"}
        mount.path.rmdir()
        os.rename(tmp_path / "away", mount.path)
        mount.publish(b=node("b", 2))
        rig.until(lambda: rig.nodes().keys() == {"b"} and row(rig).state == "synced")


def test_a_mount_whose_files_are_deleted_one_by_one_deletes_nothing(tmp_path: Path):
    """Its ..data was still there when its first file was gone: that counted as the truth."""
    mount = Mount(tmp_path / "m")
    mount.publish(a=node("a", 1), b=node("b", 2))
    rig = Rig(mount.path)
    with running(rig):
        rig.until(lambda: rig.nodes().keys() == {"a", "b"} and row(rig).state == "synced")
        (mount.path / "..data" / "a.yaml").unlink()
        rig.until(lambda: row(rig).withheld_deletes == 1)
        assert "the mount is being deleted" in row(rig).last_error
        shutil.rmtree(mount.path)
        mount.path.mkdir()
        rig.until(lambda: row(rig).withheld_deletes == 2)
        assert rig.nodes().keys() == {"a", "b"}
        mount.publish(b=node("b", 2))
        rig.until(lambda: rig.nodes().keys() == {"b"} and row(rig).state == "synced")


SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.9.0.1, clusterIPs: [10.9.0.1], ports: [{name: http, port: 80, protocol: TCP}]}
"""
SLICE = """\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 80, protocol: TCP}]
endpoints: [{addresses: [10.0.0.1], conditions: {ready: true}}]
"""


@pytest.mark.parametrize("is_accepted", [False, True])
def test_a_slice_that_goes_first_while_its_mount_is_deleted_keeps_its_backends(tmp_path: Path, is_accepted: bool):
    """A slice has no rows of its own, so nothing seemed to be missing."""
    mount = Mount(tmp_path / "m")
    mount.publish(service=SERVICE, slice=SLICE)
    rig = Rig(mount.path)

    def of_backends() -> SourceRow:
        return rig.db.snapshot()[Sources][SourceKey("c1", "backends")]

    with running(rig):
        rig.until(lambda: len(rig.db.snapshot()[Backends]) == 1 and of_backends().state == "synced")
        (mount.path / "..data" / "slice.yaml").unlink()
        rig.until(lambda: of_backends().withheld_deletes == 1 or not rig.db.snapshot()[Backends])
        assert len(rig.db.snapshot()[Backends]) == 1
        assert "the mount is being deleted" in of_backends().last_error
        if is_accepted:
            rig.source.accept()
        else:
            mount.publish(service=SERVICE)
        rig.until(lambda: not rig.db.snapshot()[Backends] and of_backends().state == "synced")


def test_an_empty_file_of_a_mount_is_the_truth_whatever_its_inode(tmp_path: Path):
    """Files of a mount are never written where they are, but an inode may be used again."""
    mount = Mount(tmp_path / "m")
    mount.publish(a=node("a", 1), b=node("b", 2))
    rig = Rig(mount.path)
    with running(rig):
        rig.until(lambda: rig.nodes().keys() == {"a", "b"} and row(rig).state == "synced")
        os.link(mount.path / "..data" / "a.yaml", tmp_path / "a")
        next_one = mount.path / "..next"
        next_one.mkdir()
        (next_one / "b.yaml").write_text(node("b", 2))
        os.link(tmp_path / "a", next_one / "a.yaml")
        (mount.path / "..tmp").symlink_to(next_one.name)
        os.replace(mount.path / "..tmp", mount.path / "..data")
        os.truncate(tmp_path / "a", 0)
        rig.until(lambda: rig.nodes().keys() == {"b"} and row(rig).state == "synced")
        assert rig.rejected() == {}


def test_the_operator_can_accept_that_it_is_gone(tmp_path: Path):
    mount = Mount(tmp_path / "m")
    mount.publish(a=node("a", 1))
    rig = Rig(mount.path)
    with running(rig):
        rig.until(lambda: rig.nodes().keys() == {"a"} and row(rig).state == "synced")
        shutil.rmtree(mount.path)
        mount.path.mkdir()
        rig.until(lambda: row(rig).withheld_deletes == 1)
        rig.source.accept()
        rig.until(lambda: rig.nodes() == {} and row(rig).state == "synced")


def test_a_third_folder_that_stands_there_by_then_is_not_accepted(tmp_path: Path):
    mount = Mount(tmp_path / "m")
    mount.publish(a=node("a", 1), b=node("b", 1))
    rig = Rig(mount.path)
    with running(rig):
        rig.until(lambda: rig.nodes().keys() == {"a", "b"} and row(rig).state == "synced")
        os.rename(mount.path, tmp_path / "first")
        mount.path.mkdir()
        (mount.path / "b.yaml").write_text(node("b", 1))
        rig.until(lambda: row(rig).withheld_deletes == 1)
        os.rename(mount.path, tmp_path / "second")
        rig.until(lambda: "withholding" not in row(rig).last_error)  # nothing stands there
        rig.source.accept()
        mount.path.mkdir()
        rig.until(lambda: row(rig).withheld_deletes == 2)
        rig.source.accept()
        rig.until(lambda: rig.nodes() == {} and row(rig).state == "synced")


def test_what_is_accepted_while_no_folder_stands_there_does_not_hold_for_the_next_one(tmp_path: Path):
    """Nothing was withheld, and whatever came next was believed."""
    mount = Mount(tmp_path / "m")
    mount.publish(a=node("a", 1))
    rig = Rig(mount.path)
    with running(rig):
        rig.until(lambda: rig.nodes().keys() == {"a"} and row(rig).state == "synced")
        os.rename(mount.path, tmp_path / "away")
        rig.until(lambda: row(rig).state == "stale")
        rig.source.accept()
        mount.path.mkdir()
        rig.until(lambda: row(rig).withheld_deletes == 1 or not rig.nodes())
        assert rig.nodes().keys() == {"a"}
        rig.source.accept()
        rig.until(lambda: rig.nodes() == {} and row(rig).state == "synced")


def test_what_is_accepted_while_the_folder_in_doubt_is_away_is_void(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """It could come back with less than what the operator had seen, or another one with its inode."""
    mount = Mount(tmp_path / "m")
    mount.publish(a=node("a", 1))
    rig = Rig(mount.path)
    with running(rig):
        rig.until(lambda: rig.nodes().keys() == {"a"} and row(rig).state == "synced")
        os.rename(mount.path, tmp_path / "before")
        mount.path.mkdir()
        rig.until(lambda: row(rig).withheld_deletes == 1)
        os.rename(mount.path, tmp_path / "away")
        rig.until(lambda: "No such file" in row(rig).last_error)
        rig.source.accept()
        eventually(lambda: not rig.source._accepted)  # type: ignore[attr-defined]
        os.rename(tmp_path / "away", mount.path)
        rig.until(lambda: (row(rig).withheld_deletes == 1 and "mounted" in row(rig).last_error) or not rig.nodes())
        assert rig.nodes().keys() == {"a"}
    told = "manifests/c1: what was accepted before this outage counts for nothing; accept it again"
    assert caplog.messages.count(told) == 1


def test_a_plain_folder_that_is_emptied_is_the_truth_and_an_empty_one_in_its_place_is_not(tmp_path: Path):
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "a.yaml").write_text(node("a", 1))
    rig = Rig(folder)
    with running(rig):
        rig.until(lambda: rig.nodes().keys() == {"a"} and row(rig).state == "synced")
        os.rename(folder, tmp_path / "old")
        folder.mkdir()
        rig.until(lambda: "another directory stands there" in row(rig).last_error)
        assert rig.nodes().keys() == {"a"}
        rig.write("b.yaml", node("b", 2))  # one with files in it is how people replace all files at once
        rig.until(lambda: rig.nodes().keys() == {"b"} and row(rig).state == "synced")
        (folder / "b.yaml").unlink()
        rig.until(lambda: rig.nodes() == {})


def scan(device: int = 1, inode: int = 1, link: str = "", files: tuple[str, ...] = ()) -> Scan:
    return Scan(Path("/m"), dict.fromkeys(files, (0, 0, 0, 0)), Generation(device, inode, link))


@pytest.mark.parametrize(
    ("known", "now", "why"),
    [
        (scan(files=("a",)), scan(), ""),
        (scan(link="..1", files=("a",)), scan(link="..2"), ""),
        (scan(link="..1"), scan(), "no longer mounted"),
        (scan(device=1), scan(device=2, files=("a",)), "another file system"),
        (scan(inode=1, files=("a",)), scan(inode=2), "empty"),
        (scan(inode=1, files=("a",)), scan(inode=2, files=("b",)), ""),
    ],
)
def test_which_directory_is_the_one_that_we_knew(known: Scan, now: Scan, why: str):
    assert why in difference(known, now)
    assert bool(why) == bool(difference(known, now))


def test_a_generation_that_is_deleted_while_it_is_looked_at_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Stopped in the gap: after the names were listed, the next generation comes and this one is deleted."""
    mount = Mount(tmp_path / "m")
    mount.publish(a=node("a", 1), b=node("b", 2))
    listdir, swaps = os.listdir, [1]

    def swap_behind_it(path: object) -> list[str]:
        names = listdir(path)
        if swaps:
            swaps.pop()
            mount.publish(a=node("a", 1), b=node("b", 2), c=node("c", 3))
        return names

    directory = Directory(str(mount.path), 1 << 20)
    monkeypatch.setattr("ingest.directory.os.listdir", swap_behind_it)
    found = directory.scan()
    assert list(found.files) == ["a.yaml", "b.yaml", "c.yaml"]
    assert directory.is_current(found)
    mount.publish(a=node("a", 1))
    assert not directory.is_current(found)
