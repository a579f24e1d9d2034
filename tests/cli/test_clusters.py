"""`fallline fit --cluster`: the workers read the files and sum over their rows."""

import numpy as np
import pytest
from trees import QUICK, run, table

from fallline.exceptions import TableError
from fallline.fit import streamed
from fallline.model_file import load_model
from fallline.rows.partitioned import partitions_of_files
from fallline.table import encoded
from fallline.table.encoded import EncodedRows, columns_of
from fallline.table.stream import open_table


@pytest.fixture
def all_over(monkeypatch):
    """Rows that stay where they are, though they are few."""
    monkeypatch.setattr(encoded, "memory_available", lambda: 0)
    monkeypatch.setattr(streamed, "sample_rows", lambda rows: 50)


def as_folder(folder, path):
    """The table as three files in a folder."""
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    (folder / "parts").mkdir()
    for i, part in enumerate(np.array_split(lines, [70, 200])):
        (folder / "parts" / f"{i}.csv").write_text("\n".join([head, *part]) + "\n", encoding="utf-8")
    return folder / "parts"


@pytest.mark.parametrize("several", [True, False], ids=["a folder", "one file"])
def test_a_fit_on_a_cluster_is_the_fit_of_the_same_rows_from_disk(several, folder, cluster, all_over):
    path = table(folder, 300)
    path = as_folder(folder, path) if several else path
    fits = []
    for options in ([], ["--cluster", cluster.scheduler.address]):
        done = run("fit", path.resolve(), "-t", "height", *QUICK, "--overwrite", *options)
        assert done.exit_code == 0, done.output
        (model,) = folder.glob("*.fallline")
        fits.append(load_model(model))
    assert f"{path.name} is summed on the cluster" in done.stderr
    assert "over all rows at every step, summed on the cluster" in done.stdout
    one, other = fits
    assert one.columns.plan == other.columns.plan
    np.testing.assert_allclose(other.fitted.weights, one.fitted.weights, rtol=1e-6, atol=1e-8)
    assert one.about["figures"]["held-out"][0]["rows"] == other.about["figures"]["held-out"][0]["rows"]


def test_a_cluster_that_does_not_answer_and_what_needs_memory_are_refused(folder, cluster, monkeypatch):
    from fallline.rows import cluster as module

    monkeypatch.setattr(module, "_SECONDS_TO_ANSWER", 0.2)
    path = table(folder, 60)
    done = run("fit", path, "-t", "height", "--cluster", "tcp://127.0.0.1:9")
    assert done.exit_code == 1
    assert "no cluster answers at tcp://127.0.0.1:9" in done.stderr
    done = run("fit", path, "-t", "height", "--cluster", cluster.scheduler.address, "--k-fold", 5)
    assert done.exit_code == 2
    assert "is summed on the cluster, not in memory. --k-fold needs it there" in done.stderr


def test_a_file_that_a_worker_does_not_see_is_named(folder, cluster):
    opened = open_table(as_folder(folder, table(folder, 300)))
    rows = EncodedRows(opened, columns_of(opened, ["height"]))
    (folder / "parts" / "1.csv").unlink()
    with pytest.raises(
        TableError, match=r"the worker tcp://\S+ does not see \S+1.csv: put the table where all workers find it"
    ):
        partitions_of_files(rows)
