# SPDX-License-Identifier: GPL-2.0
"""Tests of scripts/results."""

import importlib.machinery
import importlib.util
import json
import re
import tempfile
import unittest
from pathlib import Path
from unittest import mock

SCRIPT = Path(__file__).resolve().parent.parent / "results"
loader = importlib.machinery.SourceFileLoader("results", str(SCRIPT))
results = importlib.util.module_from_spec(importlib.util.spec_from_loader("results", loader))
loader.exec_module(results)

RESULT = {"command": "make test", "commit": "abc", "kernel": "1", "tools": "rustc 2", "depends": "",
          "time": 119, "built": 120, "text": "1 pass", "lines": ["| 1 |", "|---|"]}


class Results(unittest.TestCase):
    def test_pages(self):
        """The blocks that are shipped are those of docs/results.json, and each result has one."""
        kept = json.loads(results.KEPT.read_text())
        _, differ = results.check(kept)
        self.assertEqual(differ, [])
        blocks = [name for path in results.pages()
                  for name in re.findall(r"<!-- (\w+: \w+) -->\n(?:(?!<!--).*\n)+<!-- end -->\n", path.read_text())]
        tables = {f"results: {name}" for name in (*results.WRITES, "matrix", "bare", "fuzz", "bases")}
        lasts = {f"last: {name}" for name in results.DEPENDS if name not in ("bare", "bases", "matrix", "submit")}
        self.assertEqual(sorted(blocks), sorted(tables | lasts | {"first: bare", *(f"short: {name}" for name in results.SHORT)}))
        self.assertLessEqual(set(kept), set(results.DEPENDS))
        for name, result in kept.items():
            self.assertEqual(set(result) - {"note"}, set(RESULT), name)
        self.assertIn(f"\n- Base: Linux {kept['run']['kernel']}. ", (results.ROOT / "README.md").read_text())

    def test_short(self):
        """What a page says in short has the numbers of the table, each where it names the row."""
        for name, text in results.SHORT.items():
            cells = re.findall(r"\{0\[([^]]+)\]\[(\d)\]\}", text)
            self.assertGreater(len(cells), 1)
            # A cell says its row and column, without what the pattern of a cell has.
            lines = [f"| {row} | " + " | ".join(f"{n} of {row}" for n in range(3)) + " |" for row in {row for row, _ in cells}]
            said = " ".join(results.block("short", name, RESULT | {"lines": lines}).split())
            for row, n in cells:
                self.assertIn(f"{n} of {row}", said)
            # The rows are those that the page has.
            kept = json.loads(results.KEPT.read_text())[name]
            self.assertLessEqual({row for row, _ in cells}, {line.strip("| ").split(" | ")[0] for line in kept["lines"]})

    def test_block(self):
        page = "a\n<!-- last: test -->\nold\n<!-- end -->\n<!-- results: test -->\nold\n<!-- end -->\nb\n"
        about = "`make test` at abc, Linux 1, rustc 2"
        last = ("<!-- last: test -->\n- **Last run**: 119 s, and 2 min for builds; it ended with `rustgem: 1 pass` "
                f"({about})\n<!-- end -->\n")
        table = f"<!-- results: test -->\n| 1 |\n|---|\n\n{about}.\n<!-- end -->\n"
        self.assertEqual(results.written(page, {"test": RESULT}), f"a\n{last}{table}b\n")
        self.assertEqual(results.written(page, {}).count("- **Last run**: its time was not recorded.\n"), 2)
        for change, said in (({"text": ""}, f"119 s, and 2 min for builds ({about})"),
                             ({"text": "", "built": 0, "note": "with x"}, f"119 s, with x ({about})"),
                             ({"time": 0}, f"it ended with `rustgem: 1 pass` ({about})"),
                             ({"time": 0, "text": ""}, about)):
            self.assertEqual(results.block("last", "test", RESULT | change), f"- **Last run**: {said}\n")

    def test_long(self):
        """A line that is too long goes on in the next, with its time in the first."""
        lines = results.block("last", "test", RESULT | {"text": "x " * 99}).split("\n")
        self.assertEqual({line[:2] for line in lines[1:-1]}, {"  "})
        self.assertLessEqual(max(map(len, lines)), 120)
        self.assertIn(": 119 s, ", lines[0])

    def test_parts(self):
        """The parts of a target are told apart."""
        page = "<!-- last: rt -->\n<!-- end -->\n<!-- last: lazy -->\n<!-- end -->\n"
        text = results.written(page, {"rt": RESULT | {"text": "", "built": 0}})
        self.assertIn("\n- **Last run, PREEMPT_RT**: 119 s (", text)
        self.assertIn("\n- **Last run, PREEMPT_LAZY**: its time was not recorded.\n", text)

    def test_rows_with_commits(self):
        """Where each row has its commit, the line below names none."""
        lines = ["| row | commit |", "|---|---|", "| a | abc |"]
        self.assertEqual(results.block("results", "matrix", RESULT | {"lines": lines}),
                         "\n".join(lines) + "\n\nLinux 1; each row names its commit.\n")

    def test_first(self):
        """The README has the times of Debian 12."""
        lines = ["| suite | gcc | test | run | commit |", "|---|---|---|---|---|", "| trixie | 14 | 3 min | 4 min | abc |",
                 "| bookworm | 12 | 1 min 5 s | 2 min | def |"]
        said = results.block("first", "bare", RESULT | {"lines": lines})
        self.assertIn("took 1 min 5 s (`make test`) and then 2 min (`make run`)", " ".join(said.split()))
        self.assertIn("at def", said)

    def test_kept(self):
        """What a run leaves is taken, with its table, and with the rows that earlier ones left."""
        with tempfile.TemporaryDirectory() as top, mock.patch.object(results, "ROOT", Path(top)), \
                mock.patch.object(results, "KEPT", Path(top) / "kept"), mock.patch.dict(results.DEPENDS, {"matrix": []}):
            results.KEPT.write_text(json.dumps({"matrix": {"lines": ["", "", "| a | old | old |", "| b | old | old |"]}}))
            (results.ROOT / "table").write_text("| row | says |\n|---|--|\n| b   | new  |\n| c | new |\n")
            results.keep("matrix", "1", "rustc 2", "90", "5", "good", str(results.ROOT / "table"))
            kept = json.loads((results.ROOT / "out/matrix/kept.json").read_text())
            # Another run, before that one was taken.
            (results.ROOT / "table").write_text("| row | says |\n|---|--|\n| a | newer |\n")
            results.keep("matrix", "1", "rustc 2", "90", "5", "good", str(results.ROOT / "table"))
            rows = json.loads((results.ROOT / "out/matrix/kept.json").read_text())["lines"][2:]
        self.assertEqual(rows, ["| a | newer | unknown |", "| b | new | unknown |", "| c | new | unknown |"])
        self.assertEqual(kept | {"depends": ""}, RESULT | {
            "command": "make matrix", "commit": "unknown", "time": 90, "built": 5, "text": "good",
            "lines": ["| row | says | commit |", "|---|---|---|", "| a | old | old |", "| b | new | unknown |",
                      "| c | new | unknown |"]})

    def test_cells(self):
        """A cell is what matters of what a test said, also early and below 0; all of it where that is not found."""
        for test, said, cell in (
                ("vgem_timeout timeout.10000_expire_on_time",
                 "signaled after 10 s and -0.3 to 268.6 ms; the machine was 14.3 ms late", "-0.3 to 268.6 ms"),
                ("vgem_robust vgem_race.two_writers.one_attaches",
                 "of 20000 rounds, both attached in 3, none in 0, the first in 9", "3 of 20000 rounds"),
                ("vgem_robust vgem.expiry_is_told",
                 "of 9 fences, SIGNAL was in time for 1, 8 expired, 2 both", "2 of 9"),
                ("vgem_robust vgem.fences_are_charged",
                 "225 bytes charged for each of 9 fences; over the limit 1 times", "225 bytes")):
            self.assertEqual(results.short(said, *results.BETTER[test][1:]), cell)
            self.assertEqual(results.short("in other words", *results.BETTER[test][1:]), "in other words")

    def test_better(self):
        """The README's rows are kselftests that C fails, with what they said on C before what they said on Rust."""
        fails = (results.ROOT / "expect/kselftest.txt").read_text()
        for test in results.BETTER:
            self.assertIn("\n" + test.replace(" ", "\t") + "\t", fails)
        rows = [{"test": test, "c": {"said": f"{test} of C"}, "rust": {"said": f"{test} of Rust"}} for test in results.BETTER]
        with tempfile.TemporaryDirectory() as top, mock.patch.object(results, "ROOT", Path(top)):
            (results.ROOT / "out/run").mkdir(parents=True)
            (results.ROOT / "out/run/results.json").write_text(json.dumps({"kselftest": rows}))
            self.assertEqual(list(results.run_lines())[2:], [f"| `{test.split('.')[-1]}`: {title} | {test} of C | {test} of Rust |"
                                                             for test, (title, *_) in results.BETTER.items()])

    def test_submit(self):
        """What the abstractions add is told in percent of C; helpers are inlined where that was measured."""
        counts = {"entry": 400, "driver": 300, "abstraction": 30, "containers": 20, "allocation": 60, "locks": 30, "other": 10}
        with tempfile.TemporaryDirectory() as top, mock.patch.object(results, "ROOT", Path(top)):
            out = results.ROOT / "out/bench"
            for path, row, factor in (out, "SUBMIT: 1 buffer", 1), (out / "inlined", "SUBMIT: 1 buffer", 2):
                path.mkdir(parents=True)
                (path / "layers.tsv").write_text("".join(f"{row}\t{name}\t{factor * n}.0\n" for name, n in counts.items()))
            lines = list(results.submit_lines())
        self.assertEqual(lines[:2], ["| instructions | 1 buffer | inlined: 1 buffer |", "|---|---|---|"])
        self.assertEqual(lines[-3:], ["| C: all other functions | 40 | 80 |", "| together | 850 | 1700 |",
                                      "| abstraction and containers, added to C | 50 % | 50 % |"])

    def test_old(self):
        now = {name: RESULT | {"depends": results.depends(name)} for name in results.DEPENDS}
        self.assertEqual(results.check(now)[0], [])
        self.assertEqual(results.check(now | {"run": RESULT})[0], ["run"])

    def test_paths(self):
        """What a result depends on is there."""
        for paths in results.DEPENDS.values():
            for path in paths:
                self.assertTrue((results.ROOT / path).exists(), path)


if __name__ == "__main__":
    unittest.main()
