# SPDX-License-Identifier: GPL-2.0
"""Tests of scripts/report."""

import contextlib
import importlib.machinery
import importlib.util
import io
import json
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

SCRIPT = Path(__file__).resolve().parent.parent / "report"
loader = importlib.machinery.SourceFileLoader("report", str(SCRIPT))
spec = importlib.util.spec_from_loader("report", loader)
report = importlib.util.module_from_spec(spec)
sys.dont_write_bytecode = True
loader.exec_module(report)

LIST = "# why\nigt@a@one\n\nigt@a@two\n"


class Report(unittest.TestCase):
    def run_report(self, c, rust, log="", names=LIST):
        """Runs it on results {test: result}, and returns its status, words and JSON."""
        with tempfile.TemporaryDirectory() as directory:
            top = Path(directory)
            (top / "list").write_text(names)
            for driver, tests in (("c", c), ("rust", rust)):
                (top / driver).mkdir()
                (top / driver / "dmesg.txt").write_text(log if driver == "rust" else "")
                if tests is not None:
                    (top / driver / "results.json").write_text(json.dumps({
                        "uname": "Linux 7.3 <test>",
                        "tests": {name: {"result": result, "time": {"start": 1.0, "end": 2.5},
                                         "out": "Test requirement not met", "err": ""}
                                  for name, result in tests.items()}}))
            words = io.StringIO()
            with mock.patch.object(sys, "argv", ["report", top, top / "list", top]), \
                    contextlib.redirect_stdout(words):
                status = report.main()
            self.page = (top / "index.html").read_text()
            return status, words.getvalue(), json.loads((top / "results.json").read_text())

    def test_good(self):
        both = {"igt@a@one": "pass", "igt@a@two": "pass"}
        status, words, data = self.run_report(both, both)
        self.assertEqual(status, 0)
        self.assertRegex(words, r"a one +SUCCESS +SUCCESS")
        self.assertTrue(words.endswith("2 passed, 0 failed, 0 skipped\n"))
        self.assertTrue(data["good"])
        self.assertEqual(data["rows"][0]["rust"]["seconds"], 1.5)
        self.assertIn("Linux 7.3 &lt;test&gt;", self.page)

    def test_rust_worse(self):
        for result in ("fail", "skip", "crash", "timeout", "incomplete", "dmesg-warn"):
            c = {"igt@a@one": "pass", "igt@a@two": "pass"}
            status, words, data = self.run_report(c, c | {"igt@a@two": result})
            self.assertEqual(status, 1, result)
            self.assertIn("a two: SUCCESS on C", words)
            self.assertFalse(data["good"])

    def test_same_failure(self):
        both = {"igt@a@one": "pass", "igt@a@two": "skip"}
        status, words, _ = self.run_report(both, both)
        self.assertEqual(status, 0)
        self.assertTrue(words.endswith("1 passed, 0 failed, 1 skipped\n"))
        self.assertIn("C VGEM: Test requirement not met", words)
        self.assertIn("Test requirement not met", self.page)

    def test_rust_better(self):
        rust = {"igt@a@one": "pass", "igt@a@two": "pass"}
        self.assertEqual(self.run_report(rust | {"igt@a@one": "fail"}, rust)[0], 0)

    def test_missing(self):
        both = {"igt@a@one": "pass", "igt@a@two": "pass"}
        for gone in ({"igt@a@one": "pass"}, both | {"igt@a@two": "notrun"}):
            self.assertEqual(self.run_report(gone, both)[0], 1)
            self.assertEqual(self.run_report(both, gone)[0], 1)
            self.assertEqual(self.run_report(gone, gone)[0], 1)

    def test_no_tests(self):
        self.assertEqual(self.run_report({}, {}, names="# nothing\n")[0], 1)

    def test_nothing_passes(self):
        for result in ("skip", "fail", "crash"):
            both = {"igt@a@one": result, "igt@a@two": result}
            self.assertEqual(self.run_report(both, both)[0], 1)

    def test_no_results(self):
        with self.assertRaisesRegex(SystemExit, "no results"):
            self.run_report({}, None)

    def test_splats(self):
        both = {"igt@a@one": "pass", "igt@a@two": "pass"}
        for line in (
            "WARNING: CPU: 0 PID: 1 at kernel/x.c:1 f+0x1/0x2",
            "WARNING: possible circular locking dependency detected",
            "WARNING: suspicious RCU usage",
            "BUG: kernel NULL pointer dereference, address: 0000000000000000",
            "BUG: sleeping function called from invalid context at mm/x.c:1",
            "BUG: KASAN: slab-use-after-free in f+0x1/0x2",
            "Oops: 0000 [#1] SMP",
            "Kernel panic - not syncing: Fatal exception",
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "INFO: task a:1 blocked for more than 120 seconds.",
            "UBSAN: array-index-out-of-bounds in x.c:1:1",
            "refcount_t: underflow; use-after-free.",
            "watchdog: BUG: soft lockup - CPU#0 stuck for 26s!",
            "INFO: trying to register non-static key.",
            "BUG kmalloc-64 (Not tainted): Poison overwritten",
            "watchdog: Watchdog detected hard LOCKUP on cpu 0",
            "kmemleak: 3 new suspicious memory leaks (see /sys/kernel/debug/kmemleak)",
            "------------[ cut here ]------------",
            "rust_kernel: panicked at x.rs:1:1:",
            "dma_fence: 5:1 dropped before it was signalled",
        ):
            status, words, _ = self.run_report(both, both, f"[ 1.0] fine\n[ 2.0] {line}\n")
            self.assertEqual(status, 1, line)
            self.assertIn("Rust VGEM", words)

    def test_no_splats(self):
        both = {"igt@a@one": "pass", "igt@a@two": "pass"}
        log = ("[ 0.0] rcu: \tRCU lockdep checking is enabled.\n"
               "[ 0.0] vgem: loading out-of-tree module taints kernel.\n"
               '[ 0.0] virtme-ng-init: WARNING: failed to run: "x"\n'
               "[ 0.0] [IGT] vgem_basic: exiting, ret=0\n")
        self.assertEqual(self.run_report(both, both, log)[0], 0)

    def test_allowed(self):
        log = "BUG: a\n1\nBUG: b\nBUG: a\nBUG: a\nBUG: c\n"
        allowed = [(2, report.re.compile("BUG: a")), (1, report.re.compile("BUG: b"))]
        self.assertEqual(report.splats(log, allowed), ["BUG: c"])
        self.assertEqual(len(report.splats(log)), 1)

    def test_list(self):
        """The list that is shipped is one."""
        names = report.expected(SCRIPT.parent.parent / "expect/igt.txt")
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(sum(name.startswith("igt@vgem_basic@") for name in names), 16)


if __name__ == "__main__":
    unittest.main()
