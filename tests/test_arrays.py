import array_api_strict
import numpy as np
import pandas as pd
import pytest

from fallline.arrays import namespace, on_device, put, taken, to_numpy, widened, widest

WITHOUT_FLOAT64 = array_api_strict.Device("no_float64")


@pytest.mark.parametrize(
    "given",
    [1.0, None, [1.0, 2.0], np.ones(2), np.float64(1.0), pd.Series([1.0]), pd.DataFrame({"x": [1.0]}), array_api_strict.ones(2)],
    ids=["number", "nothing", "list", "array", "scalar", "column", "frame", "array of another library in memory"],
)  # fmt: skip
def test_what_numpy_can_read_is_on_no_device(given):
    assert not on_device(given)


def test_what_numpy_cannot_read_is_on_a_device(device):
    assert on_device(device.put(np.ones(3)))


def test_a_library_is_found_with_the_names_of_the_standard(device):
    assert namespace(np.ones(1)) is np
    for name in ("concat", "permute_dims", "astype", "take", "isdtype"):
        assert hasattr(namespace(device.put(np.ones(1))), name)


@pytest.mark.parametrize(
    "values",
    [np.arange(6.0).reshape(2, 3)[:, ::-1], np.broadcast_to(np.float64(2.0), (2, 3)), np.arange(6).reshape(3, 2).T],
    ids=["backwards", "read-only", "whole numbers, turned"],
)  # fmt: skip
def test_values_go_there_and_back_in_the_type_of_what_is_there(values, device):
    like = device.put(np.ones(1, np.float32))
    there = put(values, like)
    assert (there.dtype, there.device) == (like.dtype, like.device)
    np.testing.assert_array_equal(to_numpy(there), values)
    assert device.brought == [6]


def test_the_widest_type_is_float64_where_there_is_one(device):
    there = device.put(np.ones(2, np.float32))
    assert widest(there) == widened(there).dtype == device.put(np.ones(1)).dtype
    narrow = array_api_strict.ones(2, dtype=array_api_strict.float32, device=WITHOUT_FLOAT64)
    assert widest(narrow) == widened(narrow).dtype == array_api_strict.float32
    assert widened(np.ones(2, np.float32)).dtype == np.float64


@pytest.mark.parametrize("which", [np.array([2, 0, 2]), np.array([True, False, True])], ids=["numbers", "where True"])
def test_rows_are_taken_where_they_lie(which, device):
    rows = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(device.home(taken(device.put(rows), which)), rows[which])
    assert device.brought == []
