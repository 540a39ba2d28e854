"""Every test of this folder is long and belongs to the nightly tier, but for those of the harness itself."""

import pytest


def pytest_collection_modifyitems(items):
    """Mark the tests of this folder."""
    for item in items:
        if item.path.parent.name == "fuzz" and item.path.name != "test_harness.py":
            item.add_marker(pytest.mark.nightly)
