"""What the documentation site generates from the code: options, commands, HTTP resources, errors.

A Sphinx extension. The directive ``{generated} NAME`` puts the Markdown of one of the generators into a page.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from . import commands, errors, http, options

GENERATORS: dict[str, Callable[[], str]] = {
    "commands": commands.markdown,
    "errors": errors.markdown,
    "http": http.markdown,
    "options": options.markdown,
}
_FOLDER_LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)#]*[^)#/])/?\)")


class Generated(SphinxDirective):
    """Parses the Markdown that a generator gives, headings included."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        """The nodes of the page."""
        text = GENERATORS[self.arguments[0]]()
        self.env.note_dependency(__file__)
        lines = StringList(text.splitlines(), source=f"<generated {self.arguments[0]}>")
        holder = nodes.section()
        holder.document = self.state.document
        self.state.nested_parse(lines, 0, holder, match_titles=True)
        return holder.children


def _name_what_is_no_page(_: Sphinx, _docname: str, source: list[str]) -> None:
    """Links to files beside the documentation work in a checkout; on the site they become the names of the files."""
    source[0] = _FOLDER_LINK.sub(lambda found: f"`{found[2].removeprefix('../')}`", source[0])


def _plain(_: Sphinx, *arguments: Any) -> None:
    """Docstrings are prose: characters that are markup to docutils stand for themselves outside of literals."""
    lines: list[str] = arguments[-1]
    lines[:] = [_escaped(line) for line in lines]


def _escaped(line: str) -> str:
    parts = re.split(r"(``.*?``|`[^`]+`)", line)
    return "".join(
        part if at % 2 else re.sub(r"(?<!\w)\*(?=\S)|\|(?=\w)|(?<=\w)_(?!\w)", r"\\\g<0>", part)
        for at, part in enumerate(parts)
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("generated", Generated)
    app.connect("source-read", _name_what_is_no_page)
    app.connect("autodoc-process-docstring", _plain)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
