# SPDX-License-Identifier: GPL-2.0
"""Tests of the documents: each test that they name exists, and the run that they name runs it,
and each example that they show is one that is run."""

import functools
import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
MUTATION = "| mutation |\n"
# The tests that make what lockdep would report, and assert nothing else of what a row claims.
LOCKDEP = {"signalling_nests", "vmap_io"}
SELFTESTS = ROOT / "tools/testing/selftests/drivers/gpu/vgem"


@functools.cache
def sources():
    """The code of the series: {path: text}, the edits by the file that they are of."""
    found = {str(path.relative_to(ROOT)): path.read_text()
             for top in ("rust", "drivers", "samples") for path in (ROOT / top).rglob("*.rs")}
    for path in (ROOT / "series").glob("*.patch"):
        for name, diff in re.findall(r"(?ms)^diff --git a/(\S+) .*?\n(.*?)(?=^diff --git|\Z)", path.read_text()):
            lines = re.sub(r"(?m)^-.*\n", "", diff)
            found[name] = found.get(name, "") + re.sub(r"(?m)^[+ ]", "", lines)
    return found


def note(suite, case):
    """What a table has to say of a test: the runs in which it asserts something, if not in all."""
    if any(case in several_cpus(text) for text in sources().values()):
        return "2 CPUs"
    if f"{suite}\ttest" in (ROOT / "expect/suites.txt").read_text().splitlines():
        return "UML"
    return "lockdep" if case in LOCKDEP else ""


def tests(text):
    """The functions that KUnit runs: those that are marked as tests."""
    return set(re.findall(r"#\[test\]\s*(?:#\[[^]]*\]\s*)*fn (\w+)\(\)", text))


@functools.cache
def several_cpus(text):
    """Those of them that assert nothing on one CPU, as their comment says."""
    comments = re.findall(r"((?: *//[^\n]*\n)+)\s*#\[test\]\s*(?:#\[[^]]*\]\s*)*fn (\w+)", text)
    return {name for comment, name in comments if re.search(r"(?i)(two|several|2) CPUs|if there are several", comment)}


@functools.cache
def kunit():
    """The cases of each suite, of those that `make test` fails without."""
    run = set((ROOT / "expect/suites.txt").read_text().split())
    cases = {}
    for text in sources().values():
        for suite in re.findall(r"kunit_tests\((\w+)\)", text):
            cases.setdefault(suite, set()).update(tests(text))
    # What an edit adds to a suite that the kernel has does not show its name.
    drm = {"rust_drm_gem_shmem": "rust/kernel/drm/gem/shmem.rs"}
    for suite, name in drm.items():
        cases[suite] = tests(sources()[name])
    return {suite: names for suite, names in cases.items() if suite in run}


@functools.cache
def selftests():
    """The cases of each kselftest that `make run` runs."""
    run = set(re.findall(r"(?m)^\tkselftest (\w+)", (ROOT / "scripts/guest/run").read_text()))
    texts = {path.stem: path.read_text() for path in SELFTESTS.glob("vgem_*.c") if path.stem in run}
    return {name: set(re.findall(r"(?m)^TEST_F(?:_TIMEOUT)?\(\w+, (\w+)", text)) | {"main"}
            for name, text in texts.items() if re.search("TEST_HARNESS_MAIN|ksft_test_result", text)}


def targets():
    return set(re.findall(r"(?m)^([a-z-]+):(?!=)", (ROOT / "Makefile").read_text()))


def igt():
    return {line for path in (ROOT / "expect").glob("igt*.txt") for line in path.read_text().splitlines()}


def problems(text):
    """What is wrong with the tests that the tables of a document name, and how many it names."""
    suites, wrong, count = kunit() | selftests(), [], 0
    guest = (ROOT / "scripts/guest/debug").read_text()
    # Of docs/seeds.md, the last column is that of mutations.
    text = re.sub(r"(?m)^((?:\|[^|\n]*){3}\|)[^|\n]*\|$", r"\1", text) if MUTATION in text else text
    for row in re.findall(r"(?m)^\|.*\| *(.*?) *\|$", text):
        suite, row = None, re.sub(r"doctests? of `[^`]*`", "", row)
        for name, said in re.findall(r"`([^`]+)`(?: \(([^)]*)\))?", row):
            count += 1
            match = re.fullmatch(r"((?:rust|vgem)_\w+)(?:: (\S+))?|([a-z_0-9…]+)", name)
            if name.startswith("igt@"):
                good = any(line == name or line.startswith(f"{name}@") for line in igt())
            elif name.startswith("compile-fail/"):
                good = any((ROOT / "expect" / name).glob("*.rs"))
            elif name.startswith("fences "):
                good = f"/share/user {name[7:]} " in guest
            elif name.startswith("make "):
                good = name[5:] in targets()
            elif match:
                suite, case = match[1] or suite, match[2] or match[3]
                pattern = (case or "…").replace("…", r"\w+")
                good = any(re.fullmatch(pattern, other) for other in suites.get(suite, ()))
                good = good and said == note(suite, case)
            else:
                continue
            if not good:
                wrong.append(f"{suite}: {name}" if match and match[3] else name)
    return wrong, count


def caught(kind, suite, test, tests):
    """Whether a row that names `tests` has the one that catches a mutation, or its suite."""
    if kind == "fences":
        return f"`fences {suite}`" in tests
    if "doctests" in suite:
        return "doctest" in tests
    return f"`{suite}`" in tests or f"`{suite}: " in tests and (not test or bool(re.search(f"[` ]{test}`", tests)))


def unbroken(text):
    """The rows of docs/seeds.md whose last column is neither a reason, nor mutations that exist and
    that one of the row's tests catches."""
    reasons = {"does not compile", "no code to break", "the rows below", "only `make run`", "only `make debug`"}
    # What catches each of them: its suite, and the test if it is known.
    listed = {name: found for name, *found in re.findall(
        r"(?m)^([a-z-]+)\t(\w+) (\w+)[.]?(\S*)", (ROOT / "expect/mutations.txt").read_text())}
    wrong = []
    for row in re.findall(r"(?m)^\|(?! item |-)(.*)\|$", text):
        if row.count("|") < 3:
            continue
        *_, tests, last = (cell.strip() for cell in row.split("|"))
        names = re.findall(r"`([a-z-]+)`", last)
        if last in reasons:
            good = last != "does not compile" or "compile-fail/" in tests
        else:
            good = names and set(names) <= set(listed) and last == ", ".join(f"`{name}`" for name in names)
            good = good and all(caught(*listed[name], tests) for name in names)
        if not good:
            wrong.append(row)
    return wrong


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

    def test_rows_are_broken(self):
        self.assertEqual(unbroken((ROOT / "docs/seeds.md").read_text()), [])
        for bad in ("no-such", "`no-such`", "", "`fence-get`, none", "does not compile", "`timer-called`",
                    "`timer-clock`", "`fence-order`, `timer-clock`", "`timer-clock`, `fence-order`"):
            self.assertEqual(len(unbroken(f"| a | b | `rust_dma_fence` | {bad} |\n")), 1, bad)
        self.assertEqual(len(unbroken("| a | b | `rust_dma_fence: data` | `fence-order` |\n")), 1)
        self.assertEqual(unbroken("| a | b | `rust_dma_fence: order` | `fence-order` |\n"), [])

    def test_suites_are_on(self):
        """Each option of a suite that `make test` has is on in the kernels of `make debug`, too."""
        options = [set(re.findall(r"(?m)^(CONFIG_\w*KUNIT_(?:SELF)?TESTS?)=y", (ROOT / f"configs/{name}.config").read_text()))
                   for name in ("kunit", "suites")]
        # That needs Tyr, which is built on UML alone.
        self.assertEqual(options[0] - {"CONFIG_RUST_DRM_GPUVM_KUNIT_TEST"}, options[1])
        self.assertGreater(len(options[0]), 8)
        # Those of the series' own.
        for name in set(re.findall(r"cfg\((CONFIG_\w+_KUNIT_TEST)\)", "".join(sources().values()))):
            self.assertIn(name, options[0])

    def test_other_pages(self):
        """The targets, tests and paths that the README and the other pages name."""
        for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
            text = path.read_text()
            self.assertLessEqual(set(re.findall(r"`make ([a-z-]+)", text)) - {"rustavailable"}, targets(), path.name)
            for program, test in re.findall(r"(?m)^(vgem_\w+) \w+\.(?:\w+\.)?(\w+) ", text):
                self.assertIn(test, selftests()[program], path.name)
            for name in re.findall(r"`((?:configs|expect|bench|fuzz|scripts|tests|series)/[\w./-]*)`", text):
                # Capitals stand for a name.
                good = (ROOT / name).exists() or re.search("NAME|AREA", name)
                self.assertTrue(good, f"{path.name}: {name}")
            # Files of the series may be named from one of these directories on.
            for name in re.findall(r"`([\w./]+/\w+\.rs)`", text):
                # Linux 7.4 has this one.
                good = name == "rust/kernel/dma_buf/dma_fence.rs" or re.search("NAME|AREA", name) or any(
                    (ROOT / top / name).exists() or f"{top}{name}" in sources()
                    for top in ("", "rust/kernel/", "rust/kernel/drm/", "drivers/gpu/drm/vgem/rust/"))
                self.assertTrue(good, f"{path.name}: {name}")

    def test_patches(self):
        """The pages name patches by subjects that the series has."""
        series = [re.match(r"Subject: \[PATCH\] (.*)", path.read_text())[1] for path in (ROOT / "series").glob("*.patch")]
        named = [subject for path in [ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
                 for both in re.findall(r'\bpatch(?:es)?\s+"([^"]+)"(?:\s+and\s+"([^"]+)")?', path.read_text())
                 for subject in both if subject]
        wrong = [name for name in named if not any(subject.endswith(" ".join(name.split())) for subject in series)]
        self.assertEqual(wrong, [])
        self.assertGreater(len(named), 4)

    def test_directories(self):
        """The README lists the directories that there are."""
        named = set(re.findall(r"`([\w/]+)/`", (ROOT / "README.md").read_text().split("\n## Layout\n")[1]))
        self.assertEqual([name for name in named if not (ROOT / name).is_dir()], [])
        there = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
        self.assertEqual(there - {"out"} - named, set())

    def test_driver_has_no_unsafe(self):
        for path in (ROOT / "drivers/gpu/drm/vgem/rust").rglob("*.rs"):
            if path.name == "tests.rs":
                continue
            code = re.sub(r"//[^\n]*", "", path.read_text().split("#[kunit_tests", 1)[0])
            self.assertNotIn("unsafe", code, path.name)

    def test_helpers_are_no_tests(self):
        self.assertEqual(tests("#[test]\n#[cfg(X)]\nfn a() {}\nfn b() {}\n    #[test]\n    fn c() -> Result {"), {"a", "c"})

    def test_missing_ones_are_found(self):
        for bad in ("`rust_dma_fence: ctx`", "`rust_hrtimer: simulated`",
                    "`rust_dma_fence: no_such`", "`rust_no_such`", "`vgem_uapi: no_such`", "`igt@no_such`",
                    "`compile-fail/no_such`", "`fences no_such`", "`rust_dma_fence: data`, `no_such`",
                    "`vgem_uapi: no_such_…`", "`make no_such`", "`vgem_uring: signal`",
                    "`rust_dma_fence_race: drop_waits`", "`rust_dma_fence: data` (2 CPUs)",
                    "`rust_dma_fence: data` (lockdep)", "`rust_dma_fence: signalling_nests`",
                    "`rust_drm_gpuvm: obtain_locks`", "`rust_drm_gpuvm: obtain_locks` (lockdep)"):
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
