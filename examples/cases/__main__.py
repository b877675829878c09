"""Print what comes of every input in ../shared/cases: ``python examples/cases [WORD ...]``.

Words choose cases by folder or name. PYTHONPATH says which dtalk is run, so that two versions can
be compared: ``--json FILE`` keeps the results, ``--before FILE`` prints those of another run beside
them. Exit status 1 if a case fails. tests/examples/test_cases.py runs the quick ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cases import all_cases
from cases.kit import Case, Kit, NotTried, Verdict


def run(case: Case, cases: Path) -> Verdict | None:
    """The verdict of a case; none where this machine cannot try it."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            verdict = case.check(Kit(Path(folder), cases))
            return Verdict(bool(verdict.good), verdict.seen)
        except NotTried:
            return None
        except Exception as error:
            return Verdict(False, f"{type(error).__name__}: {str(error)[-100:]}")


def main() -> int:
    """Run the cases, print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="parts of folders or names")
    parser.add_argument("--json", type=Path, help="write the results")
    parser.add_argument("--before", type=Path, help="results of another version")
    parser.add_argument("--shared", type=Path, help="the folder of the cases")
    options = parser.parse_args()
    found = Path(__file__).resolve().parents[3] / "shared" / "cases"
    before = json.loads(options.before.read_text()) if options.before else {}
    results = {}
    for case in all_cases():
        name = f"{case.folder} {case.name}"
        if options.words and not any(word in name for word in options.words):
            continue
        started = time.perf_counter()
        verdict = run(case, options.shared or found)
        good, seen = (None, "not tried here") if verdict is None else (verdict.good, verdict.seen)
        results[name] = {"good": good, "seen": seen}
        mark = {True: "good", False: "BAD", None: "-"}[good]
        old = before.get(name)
        was = f"{'good' if old['good'] else 'bad'}: {old['seen']}  ->  " if old else ""
        print(f"{name:34} {was}{mark}: {seen}  [{time.perf_counter() - started:.1f} s]", flush=True)
    bad = sum(result["good"] is False for result in results.values())
    print(f"{len(results)} cases, {bad} bad")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
