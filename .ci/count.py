"""Count the tests of junit files: none may be skipped, or expected to fail, but those marked gpu.

    python .ci/count.py GPU TESTS.XML …

GPU is what ``pytest --collect-only -q -m gpu`` printed.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

FEWEST_CHECKS = 50  # of scikit-learn's; fewer run where pandas or Polars is missing


def dotted(name: str) -> str:
    """One spelling of a test's name for pytest's "a/b.py::c" and junit's "a.b" and "c"."""
    return re.sub(r"\.py::|::|/", ".", name).lstrip(".")


def main() -> None:
    gpu = re.findall(r"^(\S+\.py::.*)$", Path(sys.argv[1]).read_text(encoding="utf-8"), re.M)
    cases = [case for path in sys.argv[2:] for case in ElementTree.parse(path).iter("testcase")]
    allowed = {dotted(name) for name in gpu}
    skipped = [
        dotted(f"{case.get('classname')}.{case.get('name')}") for case in cases if case.find("skipped") is not None
    ]
    checks = [case for case in cases if (case.get("name") or "").startswith("test_scikit_learn_check")]
    print(f"scikit-learn's estimator checks that ran: {len(checks)}")
    print(f"tests that ran: {len(cases) - len(skipped)}; skipped: {len(skipped)}")
    if unasked := sorted(set(skipped) - allowed):
        sys.exit("skipped or expected to fail, and not marked gpu:\n  " + "\n  ".join(unasked))
    if len(checks) < FEWEST_CHECKS:
        sys.exit(f"fewer than {FEWEST_CHECKS} of scikit-learn's checks ran: are pandas and Polars installed?")


if __name__ == "__main__":
    main()
