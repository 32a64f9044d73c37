# SPDX-License-Identifier: GPL-2.0
"""Tests of what scripts/bare-used reports of a root directory, and of scripts/needs."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent


class Bare(unittest.TestCase):
    def setUp(self):
        self.root = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)
        self.logs = self.root / "logs"
        self.logs.mkdir()
        self.package("base-tool", "/bin/base-tool")
        (self.root / "var/lib").mkdir(parents=True, exist_ok=True)
        (self.root / "var/lib/bare-base").write_text("base-tool\n")
        self.package("gcc", "/usr/bin/gcc")
        self.package("libmagic", "/usr/include/magic.h")

    def package(self, name, path):
        info = self.root / "var/lib/dpkg/info"
        info.mkdir(parents=True, exist_ok=True)
        (info / f"{name}:amd64.list").write_text(f"/.\n{path}\n")
        self.file(path if path.startswith("/usr") else "/usr" + path)

    def file(self, path, used=True):
        file = self.root / path[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
        if not used:
            os.utime(file, (0, 0))

    def report(self):
        done = subprocess.run([SCRIPTS / "bare-used", self.root, self.logs], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout

    def test_good(self):
        self.file("/usr/bin/never-run", used=False)
        (self.logs / "run.log").write_text("all is well\n")
        status, out = self.report()
        self.assertEqual(status, 0, out)
        self.assertIn("installed by the lab: 2 packages", out)
        self.assertRegex(out, r"gcc +named +1 programs")
        self.assertRegex(out, r"libmagic +needed by one that is +1 headers")
        self.assertIn("base system: base-tool\n", out)

    def test_used_without_package(self):
        self.file("/usr/bin/stray")
        status, out = self.report()
        self.assertEqual(status, 1)
        self.assertIn("error: program /usr/bin/stray was used, and no package has it", out)

    def test_asked_for_in_vain(self):
        for line, name in (("sh: 1: rsync: not found", "rsync"),
                           ("scripts/x: line 7: rsync: command not found", "rsync"),
                           ("make[2]: rsync: No such file or directory", "rsync"),
                           ("x.c:1:10: fatal error: magic.h: No such file or directory", "magic.h"),
                           ("x.c:1:10: fatal error: 'magic.h' file not found", "magic.h"),
                           ("FileNotFoundError: [Errno 2] No such file or directory: 'file'", "file"),
                           ("ModuleNotFoundError: No module named 'yaml'", "yaml")):
            (self.logs / "run.log").write_text(line + "\n")
            status, out = self.report()
            self.assertEqual(status, 1, line)
            self.assertIn(f"error: {name} was not found: run.log", out)

    def test_import(self):
        """What fails silently is optional."""
        log = self.root / "var/log/bare-imports"
        log.parent.mkdir()
        log.write_text("yaml\t/usr/bin/sphinx-build\nnt\t-\n_x\t-\n")
        status, out = self.report()
        self.assertEqual(status, 0)
        self.assertIn("optional Python modules that were not found: yaml\n", out)

    def test_needs(self):
        """Each line of the list is complete, and each group is one that a script asks for."""
        groups = {"all"}
        for script in SCRIPTS.iterdir():
            if script.is_file():
                groups |= set(re.findall(r'scripts/toolchain" (\w+)', script.read_text()))
        for line in (SCRIPTS / "needs").read_text().splitlines():
            if not line.startswith("#"):
                group, kind, _, _ = line.split("\t")
                self.assertIn(group, groups)
                self.assertIn(kind, ("program", "header", "module", "file"))


if __name__ == "__main__":
    unittest.main()
