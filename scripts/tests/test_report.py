# SPDX-License-Identifier: GPL-2.0
"""Tests of scripts/report."""

import contextlib
import importlib.machinery
import importlib.util
import io
import json
import re
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

SCRIPT = Path(__file__).resolve().parent.parent / "report"
sys.path.insert(0, str(SCRIPT.parent))
loader = importlib.machinery.SourceFileLoader("report", str(SCRIPT))
spec = importlib.util.spec_from_loader("report", loader)
report = importlib.util.module_from_spec(spec)
sys.dont_write_bytecode = True
loader.exec_module(report)
import report_page  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent))
from html_page import Page  # noqa: E402

LIST = "# why\nigt@a@one\n\nigt@a@two\n"

TAP = """\
TAP version 13
1..2
# Starting 2 tests from 1 test cases.
#  RUN           f.v.one ...
# vgem_x.c:12:one:of 9 rounds, none
#            OK  f.v.one
ok 1 f.v.one
#  RUN           f.two ...
# vgem_x.c:30:two:Expected 0 (0) == both (7)
# two: Test failed
#          FAIL  f.two
not ok 2 f.two
# FAILED: 1 / 2 tests passed.
# Totals: pass:1 fail:1 xfail:0 xpass:0 skip:0 error:0
"""
GOOD = "1..2\nok 1 f.v.one\nok 2 f.two\n"


class Report(unittest.TestCase):
    def run_report(self, c, rust, log="", names=LIST, taps=(GOOD, GOOD), fails="", unload=("", ""),
                   c_log="", sample=None):
        """Runs it on results {test: result}, and returns its status, words and JSON."""
        with tempfile.TemporaryDirectory() as directory:
            top = Path(directory)
            (top / "igt.txt").write_text(names)
            (top / "kselftest.txt").write_text(fails)
            for driver, tests, output, last in (("c", c, taps[0], unload[0]), ("rust", rust, taps[1], unload[1])):
                (top / driver).mkdir()
                (top / driver / "dmesg.txt").write_text(log if driver == "rust" else c_log)
                (top / driver / "unload.txt").write_text(last)
                if output is not None:
                    (top / driver / "vgem_x.tap").write_text(output)
                if tests is not None:
                    (top / driver / "igt.json").write_text(json.dumps({
                        "uname": "Linux 7.3 <test>",
                        "tests": {name: {"result": result, "time": {"start": 1.0, "end": 2.5},
                                         "out": "Test requirement not met", "err": ""}
                                  for name, result in tests.items()}}))
            if sample is not None:
                result, log = sample
                (top / "mockgpu").mkdir()
                (top / "mockgpu" / "igt-sync.txt").write_text("igt@s@one\n")
                (top / "mockgpu" / "igt-sync.json").write_text(json.dumps({"tests": {"igt@s@one": {"result": result}}}))
                (top / "mockgpu" / "mockgpu_x.tap").write_text(GOOD)
                (top / "mockgpu" / "dmesg.txt").write_text(log)
            words = io.StringIO()
            with mock.patch.object(sys, "argv", ["report", top, top, top, "rustc=1.2 <x>"]), \
                    contextlib.redirect_stdout(words):
                status = report.main()
            self.page = (top / "index.html").read_text()
            self.assertEqual(Page(self.page).wrong, [])
            return status, words.getvalue(), json.loads((top / "results.json").read_text())

    def test_good(self):
        both = {"igt@a@one": "pass", "igt@a@two": "pass"}
        status, words, data = self.run_report(both, both)
        self.assertEqual(status, 0)
        self.assertRegex(words, r"a one +SUCCESS +SUCCESS")
        self.assertIn("IGT: 2 passed, 0 failed, 0 skipped\n", words)
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
        self.assertIn("IGT: 1 passed, 0 failed, 1 skipped\n", words)
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
            "------------[ cut here ]------------",
            "rust_kernel: panicked at x.rs:1:1:",
            "dma_fence: vgem unbound 0x5:0x1 dropped before it was signaled",
        ):
            status, words, _ = self.run_report(both, both, f"[ 1.0] fine\n[ 2.0] {line}\n")
            self.assertEqual(status, 1, line)
            self.assertIn("warnings of the kernel: 0 with C VGEM, 1 with Rust VGEM\n", words)
        # C may only warn on unload.
        status, words, _ = self.run_report(both, both, c_log="[ 2.0] Oops: 1\n")
        self.assertEqual(status, 1)
        self.assertIn("warnings of the kernel: 1 with C VGEM, 0 with Rust VGEM\n", words)

    def test_no_splats(self):
        both = {"igt@a@one": "pass", "igt@a@two": "pass"}
        log = ("[ 0.0] rcu: \tRCU lockdep checking is enabled.\n"
               "[ 0.0] vgem: loading out-of-tree module taints kernel.\n"
               '[ 0.0] virtme-ng-init: WARNING: failed to run: "x"\n'
               "[ 0.0] [IGT] vgem_basic: exiting, ret=0\n")
        self.assertEqual(self.run_report(both, both, log)[0], 0)

    BOTH = {"igt@a@one": "pass", "igt@a@two": "pass"}
    SKIP = GOOD.replace("ok 2 f.two", "ok 2 f.two # SKIP no device")

    def test_kselftest(self):
        status, words, data = self.run_report(self.BOTH, self.BOTH)
        self.assertEqual(status, 0)
        self.assertRegex(words, r"vgem_x f.two +SUCCESS +SUCCESS")
        self.assertIn("kselftest: 2 passed, 0 failed, 0 skipped\n", words)
        self.assertEqual(len(data["kselftest"]), 2)

    def test_kselftest_better(self):
        status, words, data = self.run_report(self.BOTH, self.BOTH, taps=(TAP, GOOD),
                                              fails="vgem_x\tf.two\ta <lock> is missing\n")
        self.assertEqual(status, 0, words)
        self.assertRegex(words, r"vgem_x f.two +FAIL +SUCCESS\n  C VGEM: Expected 0 \(0\) == both \(7\)\n")
        self.assertTrue(words.endswith("2 passed, 0 failed, 0 skipped; C fails 1 of them, as expected\n"
                                       "warnings of the kernel: 0 with C VGEM, 0 with Rust VGEM\n"))
        self.assertEqual(data["kselftest"][0]["c"]["said"], "of 9 rounds, none")
        self.assertIn("a &lt;lock&gt; is missing", self.page)

    def test_readme(self):
        """What the README shows of the end is how it ends."""
        _, words, _ = self.run_report(self.BOTH, self.BOTH, taps=(TAP, GOOD), fails="vgem_x f.two why\n",
                                      unload=("[ 9.0] Oops: 1\n", ""), sample=("pass", ""))
        last = re.sub(r"\b[1-9]\d*\b", "N", "".join(words.splitlines(True)[-4:]))
        self.assertIn(f"\n{last}rustgem: run: good, ", (SCRIPT.parent.parent / "README.md").read_text())

    def test_page(self):
        """The summary comes first, then what only Rust does, what is slower, the tables, the kernel's
        warnings and the machine."""
        c = self.BOTH | {"igt@a@two": "skip"}
        crash = "1..2\nok 1 f.v.one\n#  RUN           f.two ...\n"
        self.run_report(c, self.BOTH, taps=(crash, GOOD), fails="vgem_x f.two a <lock> is missing\n",
                        unload=("[ 9.0] BUG: unable to handle page fault\n", ""))
        page = Page(self.page)
        self.assertEqual(list(page.sections), ["", "What Rust does and C does not", "What is slower in Rust", "IGT",
                                               "kselftest", "The sample driver", "Warnings of the kernel",
                                               "Machine and versions"])
        for heading, words in (("", "Good: "), ("", "Rust passes 2 of 2 kselftests, and C passes 1."),
                               ("", "Warnings of the kernel with C VGEM: 0 in the tests, 1 on unload."),
                               ("What Rust does and C does not", "vgem_x f.twoC fails it: a <lock> is missing"),
                               ("What is slower in Rust", "No IGT subtest"), ("IGT", "Test requirement not met"),
                               ("Warnings of the kernel", "unable to handle page fault"),
                               ("Machine and versions", "rustc1.2 <x>")):
            self.assertIn(words, page.sections[heading])
        # What a filter keeps, with scripts; all is there without them.
        self.assertEqual([kind for heading, kind in page.rows if heading == "IGT"], [None, "group", None, "noted"])
        # A time only where there is one.
        self.assertEqual([page.sections[heading].count("time") for heading in ("IGT", "kselftest")], [2, 0])
        self.assertNotIn("sw_sync", self.page)
        self.assertIn("width=device-width", self.page)
        self.assertEqual(self.page.count("data-filter="), 2)

    def test_page_says_what_tests_said(self):
        """A line that is no failed assertion, if there is one, and what SOFTLOCKUP is."""
        for words, line in (("Expected 0 == 1\n# x.c:2:two:it took 9 s", "it took 9 s"), ("Expected 0 == 1", "Expected 0 == 1")):
            fail = f"1..2\nok 1 f.v.one\n#  RUN           f.two ...\n# x.c:1:two:{words}\nnot ok 2 f.two\n"
            self.run_report(self.BOTH, self.BOTH, taps=(fail, GOOD), fails="vgem_x f.two why\n",
                            unload=("[ 9.0] Oops: 1\n[ 9.1] Tainted: [L]=SOFTLOCKUP\n", ""))
            page = Page(self.page)
            self.assertIn(f"C VGEM: {line}", page.sections["What Rust does and C does not"])
            self.assertIn("sw_sync, which tests use, sets SOFTLOCKUP", page.sections["Warnings of the kernel"])

    def test_page_if_bad(self):
        """What is wrong is the first thing on the page."""
        self.run_report(self.BOTH, self.BOTH | {"igt@a@two": "fail"}, "[ 1.0] Oops: 1\n")
        first = Page(self.page).sections[""]
        self.assertIn("Failed:", first)
        self.assertIn("a two: SUCCESS on C, FAIL on Rust", first)
        self.assertIn("the kernel's log of Rust VGEM has '[ 1.0] Oops: 1'", first)
        self.assertNotIn("Good: ", first)

    def test_sample(self):
        """The results of the sample count, and are on the page."""
        status, words, _ = self.run_report(self.BOTH, self.BOTH, sample=("pass", ""))
        self.assertEqual(status, 0)
        self.assertIn("rust_mockgpu: IGT: 1 passed, 0 failed or skipped; kselftest: 2 passed, 0 failed or skipped\n", words)
        page = Page(self.page)
        self.assertIn("passes 3 of its 3 tests.", page.sections[""])
        self.assertIn("f.two", page.sections["The sample driver"])
        status, _, data = self.run_report(self.BOTH, self.BOTH, sample=("fail", "[ 1.0] Oops: 1\n"))
        self.assertEqual(status, 1)
        self.assertEqual(data["problems"], ["rust_mockgpu: igt s@one: FAIL: ",
                                            "rust_mockgpu: the kernel's log has '[ 1.0] Oops: 1'"])
        self.assertIn("Oops: 1", Page(self.page).sections["Warnings of the kernel"])

    def test_slower(self):
        def row(c, rust, status="SUCCESS"):
            return {"test": "a <x>", "c": {"status": "SUCCESS", "seconds": c}, "rust": {"status": status, "seconds": rust}}
        slow = report_page.slower([row(1, 1.05), row(0.01, 0.05), row(2, 1), row(1, 9, "FAIL"), row(1, 1.5)])
        self.assertEqual(list(slow), ["<span class=test>a &lt;x&gt;</span>: C 1.00 s, Rust 1.50 s"])

    def test_bad_html_is_found(self):
        for bad in ("<p>", "<p></div>", "<table></table>", "<a href='#no'></a>", "<p id=a></p><p id=a></p>",
                    "<p hidden></p>", "<td width=3></td>"):
            self.assertNotEqual(Page(bad).wrong, [], bad)

    def test_color(self):
        """Only on a terminal, and not if NO_COLOR is set."""
        for terminal, env, color in ((True, {"TERM": "xterm"}, True), (False, {"TERM": "xterm"}, False), (True, {}, False),
                                     (True, {"TERM": "xterm", "NO_COLOR": "1"}, False)):
            with mock.patch.object(report.sys.stdout, "isatty", lambda: terminal, create=True), \
                    mock.patch.dict(report.os.environ, env, clear=True):
                self.assertEqual(report.colored("FAIL", "x"), "\033[31mx\033[0m" if color else "x")

    def test_kselftest_not_better(self):
        status, words, _ = self.run_report(self.BOTH, self.BOTH, fails="vgem_x f.two why\n")
        self.assertEqual(status, 1)
        self.assertIn("f.two: SUCCESS on C, but was expected to fail: why", words)
        # To be skipped, or not to be reported, is not to fail.
        for tap in (self.SKIP, "1..2\nok 1 f.v.one\n"):
            self.assertEqual(self.run_report(self.BOTH, self.BOTH, taps=(tap, GOOD), fails="vgem_x f.two why\n")[0], 1)

    def test_kselftest_c_fails(self):
        status, words, _ = self.run_report(self.BOTH, self.BOTH, taps=(TAP, GOOD))
        self.assertEqual(status, 1)
        self.assertIn("f.two: FAIL on C, and expect/kselftest.txt does not say why", words)
        self.assertEqual(self.run_report(self.BOTH, self.BOTH, taps=(self.SKIP, GOOD))[0], 1)

    def test_kselftest_rust_fails(self):
        for bad in (TAP, self.SKIP, GOOD + "#  RUN           f.three ...\n"):
            self.assertEqual(self.run_report(self.BOTH, self.BOTH, taps=(GOOD, bad))[0], 1, bad)
            # Even if C does the same.
            self.assertEqual(self.run_report(self.BOTH, self.BOTH, taps=(bad, bad),
                                             fails="vgem_x f.two why\n")[0], 1, bad)

    def test_kselftest_crash(self):
        """What C's kernel did not survive counts as C's failure, and no other test does."""
        crash = "1..2\nok 1 f.v.one\n#  RUN           f.two ...\n"
        unload = ("[ 9.0] BUG: unable to handle page fault for address: ffff\n", "")
        fails = "vgem_x f.two why\n"
        status, words, data = self.run_report(self.BOTH, self.BOTH, taps=(crash, GOOD), fails=fails,
                                              unload=unload)
        self.assertEqual(status, 0, words)
        self.assertRegex(words, r"vgem_x f.two +CRASH +SUCCESS")
        self.assertIn("unable to handle page fault", self.page)
        self.assertIn("unable to handle page fault", data["unload"]["c"][0])
        self.assertIn("warnings of the kernel: 1 with C VGEM, as its last test crashes the kernel, 0 with Rust", words)
        crash = "1..2\n#  RUN           f.v.one ...\n"
        self.assertEqual(self.run_report(self.BOTH, self.BOTH, taps=(crash, GOOD), fails=fails)[0], 1)

    def test_kselftest_unload_splat(self):
        """Rust's kernel has to survive without a complaint."""
        self.assertEqual(self.run_report(self.BOTH, self.BOTH, unload=("", "[ 9.0] Oops: 1\n"))[0], 1)

    def test_kselftest_missing(self):
        for taps in ((None, None), (GOOD, None), (None, GOOD), (GOOD, "1..2\nok 1 f.v.one\n"),
                     ("1..2\nok 1 f.v.one\n", GOOD), ("", "")):
            self.assertEqual(self.run_report(self.BOTH, self.BOTH, taps=taps)[0], 1, taps)
        status, words, _ = self.run_report(self.BOTH, self.BOTH, fails="vgem_x f.gone why\n")
        self.assertEqual(status, 1)
        self.assertIn("f.gone, which did not run", words)

    def test_allowed(self):
        log = "BUG: a\n1\nBUG: b\nBUG: a\nBUG: a\nBUG: c\n"
        allowed = [(2, report.re.compile("BUG: a")), (1, report.re.compile("BUG: b"))]
        self.assertEqual(report.splats(log, allowed), ["BUG: c"])
        self.assertEqual(len(report.splats(log)), 1)

        seen = report.Counter()
        report.splats(log, allowed, seen)
        self.assertEqual(seen, {"BUG: a": 2, "BUG: b": 1})

    def test_allowed_where(self):
        """A rule may tell what is in the lines after the first one, but begins there."""
        allowed = [(3, report.re.compile("BUG: a(?s:.*)in f$", report.re.MULTILINE))]
        self.assertEqual(report.splats("BUG: a\n1\nin f\n2", allowed), [])
        self.assertEqual(len(report.splats("BUG: a\n1\nin g\nin f\n", allowed)), 1)
        self.assertEqual(len(report.splats("BUG: b\nBUG: a\nin f\n", allowed)), 1)

    def test_out_of_memory(self):
        log = "a invoked oom-killer: x\nCall Trace:\n f\n{}ut of memory: Killed process 1\nBUG: a"
        self.assertEqual(report.splats(log.format("Memory cgroup o")), ["BUG: a"])
        self.assertEqual(len(report.splats(log.format("O"))), 1)
        self.assertIn("Call Trace", report.splats(log.format("O"))[0])
        self.assertEqual(len(report.splats("a invoked oom-killer: x\nCall Trace:")), 1)

    def test_caught(self):
        allowed = [(1, report.re.compile("BUG: a"))]
        good = "[    1.0] BUG: a\n[    1.0]     ok 1 case\nok 1 f.one\nrustgem: kunit, at 3 s\n"
        self.assertEqual(report.caught(good, allowed), [])
        for said, found in (
                ("[   1.0]     not ok 7 case\r\n[   1.0] not ok 2 suite\n", "KUnit: case"),
                ("not ok 3 f.v.two\n", "kselftest: f.v.two"),
                ("[   1.0][  T1] BUG: KASAN: x in y+0x1/0x2\n", "BUG: KASAN: x in y+0x1/0x2"),
                ("[   1.0] ------------[ cut here ]------------\r\n[   1.0] WARNING: c.c:1\n", "WARNING: c.c:1"),
                ("[   1.0] kmemleak: 3 new suspected memory leaks (see x)\r\n", "kmemleak: 3 lost"),
                ("rustgem: caught: kunit: it fails\r\n", "kunit: it fails"),
                ("rustgem: the guest did not end within 9 s, and was stopped; what it",
                 "the guest did not end within 9 s")):
            self.assertEqual(report.caught(good + said, allowed), [found])

    def rust_alone(self, igt, taps, excused=None):
        result = {"tests": {name: {"status": status, "said": ""} for name, status in igt.items()},
                  "taps": {name: report.tap(output) for name, output in taps.items()}}
        return report.rust_alone({"igt": ["a", "b"]}, result, excused or {})[:2]

    def test_rust_alone(self):
        both = {"a": "SUCCESS", "b": "SUCCESS"}
        lines, problems = self.rust_alone(both, {"v": GOOD})
        self.assertEqual((lines, problems),
                         (["IGT: 2 passed, 0 failed or skipped", "kselftest: 2 passed, 0 failed or skipped"], []))
        for igt, taps in (({"a": "SUCCESS"}, {"v": GOOD}), (both, {}), (both, {"v": TAP}),
                          (both, {"v": "1..2\nok 1 f.v.one\n"}), (both | {"b": "SKIP"}, {"v": GOOD}),
                          (both, {"v": ""}), (both, {"v": GOOD.replace("two", "two # SKIP why")})):
            self.assertTrue(self.rust_alone(igt, taps)[1], (igt, taps))
        lines, problems = self.rust_alone(both, {"v": TAP}, {"v f.two": "why"})
        self.assertEqual(problems, [])
        self.assertEqual(lines[1:], ["kselftest: 1 passed, 0 failed or skipped",
                                     "  v f.two: FAIL, which does not count: why"])
        self.assertTrue(self.rust_alone(both, {"v": GOOD}, {"v f.gone": "why"})[1])
        lines, problems = self.rust_alone(both | {"b": "FAIL"}, {"v": GOOD}, {"igt b": "why"})
        self.assertEqual(problems, [])
        self.assertEqual(lines, ["IGT: 1 passed, 0 failed or skipped", "kselftest: 2 passed, 0 failed or skipped",
                                 "  igt b: FAIL, which does not count: why"])

    def test_list(self):
        """The lists that are shipped are lists."""
        expect = SCRIPT.parent.parent / "expect"
        names = [name for path in expect.glob("igt*.txt") for name in report.expected(path)]
        self.assertEqual(len(names), len(set(names)))
        self.assertTrue(all(report.known(expect / "kselftest.txt").values()))
        mutations = [line.split("\t") for line in report.expected(expect / "mutations.txt")]
        self.assertTrue(all(len(fields) == 3 and len(fields[0]) < 32 for fields in mutations))
        patches = {path.stem: path.read_text() for path in (SCRIPT.parent.parent / "tests/mutations").glob("*.patch")}
        del patches["mechanism"]
        self.assertEqual(sorted(name for name, _, _ in mutations), sorted(patches))
        for name, patch in patches.items():
            found = report.re.findall(r'(?m)^\+.*mutation::is\(c"(.*?)"\)', patch)
            self.assertEqual(set(found), {name}, f"tests/mutations/{name}.patch")
        self.assertEqual(sum(name.startswith("igt@vgem_basic@") for name in names), 16)


if __name__ == "__main__":
    unittest.main()
