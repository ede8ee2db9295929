"""The documents as a site: `make docs`. The API reference is generated from the docstrings of every public name."""

import inspect
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))  # public.py: what the tests hold to be public is what is listed

from public import public_names  # noqa: E402

import hawfinch as hf  # noqa: E402

project = "hawfinch"
author = "the hawfinch authors"
version = release = hf.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_parser"]
exclude_patterns = ["_build"]
suppress_warnings = ["myst.header", "myst.xref_missing"]  # a test follows every link, those out of docs/ too

default_role = "code"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_type_aliases = {"ArrayLike": "ArrayLike", "Array": "Array"}
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Arguments", "params_style"), "Design"]
python_use_unqualified_type_names = True
maximum_signature_line_length = 90
toc_object_entries = False
myst_heading_anchors = 3
add_module_names = False

html_theme = "alabaster"
html_title = f"hawfinch {version}"
html_static_path: list[str] = []
html_show_sphinx = html_show_copyright = html_copy_source = False
html_sidebars = {"**": ["about.html", "searchfield.html", "navigation.html"]}
html_theme_options = {
    "description": "A small, very fast neural-net engine",
    "fixed_sidebar": True,
    "page_width": "1160px",
    "sidebar_width": "230px",
    "font_family": "system-ui, sans-serif",
    "head_font_family": "system-ui, sans-serif",
    "sidebar_collapse": True,
}

# The home of a name (hawfinch.HOME...) decides its page.
PAGES = {
    "nn": "Models and layers",
    "train": "Training",
    "losses": "Losses",
    "metrics": "Metrics",
    "optim": "Optimisers",
    "schedules": "Schedules",
    "regularizers": "Regularisers",
    "constraints": "Constraints",
    "averaging": "Averages",
    "initializers": "Initialisers",
    "function": "Functions and gradients",
    "ops": "Operations",
    "kernels": "Kernels on arrays",
    "data": "Data",
    "files": "Files",
    "errors": "Errors and warnings",
    "values": "Values",
    "show_config": "This installation",
}


def write_reference(app: object) -> None:
    """docs/reference/api: one page per home, each name with its whole docstring."""
    folder = HERE / "reference" / "api"
    folder.mkdir(exist_ok=True)
    pages: dict[str, list[str]] = {home: [] for home in PAGES}
    known = public_names()
    for name, value in known.items():
        home = value.__module__.split(".")[1]
        pages.setdefault(home, []).append(name)
    for old in folder.glob("*.rst"):
        if not pages.get(old.stem):
            old.unlink()
    for home, names in pages.items():
        if not names:
            continue
        title = PAGES.get(home, home.capitalize())
        lines = [title, "=" * len(title), "", ".. list-table::", "   :widths: 25 75", ""]
        for name in names:
            first = [(inspect.getdoc(known[name]) or "").partition("\n")[0]]
            as_plain_text(app, "", name, None, None, first)
            lines += [f"   * - :py:obj:`{name} <hawfinch{name[2:]}>`", f"     - {first[0]}"]
        for name in names:
            directive = "autoclass" if inspect.isclass(known[name]) else "autofunction"
            lines += ["", f".. {directive}:: hawfinch{name[2:]}"]
            lines += ["   :members:"] if directive == "autoclass" else []
        lines += [""]
        text = "\n".join(lines)
        page = folder / f"{home}.rst"
        if not page.exists() or page.read_text() != text:  # an unchanged page is not built again
            page.write_text(text)
    index = ["The whole interface", "===================", "", ".. toctree::", "   :maxdepth: 1", ""]
    text = "\n".join([*index, *(f"   {home}" for home, names in pages.items() if names), ""])
    if not (folder / "index.rst").exists() or (folder / "index.rst").read_text() != text:
        (folder / "index.rst").write_text(text)


def as_plain_text(app: object, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Docstrings are plain text with `code`: a * or | in a formula is no markup."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            head = re.match(r"\s*(\* )?", line)[0]
            parts = re.split(r"(`+[^`]*`+)", line[len(head) :])
            lines[i] = head + "".join(
                p if p.startswith("`") else re.sub(r"([*|]|(?<=\w)_(?!\w))", r"\\\1", p) for p in parts
            )


def short_types(app, what, name, value, options, signature, returns):  # type: ignore[no-untyped-def]
    """NumPy's types by the names that the source uses."""

    def short(text: str | None) -> str | None:
        if text is None:
            return None
        text = text.replace("ndarray[tuple[Any, ...], dtype[Any]]", "ndarray")
        return re.sub(r"ndarray\[tuple\[Any, \.\.\.\], dtype\[(\w+)\]\]", r"NDArray[\1]", text)

    return short(signature), short(returns)


def setup(app) -> None:
    import hawfinch.files  # noqa: F401

    app.connect("autodoc-process-signature", short_types)
    app.connect("autodoc-process-docstring", as_plain_text, priority=400)  # before napoleon
    app.connect("builder-inited", write_reference)
