"""Random tables in random dialects: read right, or the doubt is said with the option that decides it, never wrong in silence."""

import pytest
from random_tables import random_table, verdict

TABLES, PARTS = 500, 20


@pytest.mark.parametrize("part", range(PARTS))
def test_no_table_is_read_wrong_in_silence(tmp_path, part):
    seeds = range(part * TABLES // PARTS, (part + 1) * TABLES // PARTS)
    found = {seed: verdict(random_table(seed), tmp_path / "t.csv") for seed in seeds}
    assert {seed: said for seed, said in found.items() if said[0] == "wrong in silence"} == {}
    right = sum(said == "right" for said, _ in found.values())
    assert right >= 0.8 * len(found)  # doubts that are always said would make a promise of nothing


@pytest.mark.parametrize("seed", [0, 5, 11])
def test_the_verdict_sees_a_table_that_means_something_else(tmp_path, seed):
    made = random_table(seed)
    for values in made.columns.values():
        values[0] = "something else"
    assert verdict(made, tmp_path / "t.csv")[0] == "wrong in silence"
