"""Prints constraints for pip: the lowest versions that pyproject.toml allows; for the rest those of constraints.txt.

``make test-lowest`` installs them, so that a lower bound which does not work fails a test.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_EXTRAS = ("etcd", "kubernetes", "testing")
"""Those that users install."""


def lower_bounds(requirements: list[str]) -> dict[str, str]:
    """The lower bound of each requirement, by normalized name.

    >>> lower_bounds(["PyYAML>=6.0", "uvicorn>=0.54,<1", "statedb[etcd]"])
    {'pyyaml': '6.0', 'uvicorn': '0.54'}
    """
    found = [re.match(r"([A-Za-z0-9._-]+)>=([0-9.]+)", each) for each in requirements]
    return {_normalized(each[1]): each[2] for each in found if each is not None}


def constraints(pyproject: str, pinned: str) -> list[str]:
    """The lines of the constraints file. ``pinned`` is the text of constraints.txt."""
    project = tomllib.loads(pyproject)["project"]
    optional = [each for extra in _EXTRAS for each in project["optional-dependencies"][extra]]
    bounds = lower_bounds([*project["dependencies"], *optional])
    pins = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", pinned, re.MULTILINE))
    return [f"{name}=={bounds.get(_normalized(name), version)}" for name, version in pins.items()]


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    print(*constraints((_ROOT / "pyproject.toml").read_text(), (_ROOT / "constraints.txt").read_text()), sep="\n")
