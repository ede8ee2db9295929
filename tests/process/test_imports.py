"""What `lint-imports` can't see: modules inside the package that import the package itself, as a user would."""

import re
from pathlib import Path

import hawfinch

ROOT = Path(hawfinch.__file__).parent
ON_TOP = ("cli", "diagnose", "linear", "sklearn")


def test_only_what_stands_on_top_imports_the_package_as_users_do():
    found = [
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if re.search(r"^\s*(import hawfinch|from hawfinch)\b", path.read_text(), re.M)
    ]
    assert {name.split("/")[0] for name in found} <= {*ON_TOP, "__init__.py"}, found
