"""Sphinx configuration, used by `make docs`.

The lessons are shown with the outputs in `lessons/outputs`, which `make lessons` stores.
"""

import sys
import tomllib
from importlib.metadata import version as installed_version
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]

project = "Shiftscope"
author = "The Shiftscope developers"
copyright = author
release = version = installed_version("shiftscope")
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon",
              "accessible", "command_reference", "docstrings", "lesson_pages", "mathml", "public_names"]
exclude_patterns = ["_build", "_ext", "conf.py", "images", "lessons/lesson_setting.py", "lessons/outputs"]
smartquotes_action = "qe"  # quotes and ellipses only, so that --resume keeps its hyphens
default_role = "py:obj"  # `name` in a docstring is code, and a link if the name is public

# ---------------------------------------------------------------------- pages and lessons

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "attrs_inline"]
myst_heading_anchors = 4
nb_custom_formats = {".py": ["lesson_pages.read_lesson", {}]}
nb_execution_mode = "off"  # see lesson_pages
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
nb_merge_streams = True
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # otherwise pages with a widget load scripts from the network

# ---------------------------------------------------------------------- reference

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

# ---------------------------------------------------------------------- theme

html_theme = "furo"
html_math_renderer = "mathml"
html_title = f"Shiftscope {release}"
html_static_path = ["_static"]
html_css_files = ["shiftscope.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"top_of_page_buttons": []}


def insert_repository(app: Sphinx, page: str, source: list[str]) -> None:
    """Replace `{{ repository }}` by the address in pyproject.toml, also in code blocks."""
    source[0] = source[0].replace("{{ repository }}", REPOSITORY)


def setup(app: Sphinx) -> None:
    """Insert the address of the repository into the pages."""
    app.connect("source-read", insert_repository)
