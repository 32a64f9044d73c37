# SPDX-License-Identifier: GPL-2.0
"""Tests of check-report and check-links, with what the checkers really say."""

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
        self.assertIn("check.txt: nobody says this any more: sparse safety", out)

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
        self.assertIn("the link ../rust/fence.html#old leads to no such place", out)
        self.assertIn("there is no rust/kernel/gone.rs", out)
        self.assertIn("there is no Documentation/gone.rst", out)


if __name__ == "__main__":
    unittest.main()
