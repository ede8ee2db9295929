"""What tests of this folder share: pictures that a test draws are closed behind it."""

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def closed_pictures() -> Iterator[None]:
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
