# SPDX-License-Identifier: GPL-2.0
"""Tests of bench/: budgets, the report, its comparison and profiles."""

import contextlib
import importlib.machinery
import importlib.util
import io
import json
import struct
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.dont_write_bytecode = True
sys.path[:0] = str(BENCH), str(Path(__file__).resolve().parent)
import results  # noqa: E402
from html_page import Page  # noqa: E402


def script(name):
    loader = importlib.machinery.SourceFileLoader(f"bench_{name}", str(BENCH / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


report, compare, profile = map(script, ("report", "compare", "profile"))

BUDGET = "# why\ninstructions\tfast\t0.75\ninstructions\t*\t1.00\nmemory\tkept\t0.5 B\n"


def module(*sections):
    """An ELF file with these sections: name, flags, size."""
    sections = (("", 0, 0), *sections, (".shstrtab", 0, 0))
    names = b"".join(name.encode() + b"\0" for name, *_ in sections)
    elf = bytearray(b"\x7fELF\x02\x01".ljust(64, b"\0") + names)
    struct.pack_into("<Q", elf, 0x28, len(elf))
    struct.pack_into("<HHH", elf, 0x3A, 64, len(sections), len(sections) - 1)
    at = 0
    for name, flags, size in sections:
        elf += struct.pack("<IIQQQQ", at, 1, flags, 0, 64 if name == ".shstrtab" else 0, size).ljust(64, b"\0")
        at += len(name) + 1
    return bytes(elf)


class Case(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.top = Path(directory.name)

    def write(self, name, text):
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text) if isinstance(text, bytes) else path.write_text(text)
        return path

    def run_script(self, script, *args):
        """Its status and what it said."""
        said = io.StringIO()
        with mock.patch.object(sys, "argv", ["it", *map(str, args)]), contextlib.redirect_stdout(said):
            try:
                status = script.main()
            except SystemExit as end:
                return 1, str(end.code)
        return status, said.getvalue()

    def raw(self, fast=70, kept=0, per=(100, 200), time=((10, 30, 20), (11, 12, 13))):
        """What a run leaves."""
        for driver, instructions, bytes_each, times in (("c", 100, 32, time[0]), ("rust", fast, kept, time[1])):
            slope = (100, 300) if driver == "c" else per
            lines = [("fast", 1, instructions), ("close, by live fences", 1, slope[0]), ("close, by live fences", 10, slope[1])]
            self.write(f"raw/instructions/{driver}.1.tsv", "".join(f"{n}\t{x}\t{v}\t5\n" for n, x, v in lines))
            for number, value in enumerate(times):
                self.write(f"raw/time/{driver}.{number}.tsv", f"fast\t1\t{value}\t5\n")
            self.write(f"raw/memory/{driver}.1.tsv", f"kept\t1\t{bytes_each}\t5\n")
            self.write(f"raw/stack/{driver}.1.tsv", "fast\t1\t900\t1\n")
            self.write("alone.tsv", "")
            self.write(f"raw/{driver}.ko", module((".text", 6, 50), (".rodata", 2, 7), (".data", 3, 5),
                                                  (".bss", 3, 1), (".init.text", 6, 9), (".comment", 0, 99)))


class Budgets(Case):
    def judge(self, misses="", **measured):
        self.raw(**measured)
        misses = results.limits(self.write("misses.tsv", misses))
        rows = results.judge(results.read(self.top / "raw"),
                             results.limits(self.write("budget.tsv", BUDGET)), misses)
        return {(row["meter"], row["label"]): row for row in rows}, *results.problems(rows, misses, self.top)

    def test_met(self):
        rows, bad, said = self.judge()
        self.assertEqual((bad, said), ([], []))
        self.assertEqual(rows["instructions", "fast"]["verdict"], "met")
        self.assertEqual(rows["instructions", "close, by live fences: 10"]["ratio"], 200 / 300)
        self.assertEqual(rows["memory", "kept"]["budget"], "0.5 B")

    def test_time_is_the_median_and_has_no_budget(self):
        rows, bad, _ = self.judge(time=((10, 30, 20), (500, 400, 900)))
        row = rows["time", "fast"]
        self.assertEqual((row["c"]["median"], row["c"]["least"], row["c"]["most"]), (20, 10, 30))
        self.assertEqual((row["ratio"], row["verdict"], bad), (25, "", []))

    def test_over(self):
        rows, bad, _ = self.judge(fast=80)
        self.assertEqual(rows["instructions", "fast"]["verdict"], "over")
        self.assertEqual(bad, ["over its budget: instructions: fast: 0.80, budget 0.75",
                               "without a profile: instructions: fast: 0.80, budget 0.75"])

    def test_over_in_bytes(self):
        _, bad, _ = self.judge(kept=16)
        self.assertEqual(bad, ["over its budget: memory: kept: 0.50, budget 0.5 B"])

    def test_known_miss(self):
        self.write("profile-fast.txt", "why\n")
        miss = "instructions\tfast\t0.80\tit has to\n"
        rows, bad, said = self.judge(miss, fast=80)
        self.assertEqual(rows["instructions", "fast"]["verdict"], "known")
        self.assertEqual(bad, [])
        self.assertEqual(said, ["a known miss: instructions: fast: 0.80, budget 0.75, allowed 0.80: it has to"])
        _, bad, _ = self.judge(miss, fast=82)
        self.assertEqual(bad, ["worse than the miss that is known: instructions: fast: 0.82, budget 0.75, allowed 0.80"])
        _, bad, said = self.judge(miss, fast=70)
        self.assertEqual(bad, [])
        self.assertEqual(said, ["no miss any more, so bench/misses.tsv need not have it: instructions: fast"])

    def test_nothing_of_c(self):
        rows, bad, _ = self.judge(per=(0, 0))
        self.assertEqual(rows["instructions", "close, by live fences: 1"]["ratio"], 0)
        row = {"c": {"median": 0}, "rust": {"median": 3}, "ratio": None}
        self.assertFalse(results.within(row, "1.00"))
        self.assertTrue(results.within(row, "4 B"))

    def test_net_of_the_system_call(self):
        self.raw()
        for driver, attach, floor in (("c", 2500, 700), ("rust", 1600, 700)):
            self.write(f"raw/inlined/{driver}.1.tsv", f"null ioctl\t1\t{floor}\t5\nATTACH\t1\t{attach}\t5\n")
        rows = results.judge(results.read(self.top / "raw"),
                             [("inlined", "ATTACH, net", "0.45"), ("inlined", "*", "1.00")], [])
        self.assertEqual([(row["label"], row["ratio"], row["verdict"]) for row in rows if row["meter"] == "inlined"],
                         [("null ioctl", 1, "met"), ("ATTACH", 0.64, "met"), ("ATTACH, net", 0.5, "over")])
        # Its profile is that of the whole call.
        said = "without a profile: inlined: ATTACH, net: 0.50, budget 0.45"
        self.assertIn(said, results.problems(rows, [], self.top)[0])
        self.write("inlined/profile-attach.txt", "why\n")
        self.assertNotIn(said, results.problems(rows, [], self.top)[0])

    def test_what_has_no_driver_in_c(self):
        self.raw()
        self.write("alone.tsv", "SUBMIT, net\t1\t500.0\t560.0\n")
        self.write("inlined/alone.tsv", "SUBMIT, net\t1\t500.0\t540.0\n")
        rows = results.judge(results.read(self.top / "raw"), [], [])
        ratios = {row["meter"]: row["ratio"] for row in rows if row["row"] == "SUBMIT, net"}
        self.assertEqual(ratios, {"instructions": 1.12, "inlined": 1.08})
        self.write("alone.tsv", "SUBMIT\t1\t500.0\n")
        with self.assertRaisesRegex(results.Bad, "has a line"):
            results.read(self.top / "raw")
        (self.top / "alone.tsv").unlink()
        with self.assertRaises(OSError):
            results.read(self.top / "raw")

    def test_rows_that_are_not_in_both(self):
        self.raw()
        with (self.top / "raw/memory/c.1.tsv").open("a") as file:
            file.write("more\t1\t1\t1\n")
        with self.assertRaisesRegex(results.Bad, "memory: more: 1 was not measured"):
            results.read(self.top / "raw")

    def test_bad_lines(self):
        for line in ("instructions\tfast", "instructions\tfast\tmuch", "fast 0.75"):
            with self.assertRaisesRegex(results.Bad, "has a line"):
                results.limits(self.write("budget.tsv", line + "\n"))
        self.raw()
        self.write("raw/time/c.1.tsv", "fast\t1\tsoon\t5\n")
        with self.assertRaisesRegex(results.Bad, "has a line"):
            results.read(self.top / "raw")

    def test_sizes(self):
        path = self.write("m.ko", module((".text", 6, 50), (".init.text", 6, 9), (".bss", 3, 1), (".x", 0, 99)))
        self.assertEqual(results.sizes(path), {"text": 50, "rodata": 0, "data": 1, "only while it is loaded": 9})
        with self.assertRaises(results.Bad):
            results.sizes(self.write("m.ko", b"no"))

    def test_own_files(self):
        for name in ("budget.tsv", "misses.tsv"):
            for line in results.limits(BENCH / name):
                self.assertIn(line[0], results.METERS)
                self.assertEqual(len(line), 3 if name == "budget.tsv" else 5)


class Report(Case):
    def test_over(self):
        self.raw(fast=150)
        self.assertEqual(self.run_script(report, "--over", self.top, "instructions"), (0, "fast\n"))
        self.assertEqual(self.run_script(report, "--over", self.top, "inlined"), (0, ""))
        self.assertEqual(self.run_script(report, "--over", self.top)[0], 1)

    def test_count(self):
        self.raw(fast=150)
        for path in (self.top / "raw" / "time").iterdir():
            path.unlink()
        self.assertEqual(self.run_script(report, self.top, "commit=x")[0], 1)
        status, said = self.run_script(report, "--count", self.top)
        self.assertEqual(status, 1)
        self.assertIn("rustgem: over its budget: instructions: fast: 1.50", said)
        self.assertNotIn("without a profile", said)
        self.raw()
        self.assertEqual(self.run_script(report, "--count", self.top)[0], 0)
        self.assertFalse((self.top / "results.json").exists())

    def test_nothing(self):
        status, said = self.run_script(report, self.top, "commit=x")
        self.assertEqual(status, 1)
        self.assertIn("rustgem: ", said)

    @unittest.skipUnless(importlib.util.find_spec("matplotlib"), "there is no matplotlib")
    def test_page(self):
        self.raw()
        self.write("profile-fast.txt", "a <b>\n")
        status, said = self.run_script(report, self.top, "commit=x&y")
        self.assertEqual(status, 0)
        self.assertRegex(said, r"(?m)^fast +100 +70 +0\.70 +1\.00$")
        data = json.loads((self.top / "results.json").read_text())
        self.assertEqual((data["commit"], data["good"]), ("x&y", True))
        page = (self.top / "index.html").read_text()
        self.assertIn("x&amp;y", page)
        self.assertIn("a &lt;b&gt;", page)
        page = Page(page)
        self.assertEqual(page.wrong, [])
        # The rows of fast alone: 0.70, 1.00 and so on, of C's.
        self.assertIn("Instructions: Rust takes at most what C takes in 3 of 3 rows.", page.sections[""])
        self.assertEqual(list(page.sections)[:3], ["", "Plots", "Instructions"])
        self.assertEqual(list(page.sections)[-1], "Machine and versions")
        for name in ("live.svg", "threads.svg", "history.svg"):
            self.assertIn("<svg", (self.top / name).read_text())


class Compare(Case):
    def results(self, name, rust, meter="instructions", label="fast"):
        row = {"meter": meter, "label": label, "ratio": rust / 100,
               "c": {"median": 100}, "rust": {"median": rust}}
        return self.write(name, json.dumps({"rows": [row]}))

    def test_same_and_better(self):
        a = self.results("a", 80)
        self.assertEqual(self.run_script(compare, a, a)[0], 0)
        status, said = self.run_script(compare, a, self.results("b", 40))
        self.assertEqual(status, 0)
        self.assertRegex(said, r"instructions: fast +0\.800 +0\.400 +-50\.0%\n")

    def test_worse(self):
        a = self.results("a", 80)
        self.assertEqual(self.run_script(compare, a, self.results("b", 80.7))[0], 0)
        status, said = self.run_script(compare, a, self.results("b", 81))
        self.assertEqual(status, 1)
        self.assertIn("rustgem: worse: instructions: fast", said)

    def test_only_instructions_fail(self):
        self.assertEqual(self.run_script(compare, self.results("a", 80, "time"),
                                         self.results("b", 99, "time"))[0], 0)

    def test_gone(self):
        status, said = self.run_script(compare, self.results("a", 80), self.results("b", 80, label="new"))
        self.assertEqual(status, 1)
        self.assertIn("gone", said)

    def test_no_results(self):
        a = self.results("a", 80)
        self.assertEqual(self.run_script(compare, a, self.top / "none"),
                         (1, f"rustgem: {self.top / 'none'}: No such file or directory"))
        for text in ("", "[]", "{}", '{"rows": [{}]}', '{"rows": 3}'):
            bad = self.write("bad", text)
            self.assertEqual(self.run_script(compare, a, bad),
                             (1, f"rustgem: {bad} is no results.json of make bench"))
        self.assertIn("A=results.json", self.run_script(compare, "", "")[1])


SYMS = """\
ffffffff81000000 T entry
ffffffff81000040 D no_function
ffffffff81000080 t work
ffffffffc0000000 t call\t[vgem]
"""


class Profile(Case):
    def raw(self, counts):
        self.write("c.syms", SYMS)
        self.write("rust.syms", SYMS.replace("call", "_RNvNtCs1234_4vgem5fence6attach"))
        self.write("load.syms", SYMS.replace("ffffffffc0000000 t call\t[vgem]\n", ""))
        self.write("counts", counts)
        self.write("rows.tsv", "c\tc\tATTACH\t1\t30\t10\nrust\trust\tATTACH\t1\t20\t10\nload\tc\tload\t1\t9\t1\n")

    def test_side_by_side(self):
        self.raw("row\nffffffff81000084 100\nffffffff81000090 20\nffffffffc0000010 200\n"
                 "row\n400000 50\nffffffffc0000010 200\nrow\nffffffffc0000010 9\n")
        status, said = self.run_script(profile, self.top, self.top, "ATT")
        self.assertEqual(status, 0)
        text = (self.top / "profile-attach.txt").read_text()
        self.assertEqual(said, text + "\n")
        for line in (r"32 +25 +-7  all", r"20 +0 +-20  call", r"0 +20 +\+20  vgem::fence::attach",
                     r"0 +20 +\+20  driver\n", r"32 +0 +-32  other\n", r"0 +5 +\+5  entry\n", r"0 +0 +\+0  dma-buf\n",
                     r"12 +0 +-12  work", r"0 +5 +\+5  \(user space\)"):
            self.assertRegex(text, line)
        self.assertFalse((self.top / "profile-load.txt").exists())

    def test_layers(self):
        for function, layer in {"dma_fence_signal": "dma-buf", "__drm_dev_dbg": "DRM", "do_syscall_64": "entry",
                                "<vgem::file::File>::fence_attach": "driver", "rust_helper_kmalloc": "abstraction",
                                "__kmalloc_noprof": "allocation",
                                "<<rust_mockgpu::file::File>::submit as kernel::drm::ioctl::H>::call": "driver",
                                "<u32 as kernel::sync::atomic::A>::add": "abstraction",
                                "<kernel::alloc::kvec::Vec<rust_mockgpu::queue::Job>>::push": "containers",
                                "call_rcu": "RCU", "schedule": "other"}.items():
            self.assertEqual(results.layer(function), layer)

    def test_module_that_is_elsewhere(self):
        self.raw("row\nrow\nrow\nffffffffc0000010 9\n")
        self.assertEqual(self.run_script(profile, self.top, self.top)[0], 0)
        self.assertIn("(the module)", (self.top / "profile-load.txt").read_text())

    def test_without_c(self):
        """A module of which it is known what was inlined, at 0xffffffffc0000000."""
        frames = {0x10: [("kernel::fence::arm", "rust/kernel/fence.rs"), ("vgem::submit", "drivers/vgem.rs")],
                  0x14: [("<core::option::Option<u32>>::take", "/usr/library/core/src/option.rs"),
                         ("vgem::submit", "drivers/vgem.rs")],
                  0x18: [("", "")], 0x1c: [("", "")]}
        said = "".join(json.dumps({"Symbol": [{"FunctionName": name, "FileName": file} for name, file in frames[at]]}) +
                       "\n" for at in frames)
        symbolizer = self.write("symbolizer", "#!/bin/sh\ncat >$0.in\ncat <<'E'\n" + said + "E\n")
        symbolizer.chmod(0o755)
        self.write("m.syms", SYMS.replace("call", "core::ops::call"))
        self.write("m.ko", "")
        self.write("m.text", "0xffffffffc0000000\n")
        self.write("rows.tsv", "m\trust\tSUBMIT\t1\t30\t10\n")
        self.write("counts", "row\nffffffff81000090 500\n400000 100\n" +
                   "".join(f"{0xffffffffc0000000 + at:x} {at}0\n" for at in frames))
        with mock.patch.dict("os.environ", SYMBOLIZER=str(symbolizer)):
            self.assertEqual(self.run_script(profile, self.top, self.top)[0], 0)
        self.assertEqual((self.top / "symbolizer.in").read_text(), "".join(f"{at:#x}\n" for at in frames))
        # 50 of others, 10 of user space, 20 of the driver; 16 + 24 + 28 of the abstraction.
        text = (self.top / "profile-submit.txt").read_text()
        for line in ("with them, and the difference", r"80 +148 +\+68  all", r"0 +68 +\+68  abstraction",
                     r"20 +20 +\+0  driver", r"0 +16 +\+16  kernel::fence::arm", r"20 +20 +\+0  vgem::submit",
                     r"0 +52 +\+52  core::ops::call"):
            self.assertRegex(text, line)
        self.assertEqual((self.top / "alone.tsv").read_text(), "SUBMIT\t1\t80.0\t148.0\nSUBMIT, net\t1\t50.0\t118.0\n")
        layers = (self.top / "layers.tsv").read_text()
        self.assertIn("SUBMIT\tabstraction\t68.0\n", layers)
        self.assertEqual(sum(float(line.split("\t")[2]) for line in layers.splitlines()), 148)

    def test_what_does_not_fit(self):
        self.raw("row\n")
        self.assertIn("1 rows were counted, and 3 measured", self.run_script(profile, self.top, self.top)[1])
        self.raw("row\nrow\nrow\n")
        self.assertIn("no row nothing", self.run_script(profile, self.top, self.top, "nothing")[1])
