"""Sphinx reads this: the site is built from the Markdown files beside it."""

from __future__ import annotations

from importlib.metadata import version as installed

project = "awa"
author = "the awa developers"
copyright = "the awa developers"  # noqa: A001 - the name that Sphinx reads
release = version = installed("awa-toolkit")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["grafana/*.json"]
# Links like serve.md#health go to headings.
myst_heading_anchors = 3
# The contributors' page is a file of the repository, and its links are to files of it.
myst_enable_extensions = ["colon_fence"]

autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
# Examples in docstrings are copied without their prompts.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"awa {release}"
html_copy_source = False
html_show_sphinx = False
