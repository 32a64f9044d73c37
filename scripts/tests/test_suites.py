# SPDX-License-Identifier: GPL-2.0
"""Tests of scripts/suites."""

import json
import subprocess
import tempfile
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
SUITES = TOP / "scripts/suites"


class Suites(unittest.TestCase):
    def count(self, suites, *names, more=()):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as results:
            json.dump({"sub_groups": [{"name": name, "test_cases": [{"status": s} for s in cases], "sub_groups": []}
                                      for name, cases in suites.items()] + list(more)}, results)
            results.flush()
            return subprocess.run([SUITES, results.name, *names], text=True, capture_output=True, check=False)

    def expected(self):
        lines = (TOP / "expect/suites.txt").read_text().splitlines()
        return {name: ["PASS"] for name in lines if name and not set(name) & set("#\t")}

    def test_counts(self):
        suites = self.expected() | {"other": ["PASS", "SKIP", "FAIL"]}
        done = self.count(suites)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, f"1 fail, {len(suites)} pass, 1 skip\n")

    def test_counts_each_parameter(self):
        parameters = {"name": "a_test", "test_cases": [{"status": "PASS"}, {"status": "FAIL"}], "sub_groups": []}
        suite = {"name": "a", "test_cases": [{"status": "PASS"}], "sub_groups": [parameters]}
        self.assertEqual(self.count({}, "a", more=[suite]).stdout, "1 fail, 2 pass\n")

    def test_suite_that_did_not_run(self):
        done = self.count(self.expected() | {"rust_dma_resv": []})
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("rust_dma_resv did not run", done.stderr)

    def test_suites_by_name(self):
        self.assertEqual(self.count({"a": ["PASS"]}, "a").stdout, "1 pass\n")
        for suites in ({"b": ["PASS"]}, {"a": ["SKIP"]}, {"a": []}):
            self.assertIn("a did not run", self.count(suites, "a").stderr)


if __name__ == "__main__":
    unittest.main()
