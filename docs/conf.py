"""Sphinx configuration, used by `make docs`.

The variable LESSONS controls the lessons: "small" (default) runs them on few images, "full" on all images, "none" shows
them without results.
"""

import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
LESSONS = os.environ.setdefault("LESSONS", "small")

project = "Shiftscope"
author = "The Shiftscope developers"
copyright = author
release = version = installed_version("shiftscope")
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon",
              "accessible", "command_reference", "docstrings", "mathml", "public_names"]
exclude_patterns = ["_build", "_ext", "conf.py", "images", "lessons/lesson_setting.py"]
smartquotes_action = "qe"  # quotes and ellipses only, so that --resume keeps its hyphens
default_role = "py:obj"  # `name` in a docstring is code, and a link if the name is public

# ---------------------------------------------------------------------- pages and lessons

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "attrs_inline"]
myst_heading_anchors = 4
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "off" if LESSONS == "none" else "force"
nb_execution_timeout = 600  # seconds per cell, more than a whole lesson needs
nb_execution_show_tb = True  # an error becomes a warning with traceback, and warnings fail `make docs`
nb_output_stderr = "remove"  # progress only; errors raise exceptions
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


def setup(app: Sphinx) -> None:
    """Rebuild when LESSONS changes."""
    app.add_config_value("lessons", LESSONS, "env")
