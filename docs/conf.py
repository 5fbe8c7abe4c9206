"""The documentation site: `make docs` builds it into build/docs, with warnings as errors."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from statedb import __version__

project = "statedb"
author = "the authors of statedb"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "_site"]
exclude_patterns = ["_site"]

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]
suppress_warnings = [
    "misc.highlighting_failure",  # some blocks show parts of files
    "toc.not_included",  # a new page may be written before its place in the menu is chosen
]

autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
default_role = "code"  # docstrings write `name` where Markdown does
add_module_names = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"statedb {release}"
html_theme_options = {"navigation_with_keys": True}
html_show_sphinx = False
html_copy_source = False
