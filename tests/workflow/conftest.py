"""One finished run of the tiny configuration, shared by the tests that look at it or copy it."""

import shutil
from pathlib import Path

import pytest

from workflow.workflow import copy_tree, run

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.workflow)


@pytest.fixture(scope="session")
def finished(root, once):
    """A tree in which results/fairness.csv and results/report.html were made from nothing."""
    return once("finished", lambda tree: run(copy_tree(root, tree, HERE / "tiny.yaml")))


@pytest.fixture
def tree(finished, tmp_path):
    """A private copy of the finished tree, time stamps kept."""
    target = tmp_path / "tree"
    shutil.copytree(finished, target, symlinks=True)
    return target
