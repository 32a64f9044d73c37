# SPDX-License-Identifier: GPL-2.0
"""Tests of check-report, check-links and limits, with what the checkers really say."""

import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent

CLIPPY = """\
  CLIPPY L rust/kernel.o
warning: unsafe block missing a safety comment
   --> rust/kernel/dma_fence/tests.rs:513:13
    |
513 |             unsafe { warning() };
    |             ^^^^^^^^^^^^^^^^^^^^
warning: 1 warning emitted

  CC      drivers/gpu/drm/drm_error.o
drivers/gpu/drm/drm_gem.c:12:3: warning: unused variable 'x' [-Wunused-variable]
on: 1 Rust and 1 C files
"""
MAIL = """\
From 52d69e2c99e8 Mon Sep 17 00:00:00 2001
From: A <a@b>
Subject: [PATCH 02/47] rust: a subject that is
 folded

A message.
---
+//! ┌──┐
"""


class Check(unittest.TestCase):
    def setUp(self):
        self.dir = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.dir)
        for name in ("results", "mails"):
            (self.dir / name).mkdir()

    def file(self, name, text):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run_(self, *args):
        done = subprocess.run([sys.executable, "-B", *args], cwd=self.dir, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout

    def report(self, expect):
        self.file("check.txt", expect)
        return self.run_(SCRIPTS / "check-report", "results", "check.txt", "mails")

    def test_what_is_new_fails(self):
        self.file("results/clippy", CLIPPY)
        status, out = self.report("# Nothing.\n")
        self.assertEqual(status, 1)
        self.assertEqual(out.splitlines()[1:], [
            "clippy             2        0  1 Rust and 1 C files",
            "clippy: rust/kernel/dma_fence/tests.rs: warning: unsafe block missing a safety comment",
            "clippy: drivers/gpu/drm/drm_gem.c: warning: unused variable 'x' [-Wunused-variable]",
        ])

    def test_what_is_allowed_passes(self):
        self.file("results/clippy", CLIPPY)
        status, out = self.report("clippy\ttests.rs: .*safety comment\twhy\nclippy\tdrm_gem\twhy\n")
        self.assertEqual((status, out.splitlines()[1:]),
                         (0, ["clippy             0        2  1 Rust and 1 C files"]))

    def test_what_is_allowed_elsewhere_fails(self):
        self.file("results/clippy", CLIPPY)
        status, out = self.report("sparse\tsafety\twhy\nclippy\tdrm_gem\twhy\n")
        self.assertEqual(status, 1)
        self.assertIn("clippy: rust/kernel/dma_fence/tests.rs", out)
        self.assertIn("check.txt: no checker reports this any more, so remove it: sparse safety", out)

    def test_silence(self):
        self.file("results/sparse", "  CHECK   drm_error.c\non: 1 C files\n")
        self.assertEqual(self.report("")[0], 0)

    def test_run_on_nothing_fails(self):
        for text in ("", "on: 0 C files\n"):
            self.file("results/sparse", text)
            status, out = self.report("")
            self.assertEqual(status, 1)
            self.assertIn("sparse: error: it was run on nothing", out)

    def test_reason_is_needed(self):
        self.file("results/sparse", "on: 1 C files\n")
        status, out = self.report("sparse\twarning\n")
        self.assertEqual(status, 1)
        self.assertIn("not a checker, an expression and a reason", out)

    def test_checkpatch(self):
        self.file("mails/0002-rust.patch", MAIL)
        self.file("results/checkpatch", "0002-rust.patch:8: WARNING:LONG_LINE: too long\n"
                  "0002-rust.patch:3: CHECK:SPACING: no space\nModuleNotFoundError: No module named 'git'\non: 1 patches\n")
        _, out = self.report("")
        self.assertIn("checkpatch: rust: a subject that is folded: WARNING:LONG_LINE: too long: +//! ┌──┐\n", out)
        self.assertIn("rust: a subject that is folded: CHECK:SPACING: no space: Subject", out)
        self.assertIn("checkpatch: error: ModuleNotFoundError", out)

    def links(self, html, rst=""):
        self.file("linux/Documentation/gpu/vgem.rst", rst)
        self.file("linux/rust/kernel/dma_fence.rs", "")
        self.file("out/gpu/vgem.html", f'<a href="menu.html"></a><div role="main" id="top">{html}</div>')
        self.file("out/rust/fence.html", '<h1 id="new"></h1>')
        status, out = self.run_(SCRIPTS / "check-links", "linux", "out", "Documentation/gpu/vgem.rst")
        self.assertEqual(status, 0)
        return out

    def test_links(self):
        out = self.links('<a href="../rust/fence.html#new"></a><a href="#top"></a><a href="https://a.b/c"></a>',
                         "See rust/kernel/dma_fence.rs, ../gpu/vgem.rst.")
        self.assertEqual(out, "on: 1 new pages, 2 links and 2 files in them\n")

    def test_broken_links(self):
        out = self.links('<a href="../rust/gone.html"></a><a href="../rust/fence.html#old"></a>',
                         "See rust/kernel/gone.rs and Documentation/gone.rst.")
        self.assertIn("the link ../rust/gone.html leads nowhere", out)
        self.assertIn("the page of the link ../rust/fence.html#old has no such heading", out)
        self.assertIn("there is no rust/kernel/gone.rs", out)
        self.assertIn("there is no Documentation/gone.rst", out)

    def limits(self, *patches, part="core"):
        """Run it on patches (subject, body, {path: lines added}); return what it complains of."""
        shutil.rmtree(self.dir / "mails")
        self.file(f"mails/01-{part}/0000-cover-letter.patch", "Subject: [PATCH 0/9] cover\n\nFix it.\n")
        for number, (subject, body, files) in enumerate(patches, 1):
            diff = "".join(f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n"
                           f"+++ b/{path}\n@@ -0,0 +1,{count} @@\n" + "+x\n" * count
                           for path, count in files.items())
            self.file(f"mails/01-{part}/{number:04}-x.patch", "Content-Type: text/plain; charset=UTF-8\n"
                      f"Subject: [PATCH {number}/9] {subject}\n\n{body}\n---\n stat\n\n{diff}-- \n2.47\n")
        status, self.out = self.run_(SCRIPTS / "limits", "mails")
        self.assertEqual(status, 0, self.out)
        return re.findall(r"(?m)^error: (.*)", self.out)

    def test_limits(self):
        self.assertEqual(self.limits(("rust: a", "Body.", {"rust/a.rs": 499, "rust/b.c": 1}),
                                     ("rust: test\n a", "Body.", {"rust/a.rs": 3, "rust/a/tests.rs": 797})), [])
        self.assertEqual(self.out, "01-core: 2 patches, 503 lines and 797 of tests\n"
                         "    500     0  0001 rust: a\n      3   797  0002 rust: test a\n"
                         "on: 2 patches in 1 parts\n")

    def test_limit_of_lines(self):
        self.assertEqual(self.limits(("rust: a", "Body.", {"rust/a.rs": 500, "b.rs": 1})),
                         ["core: rust: a: 501 changed lines, more than 500"])
        for path in ("rust/a/tests.rs", "rust/a/tests_race.rs", "tools/testing/selftests/a.c", "lib/a_kunit.c"):
            self.assertEqual(self.limits(("a", "Body.", {path: 800}),
                                         ("b", "Body.", {path: 781, "rust/a.rs": 20}),
                                         ("c", "Body.", {path: 480, "rust/a.rs": 21}),
                                         ("d", "Body.", {"rust/latests.rs": 501})),
                             ["core: b: 801 changed lines, more than 800 of tests",
                              "core: c: 501 changed lines, more than 500",
                              "core: d: 501 changed lines, more than 500"])

    def test_limit_of_patches(self):
        patches = [(f"rust: {number}", "Body.", {"a": 1}) for number in range(16)]
        self.assertEqual(self.limits(*patches[1:]), [])
        self.assertEqual(self.limits(*patches), ["core: 16 patches, more than 15"])

    def test_fix_without_fixes(self):
        fixes = [("a: fix b", "Body."), ("a: b", "Fix the\nthing."), ("a", "This\nfixes b."),
                 ("a: fix b", "Body.\n\nFixes: 0123 (\"a\")"), ("Fix b", "Body\n\nFixes: later")]
        self.assertEqual(self.limits(*(fix + ({"a": 1},) for fix in fixes)),
                         [f"core: {subject}: it fixes something, and has no Fixes: with a commit"
                          for subject, _ in fixes])
        self.assertEqual(self.limits(("a: fix b", 'Body.\n\nFixes: 0123456789ab ("a: add b")', {"a": 1}),
                                     ("a: b", "A prefix, fixed in size.", {"a": 1})), [])

    def test_message_without_body(self):
        for body in ("", 'Link: https://a/\nFixes: 0123456789ab ("a: add b")'):
            self.assertEqual(self.limits(("a: b", body, {"a": 1})), ["core: a: b: the message has no body"])

    def test_part_of_fixes(self):
        self.assertEqual(self.limits(("a: b", 'Body.\n\nFixes: 0123456789ab ("a: add b")', {"a": 1}),
                                     ("a: c", "Body.", {"a": 1}), part="hrtimer-fixes"),
                         ["hrtimer-fixes: a: c: it is in a part of fixes, and has no Fixes: with a commit"])

    def test_message_says_only_what_it_does(self):
        wrong = "core: a: b: the message says only what the patch does, not what fails or can't be done without it"
        self.assertEqual(self.limits(("a: b", "Add b() to a.\nIt is new.\n\nLink: https://a/", {"a": 1})), [wrong])
        self.assertEqual(self.limits(("a: b", "a can't do b.\n\nAdd b().", {"a": 1}),
                                     ("a: test b", "Add tests of b.", {"a/tests.rs": 100})), [])

    def test_words(self):
        self.assertEqual(self.limits(("a: mend b", "Whoever calls b()\ndeadlocks.", {"a": 1})),
                         ['core: a: mend b: line:1: "mend": write fix',
                          'core: a: mend b: line:3: "Whoever": write callers that …'])
        # Code, names and trailers may have any word.
        self.assertEqual(self.limits(("a: call tell()", "b hangs:\n\n  anew();  // mend\n\tmend it\n\ndma_fence_begin_"
                                      "signalling() and\nfoo::signalled.\n\n - a list\n\nLink: https://mend/",
                                      {"a": 1})), [])
        self.assertEqual(self.limits(("a: b", "Body.\n\n - Patch 1 mends it.", {"a": 1})),
                         ['core: a: b: line:5: "mends": write fix'])

    def test_driver_lines(self):
        self.file("samples/rust/rust_mockgpu/a.rs", "// Words.\n\n" + "fn a() {}\n" * 500)
        self.file("drivers/gpu/drm/vgem/rust/vgem.rs", "// Words.\n\n" * 209)
        self.file("drivers/gpu/drm/vgem/rust/fence/tests.rs", "unsafe {}\n" * 9)

        def lines():
            done = subprocess.run([SCRIPTS / "driver-lines", self.dir], text=True, stdout=subprocess.PIPE)
            return done.returncode, done.stdout

        self.assertEqual(lines(), (0, "VGEM: 418 lines, of at most 419\n"
                                      "sample: 500 lines that are neither blank nor comment, of at most 500\n"))
        self.file("drivers/gpu/drm/vgem/rust/fence/table.rs", "//\n\n")
        status, out = lines()
        self.assertEqual(status, 1)
        self.assertIn("VGEM: 420 lines, of at most 419\n", out)
        self.file("drivers/gpu/drm/vgem/rust/fence/table.rs", "unsafe {}\n")
        status, out = lines()
        self.assertEqual(status, 1)
        self.assertIn("table.rs:1:unsafe {}\nVGEM: it contains unsafe code\n", out)

    def test_limits_in_the_report(self):
        self.limits(("rust: error: a", "Body.", {"a": 501}))
        self.file("results/limits", self.out)
        status, out = self.report("")
        self.assertEqual((status, out.splitlines()[-1]), (1, "limits: error: core: rust: error: a: "
                                                          "501 changed lines, more than 500"))
        self.assertEqual(self.report("limits\terror: a: \\d+ changed lines\tto be split\n")[0], 0)


if __name__ == "__main__":
    unittest.main()
