"""``fallline curve`` against SciPy's curve_fit, and a sentence for everything that can be wrong."""

import json
import re

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from trees import run


@pytest.fixture
def decay(folder):
    random = np.random.default_rng(4)
    x = np.linspace(0, 5, 30)
    y, noise = 3 * np.exp(-0.8 * x) + 1, np.linspace(0.02, 0.1, 30)
    y = y + noise * random.normal(size=30)
    lines = [f"{a},{b},{c},some words" for a, b, c in zip(x.tolist(), y.tolist(), noise.tolist(), strict=True)]
    path = folder / "decay.csv"
    path.write_text("\n".join(["time,signal,noise,remark", *lines, "7,,0.1,no signal"]), encoding="utf-8")
    return path, x, y, noise


CURVE = "a*exp(-b*time) + c"


def parameters(output):
    """{name: numbers} of the table of parameters that ``fallline curve`` prints."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in output.splitlines()]
    return {name: [float(each) for each in numbers] for name, *numbers in rows if name in ("a", "b", "c")}


@pytest.mark.parametrize("absolute", [True, False], ids=["absolute", "relative"])
def test_a_curve_has_the_parameters_and_standard_errors_of_curve_fit(decay, absolute):
    path, x, y, noise = decay
    arguments = ["--start", "a=1,b=1", "--sigma", "noise", *(["--absolute-sigma"] if absolute else [])]
    done = run("curve", path, "--y", "signal", "--model", CURVE, *arguments)
    assert done.exit_code == 0, done.stderr
    popt, pcov = scipy.optimize.curve_fit(
        lambda x, a, b, c: a * np.exp(-b * x) + c, x, y, sigma=noise, absolute_sigma=absolute
    )
    errors = np.sqrt(np.diag(pcov))
    reach = scipy.stats.norm.ppf(0.975) if absolute else scipy.stats.t.ppf(0.975, 27)
    expected = np.column_stack([popt, errors, popt - reach * errors, popt + reach * errors])
    np.testing.assert_allclose(list(parameters(done.stdout).values()), expected, rtol=1e-4)
    assert f"signal = {CURVE}" in done.stdout
    assert "30 rows, 27 degrees of freedom" in done.stdout
    assert done.stderr == "Note: 1 of 31 rows have a gap in these columns and are left out.\n"


def test_a_curve_takes_fixed_parameters_bounds_and_profiles(decay):
    path, *_ = decay
    arguments = ["--fix", "c=1", "--bounds", "b=0:0.7", "--profile"]
    done = run("curve", path, "--y", "signal", "--model", CURVE, *arguments)
    assert done.exit_code == 0, done.stderr
    assert re.search(r"^c +1 +fixed *$", done.stdout, re.M)
    assert re.search(r"^b +0\.7 ", done.stdout, re.M)
    assert "Intervals by profile likelihood" in done.stdout
    assert "At a bound: b" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--y", "signal", "--model", "a*exp(-b*time"], 1, "cannot be read at character 14: it ends here"),
        (["--y", "sginal", "--model", CURVE], 1, "has no column 'sginal': its columns are time, signal"),
        (["--y", "signal", "--model", "a*exp(-b*t)"], 1, "has none of the columns of decay.csv"),
        (["--y", "signal", "--model", "a*remark"], 1, "the column remark does not hold numbers"),
        (["--y", "signal", "--model", CURVE, "--start", "a:1"], 2, "'a:1' cannot be read: write b1=500,b2=1e-4"),
        (["--y", "signal", "--model", CURVE, "--bounds", "a=1"], 2, "'a=1' cannot be read: write b1=0:10"),
        (["--y", "signal", "--model", CURVE, "--start", "d=1"], 1, "'d' is no parameter of the curve"),
        (
            ["--y", "signal", "--model", CURVE, "--start", "a=9,b=9,c=9", "--max-iter", "1"],
            1,
            "Stopped at max_iter = 1",
        ),
    ],
)
def test_a_curve_that_cannot_be_fitted_is_a_sentence(decay, arguments, code, message):
    done = run("curve", decay[0], *arguments)
    assert done.exit_code == code
    assert message in done.stderr
    assert "Traceback" not in done.output


@pytest.fixture
def drugs(folder):
    random = np.random.default_rng(5)
    lines = ["time,signal,drug"]
    for name, height in (("<script>alert(1)</script>", 5.0), ("control", 3.0)):
        lines += [
            f"{t},{height * np.exp(-0.8 * t) + 0.05 * random.normal()},{name}" for t in np.linspace(0, 4, 40).tolist()
        ]
    path = folder / "drugs.csv"
    path.write_text("\n".join([*lines, "1,2,"]), encoding="utf-8")
    return path


GROUPED = ["--y", "signal", "--model", "h*exp(-k*time)", "--groups", "drug", "--shared", "k"]


def test_groups_share_what_is_asked_and_the_report_escapes_their_names(drugs, folder):
    done = run("curve", drugs, *GROUPED, "--output", folder / "out")
    assert done.exit_code == 0, done.stderr
    assert re.search(r"^h\[control\] +[23]\.", done.stdout, re.M)
    assert re.search(r"^k +0\.[78]", done.stdout, re.M)
    assert "k = 3 free parameters" in done.stdout
    assert "1 of 81 rows have a gap in these columns" in done.stderr
    path = folder / "out" / "drugs-signal-curve.html"
    assert f"Report  {path}" in done.stdout
    page = path.read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "h[&lt;script&gt;alert(1)&lt;/script&gt;]" in page
    assert page.count("<svg") == 4
    said = json.loads(re.search(r'id="fallline-report">(.*?)</script>', page)[1])
    assert said["parameters"]["k"] == pytest.approx(0.8, abs=0.05)
    assert np.shape(said["covariance"]) == (3, 3)
    assert "1 of 81 rows have a gap" in said["notes"][0]


def test_a_report_replaces_a_report_and_nothing_else(drugs, folder):
    path = folder / "drugs-signal-curve.html"
    path.write_text("my notes", encoding="utf-8")
    done = run("curve", drugs, *GROUPED, "-o", folder)
    assert done.exit_code == 1
    assert "exists and was not written by fallline" in done.stderr
    assert path.read_text(encoding="utf-8") == "my notes"
    path.unlink()
    assert run("curve", drugs, *GROUPED, "-o", folder).exit_code == 0
    again = run("curve", drugs, *GROUPED, "-o", folder)
    assert again.exit_code == 0, again.stderr
    assert sorted(each.name for each in folder.iterdir()) == ["drugs-signal-curve.html", "drugs.csv"]


def test_a_report_draws_the_band_of_the_curve_where_rows_have_their_own_noise(decay, folder):
    done = run("curve", decay[0], "--y", "signal", "--model", CURVE, "--sigma", "noise", "-o", folder)
    assert done.exit_code == 0, done.stderr
    page = (folder / "decay-signal-curve.html").read_text(encoding="utf-8")
    assert "The curve itself lies within the band with a probability of 95 %." in page
    assert "fallline curve" in page


def test_a_poor_fit_is_a_note(folder):
    x = np.linspace(0, 10, 100)
    path = folder / "wave.csv"
    path.write_text("\n".join(["x,y", *[f"{a},{np.sin(a)}" for a in x.tolist()]]), encoding="utf-8")
    done = run("curve", path, "--y", "y", "--model", "a*sin(w*x)", "--start", "a=0.1,w=9.3")
    assert done.exit_code == 0
    assert re.match(r"Note: A poor fit: R² is −?0\.", done.stderr)


def test_shared_without_groups_is_a_sentence(decay):
    done = run("curve", decay[0], "--y", "signal", "--model", CURVE, "--shared", "b")
    assert done.exit_code == 1
    assert "needs groups" in done.stderr
