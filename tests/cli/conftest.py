"""A folder to work in, and fitted models there and in memory."""

import pytest
from trees import QUICK, SETTINGS, run, table, tree_table

from fallline.cli.kept import saved_of
from fallline.cli.rows import prepare
from fallline.cli.table_fit import fit_table
from fallline.model_file import load_model


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fitted(folder):
    run("fit", table(folder), "-t", "height", *QUICK, "--tol", "0", "-q")
    return load_model(folder / "trees-height.fallline")


@pytest.fixture(scope="session")
def fit():
    return fit_table(prepare(tree_table(), ["height"]), **SETTINGS)


@pytest.fixture(scope="session")
def saved(fit):
    return saved_of(fit, "fallline fit", 0)
