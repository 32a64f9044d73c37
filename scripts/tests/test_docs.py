# SPDX-License-Identifier: GPL-2.0
"""Tests of the documents: each test that they name exists, and runs, and each example that
they show is one that is run."""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SELFTESTS = ROOT / "tools/testing/selftests/drivers/gpu/vgem"


def sources():
    """The code of the series: {path: text}, the edits by the file that they are of."""
    found = {str(path.relative_to(ROOT)): path.read_text()
             for top in ("rust", "drivers", "samples") for path in (ROOT / top).rglob("*.rs")}
    for path in (ROOT / "series").glob("*.patch"):
        for name, diff in re.findall(r"(?ms)^diff --git a/(\S+) .*?\n(.*?)(?=^diff --git|\Z)", path.read_text()):
            lines = re.sub(r"(?m)^-.*\n", "", diff)
            found[name] = found.get(name, "") + re.sub(r"(?m)^[+ ]", "", lines)
    return found


def tests(text):
    """The functions that KUnit runs: those that are marked as tests."""
    return set(re.findall(r"#\[test\]\s*(?:#\[[^]]*\]\s*)*fn (\w+)\(\)", text))


def kunit():
    """The cases of each suite. They all run in `make test`, whose kernel has all suites of Rust."""
    cases = {}
    for text in sources().values():
        for suite in re.findall(r"kunit_tests\((\w+)\)", text):
            cases.setdefault(suite, set()).update(tests(text))
    # What an edit adds to a suite that the kernel has does not show its name.
    drm = {"rust_drm_gem_shmem": "rust/kernel/drm/gem/shmem.rs"}
    for suite, name in drm.items():
        cases[suite] = tests(sources()[name])
    return cases


def selftests():
    texts = {path.stem: path.read_text() for path in SELFTESTS.glob("vgem_*.c")}
    return {name: set(re.findall(r"(?m)^TEST_F(?:_TIMEOUT)?\(\w+, (\w+)", text)) | {"main"}
            for name, text in texts.items() if re.search("TEST_HARNESS_MAIN|ksft_test_result", text)}


def igt():
    return {line for path in (ROOT / "expect").glob("igt*.txt") for line in path.read_text().splitlines()}


def problems(text):
    """What is wrong with the tests that the tables of a document name, and how many it names."""
    suites, wrong, count = kunit() | selftests(), [], 0
    guest = (ROOT / "scripts/guest/debug").read_text()
    for row in re.findall(r"(?m)^\|.*\| *(.*?) *\|$", text):
        suite, row = None, re.sub(r"doctests? of `[^`]*`", "", row)
        for name in re.findall(r"`([^`]+)`", row):
            count += 1
            match = re.fullmatch(r"((?:rust|vgem)_\w+)(?:: (\S+))?|([a-z_0-9…]+)", name)
            if name.startswith("igt@"):
                good = any(line == name or line.startswith(f"{name}@") for line in igt())
            elif name.startswith("compile-fail/"):
                good = any((ROOT / "expect" / name).glob("*.rs"))
            elif name.startswith("fences "):
                good = f"/share/user {name[7:]} " in guest
            elif match:
                suite, case = match[1] or suite, match[2] or match[3]
                pattern = (case or "…").replace("…", r"\w+")
                good = any(re.fullmatch(pattern, other) for other in suites.get(suite, ()))
            else:
                continue
            if not good:
                wrong.append(f"{suite}: {name}" if match and match[3] else name)
    return wrong, count


def examples(text):
    """What differs between the examples that a document shows, and those of the file that it names
    above each; and how many it shows."""
    code, wrong, count = sources(), [], 0
    for name, example in re.findall(r"(?ms)^`(\S+)`(?:(?!^```).)*?^```rust\n(.*?)^```$", text):
        count += 1
        # Without the comment markers. Lines that rustdoc hides may be shown, all of them, or not.
        lines = [re.sub(r"^\s*//[/!] ?", "", line) for line in code.get(name, "").splitlines()]
        short = "\n" + "".join(f"{line}\n" for line in lines if not re.match("# |#$", line))
        whole = "\n" + "".join(f"{line.removeprefix('# ')}\n" for line in lines)
        if f"\n{example}" not in short and f"\n{example}" not in whole:
            wrong.append(f"{name}:\n{example}")
    return wrong, count


class Docs(unittest.TestCase):
    def test_tests_exist(self):
        for name, least in (("docs/seeds.md", 100), ("docs/dma_buf-7.4.md", 15)):
            wrong, count = problems((ROOT / name).read_text())
            self.assertEqual(wrong, [], f"{name} names tests that do not exist")
            self.assertGreater(count, least)

    def test_helpers_are_no_tests(self):
        self.assertEqual(tests("#[test]\n#[cfg(X)]\nfn a() {}\nfn b() {}\n    #[test]\n    fn c() -> Result {"), {"a", "c"})

    def test_missing_ones_are_found(self):
        for bad in ("`rust_dma_fence: ctx`", "`rust_hrtimer: simulated`",
                    "`rust_dma_fence: no_such`", "`rust_no_such`", "`vgem_uapi: no_such`", "`igt@no_such`",
                    "`compile-fail/no_such`", "`fences no_such`", "`rust_dma_fence: data`, `no_such`",
                    "`vgem_uapi: no_such_…`"):
            self.assertEqual(len(problems(f"| a | b | {bad} |\n")[0]), 1, bad)

    def test_examples(self):
        for page in ("README.md", "docs/driver-author.md"):
            text = (ROOT / page).read_text()
            wrong, count = examples(text)
            self.assertEqual(wrong, [], f"not in the file that {page} names")
            self.assertEqual(count, text.count("```rust\n"))
            self.assertGreater(count, 0)
            if page != "README.md":
                self.assertEqual(count, text.count("\n## "))
            for at in re.finditer(r"(?m)^```rust\n.*$", text):
                self.assertEqual(len(examples(text[:at.end()] + "x" + text[at.end():])[0]), 1, at[0])


if __name__ == "__main__":
    unittest.main()
