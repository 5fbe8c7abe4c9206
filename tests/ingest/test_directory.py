"""A directory of files as it is at one moment."""

import os
from pathlib import Path

import pytest

from ingest.directory import Directory, Outage, Read, Unreadable


def names(directory: Directory) -> list[str]:
    return list(directory.scan().files)


def test_yaml_and_json_files_count_in_the_order_of_their_names(tmp_path: Path):
    for name in ("b.yaml", "a.yml", "c.json", "d.txt", ".hidden.yaml", "e.yaml~"):
        (tmp_path / name).write_text("")
    (tmp_path / "f.yaml").mkdir()
    assert names(Directory(str(tmp_path), 100)) == ["a.yml", "b.yaml", "c.json"]


def test_a_missing_directory_is_an_outage_and_an_empty_one_is_not(tmp_path: Path):
    directory = Directory(str(tmp_path / "d"), 100)
    with pytest.raises(Outage, match="No such file"):
        directory.scan()
    (tmp_path / "d").mkdir()
    assert names(directory) == []
    (tmp_path / "d").rmdir()
    (tmp_path / "d").write_text("")
    with pytest.raises(Outage, match="Not a directory"):
        directory.scan()


def test_a_configmap_is_read_through_its_link_once(tmp_path: Path):
    for generation, text in (("..1", "old"), ("..2", "new")):
        (tmp_path / generation).mkdir()
        (tmp_path / generation / "a.yaml").write_text(text)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    directory = Directory(str(tmp_path), 100)
    scan = directory.scan()
    assert scan.atomic
    os.replace(swap(tmp_path, "..2"), tmp_path / "..data")
    content = directory.read(scan, "a.yaml")
    assert isinstance(content, Read)
    assert content.data == b"old", "all files of a look are of one generation"
    assert directory.scan().files != scan.files


def swap(directory: Path, generation: str) -> Path:
    link = directory / "..data_tmp"
    link.symlink_to(generation)
    return link


def test_a_configmap_whose_link_leads_nowhere_is_an_outage(tmp_path: Path):
    (tmp_path / "..data").symlink_to("..gone")
    with pytest.raises(Outage):
        Directory(str(tmp_path), 100).scan()
    (tmp_path / "..data").unlink()
    (tmp_path / "..data").symlink_to("..data")
    with pytest.raises(Outage):
        Directory(str(tmp_path), 100).scan()


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path):
    (tmp_path / "big.yaml").write_text("x" * 101)
    (tmp_path / "dangling.yaml").symlink_to("nowhere.yaml")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    (tmp_path / "gone.yaml").write_text("")
    directory = Directory(str(tmp_path), 100)
    scan = directory.scan()
    (tmp_path / "gone.yaml").unlink()
    assert directory.read(scan, "big.yaml") == Unreadable("larger than 100 bytes")
    assert directory.read(scan, "zero.yaml") == Unreadable("not a regular file")
    assert directory.read(scan, "gone.yaml") is None
    assert directory.read(scan, "dangling.yaml") == Unreadable("a link that leads nowhere")


def test_a_change_changes_the_signature_or_is_still_racy(tmp_path: Path):
    file = tmp_path / "a.yaml"
    file.write_text("one")
    now = [file.stat().st_mtime_ns + 1_000_000]
    directory = Directory(str(tmp_path), 100, wall_ns=lambda: now[0])
    first = directory.scan().files["a.yaml"]
    assert directory.is_racy(first)
    now[0] += 3_000_000_000
    assert not directory.is_racy(first)
    file.write_text("longer")
    assert directory.scan().files["a.yaml"] != first
