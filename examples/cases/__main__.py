"""Print what comes of every input in ../shared/cases: ``python examples/cases [WORD ...]``.

Words choose cases by folder or name. PYTHONPATH says which dtalk is run, so that two versions can
be compared: ``--json FILE`` keeps the results, ``--before FILE`` prints those of another run beside
them (those that the cases were found with), ``--markdown`` makes README.md's table of both. Exit
status 1 if a case fails. tests/examples/test_cases.py runs the quick ones.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cases import all_cases
from cases.kit import Case, Kit, NotTried, Verdict

BEFORE = Path(__file__).with_name("before.json")
MARKS = {True: "good", False: "BAD", None: "-"}


def run(case: Case, cases: Path) -> Verdict:
    """The verdict of a case; neither good nor bad where this machine cannot try it."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return case.check(Kit(Path(folder), cases))
        except NotTried:
            return Verdict(None, "not tried here")
        except Exception as error:
            return Verdict(False, f"{type(error).__name__}: {str(error)[-100:]}")


def line(name: str, before: str, after: str) -> str:
    """A case on the terminal."""
    return f"{name:34} {before and f'{before}  ->  '}{after}"


def row(*cells: str) -> str:
    """A case in a page's table."""
    plain = [" ".join(cell.split()).replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(plain)} |"


def described(verdict: Verdict) -> str:
    """A verdict in words."""
    return f"{MARKS[verdict.good]}: {verdict.seen}"


def main() -> int:
    """Run the cases, print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="parts of folders or names")
    parser.add_argument("--json", type=Path, help="write the results")
    parser.add_argument("--before", type=Path, default=BEFORE, help="results of another version")
    parser.add_argument("--markdown", action="store_true", help="print rows of a page's table")
    parser.add_argument("--shared", type=Path, help="the folder of the cases")
    options = parser.parse_args()
    found = Path(__file__).resolve().parents[3] / "shared" / "cases"
    earlier = json.loads(options.before.read_text(encoding="utf-8"))
    before = {name: described(Verdict(**result)) for name, result in earlier.items()}
    results: dict[str, Verdict] = {}
    for case in all_cases():
        name = f"{case.folder} {case.name}"
        if options.words and not any(word in name for word in options.words):
            continue
        results[name] = run(case, options.shared or found)
        shown = row if options.markdown else line
        print(shown(name, before.get(name, ""), described(results[name])), flush=True)
    bad = sum(result.good is False for result in results.values())
    print(f"{len(results)} cases, {bad} bad")
    if options.json:
        content = {name: dataclasses.asdict(result) for name, result in results.items()}
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
