"""``statedb init``: what it writes is good, and nothing that exists is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest import BACKENDS
from statedb.agent import Agent, StartError, load_config
from statedb.agent.cli import start_files
from statedb.agent.cli.main import main


@pytest.mark.parametrize("source", BACKENDS)
def test_every_backend_has_a_configuration_that_is_good(source: str, tmp_path: Path):
    config, *_ = start_files.write(tmp_path / "new", source)
    (ingest,) = load_config(config).ingest
    assert ingest.backend == source


def test_what_is_commented_out_is_good_too(tmp_path: Path):
    config, _ = start_files.write(tmp_path, "manifests")
    config.write_text(config.read_text().replace("# consumers:", "consumers:"))
    assert len(load_config(config).consumers) == 4


def test_an_agent_runs_on_the_example(tmp_path: Path):
    config, _ = start_files.write(tmp_path, "manifests")
    config.write_text(config.read_text().replace("127.0.0.1:9974", "127.0.0.1:0"))
    with Agent(load_config(config)) as agent:
        assert agent.wait_synced(30)


@pytest.mark.parametrize("there", ["agent.yaml", "cluster"])
def test_nothing_is_overwritten(there: str, tmp_path: Path):
    (tmp_path / there).write_text("mine")
    with pytest.raises(StartError, match=there):
        start_files.write(tmp_path, "manifests")
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_the_command_says_what_it_wrote_and_what_is_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(["init", str(tmp_path / "new"), "--source", "kubernetes"])
    assert ended.value.code == 0
    config = tmp_path / "new" / "agent.yaml"
    assert capsys.readouterr().out == (
        f"wrote {config}\nnext: statedb check -c {config}, then statedb run -c {config}\n"
    )
    with pytest.raises(SystemExit) as ended:
        main(["init", str(tmp_path / "new"), "--source", "kubernetes"])
    assert ended.value.code == 2
    assert "exists, and nothing is overwritten" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="file"):
        start_files.write(tmp_path / "file" / "below", "kvstore")
