# SPDX-License-Identifier: GPL-2.0
"""Tests of how scripts/ is laid out: where a script runs, how long it is, and that each script
that a file names exists."""

import json
import re
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPTS = ROOT / "scripts"
LINES = 300


def too_long(files):
    """The files that have too many lines: {name: text}."""
    return [name for name, text in files.items() if len(text.splitlines()) > LINES]


def missing(text):
    """The scripts that a text names and that do not exist."""
    names = re.findall(r"(?<![\w/.-])scripts/((?:guest|tests)/[\w.-]*\w)(?![\w*])", text)
    names += [f"guest/{name}" for name in re.findall(r"/share/guest/([\w.-]*\w)", text)]
    names += re.findall(r"\$top/scripts/([\w./-]*\w)(?![\w-])", text)
    return sorted({name for name in names if not (SCRIPTS / name).exists()})


class Layout(unittest.TestCase):
    def scripts(self):
        return {str(path.relative_to(SCRIPTS)): path.read_text() for path in SCRIPTS.rglob("*")
                if path.is_file() and path.suffix != ".pyc" and path.parent.name != "tests"}

    def test_length(self):
        self.assertGreater(len(self.scripts()), 30)
        self.assertEqual(too_long(self.scripts()), [], f"more than {LINES} lines: split it")
        self.assertEqual(too_long({"a": "x\n" * LINES, "b": "x\n" * (LINES + 1)}), ["b"])

    def test_guest(self):
        """What runs in the guest needs no more than a POSIX shell and what scripts/boot copies."""
        for path in (SCRIPTS / "guest").iterdir():
            text = path.read_text()
            first = text.splitlines()[0]
            self.assertEqual(first, "# SPDX-License-Identifier: GPL-2.0" if path.name == "lib.sh" else "#!/bin/sh", path)
            self.assertIsNone(re.search(r"\$top|\$cache|/scripts/", re.sub(r"(?m)^#.*", "", text)), path)

    def test_names(self):
        named = [ROOT / "Makefile", ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / ".ci/run"]
        for directory in "scripts", "docs", "bench", "tests", "expect":
            named += [path for path in (ROOT / directory).rglob("*") if path.is_file()]
        for path in named:
            if path != Path(__file__).resolve() and path.suffix not in (".pyc", ".svg"):
                self.assertEqual(missing(path.read_text()), [], path)

    def test_container(self):
        """The image has what `make bare` shows to be enough, and no default for its base."""
        text = (ROOT / "Containerfile").read_text()
        packages = re.search(r'--no-install-recommends ([\w -]+)"', text)[1].split()
        self.assertEqual(packages, re.search(r"--include=(\S+)", (SCRIPTS / "bare").read_text())[1].split(","))
        self.assertRegex(text, r"(?m)^ARG BASE\nFROM \$\{BASE\}$")

    def test_oldest_rust(self):
        """What Loom and the fuzzer depend on can be built by the oldest Rust that the lab takes."""
        for crate in "tests/loom", "fuzz":
            said = subprocess.run(["cargo", "metadata", "--format-version=1"], cwd=ROOT / crate, check=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
            packages = json.loads(said)["packages"]
            needs = {p["manifest_path"]: [int(n) for n in (p["rust_version"] or "1").split(".")][:2] for p in packages}
            oldest = needs[f"{ROOT}/{crate}/Cargo.toml"]
            self.assertEqual([path for path, version in needs.items() if version > oldest], [])

    def test_help(self):
        """`make help` describes each target, in a line that fits, with the times that the pages have."""
        said = subprocess.run(["make", "--no-print-directory", "-C", ROOT, "help"], text=True, check=True,
                              capture_output=True).stdout
        targets = re.search(r"(?m)^\.PHONY: (.*)$", (ROOT / "Makefile").read_text())[1].split()
        self.assertEqual(sorted(re.findall(r"(?m)^  make ([a-z-]+) ", said)), sorted(targets))
        self.assertRegex(said, r"(?m)^  make run +\d+ min +run IGT")
        self.assertNotIn("not recorded", said)
        self.assertEqual([line for line in said.splitlines() if len(line) > 120], [])

    def test_missing_names_are_found(self):
        self.assertEqual(missing('"$top/scripts/no-such" scripts/guest/none /share/guest/lost'),
                         ["guest/lost", "guest/none", "no-such"])
        self.assertEqual(missing('"$top/scripts/report" scripts/guest/run /share/guest/run scripts/guest/*'), [])


if __name__ == "__main__":
    unittest.main()
