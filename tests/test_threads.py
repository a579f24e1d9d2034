import numpy as np
from threadpoolctl import threadpool_info

from fallline.threads import one_blas_thread


def blas_threads():
    return {
        library["filepath"]: library["num_threads"]
        for library in threadpool_info()
        if library["user_api"] == "blas"
    }


def test_blas_has_one_thread_inside_and_as_many_as_before_after():
    with one_blas_thread():  # loads SciPy's BLAS beside NumPy's
        pass
    before = blas_threads()
    assert np.__version__
    with one_blas_thread():
        assert set(blas_threads().values()) == {1}
    assert blas_threads() == before
