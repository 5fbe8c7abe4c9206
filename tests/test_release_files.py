"""What a release and its contributors need: metadata, the workflow of a hosted CI, hooks for git."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

import yaml
from trove_classifiers import classifiers

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def test_classifiers_are_known_to_pypi_and_each_stands_once():
    named = PROJECT["classifiers"]
    assert set(named) <= classifiers
    assert len(set(named)) == len(named)


def test_the_hosted_ci_runs_what_a_developer_runs_on_the_oldest_and_the_newest_python():
    (job,) = load(".github/workflows/ci.yaml")["jobs"].values()
    assert job["steps"][-1] == {"run": ".ci/run"}
    minors = [each.rpartition(" :: ")[2] for each in PROJECT["classifiers"] if "Python :: 3." in each]
    assert job["strategy"]["matrix"]["python"] == [minors[0], minors[-1]]
    assert PROJECT["requires-python"] == f">={minors[0]}"


def test_hooks_run_programs_of_the_environment_that_make_check_makes():
    (repository,) = load(".pre-commit-config.yaml")["repos"]
    programs = {hook["entry"].split()[0] for hook in repository["hooks"]}
    assert {Path(program).parent for program in programs} == {Path(".venv/bin")}
    assert [each for each in programs if not (Path(sys.executable).parent / Path(each).name).exists()] == []
