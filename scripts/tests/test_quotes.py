# SPDX-License-Identifier: GPL-2.0
"""Tests of the examples in Documentation/: each is quoted from the file in its caption, and the
walk through the sample driver follows a job from the ioctl to the signal."""

import re
import textwrap
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "Documentation/driver-api/dma-buf-rust.rst"


def quotes(text):
    """The examples of a page: (file, code); the file is None if there is no caption."""
    for block in re.findall(r"(?m)^\.\. code-block:: rust\n((?:[ \t]+.*\n|\n)*)", text):
        match = re.match(r" +:caption: (\S+)\n\n", block)
        yield (match[1], block[match.end():]) if match else (None, block)


def lines(code):
    return [line.rstrip() for line in textwrap.dedent(code).strip("\n").split("\n")]


def is_quoted(code, source):
    """Whether the code is in the source, line by line, at any indentation, also in its rustdoc."""
    code, whole = lines(code), source.split("\n")
    doc = [re.sub(r"^\s*//[/!] ?", "", line) for line in whole]
    # Lines that rustdoc hides may be shown, or not.
    for text in (whole, [line for line in doc if not re.match("# |#$", line)], [line.removeprefix("# ") for line in doc]):
        if any(lines("\n".join(text[n:n + len(code)])) == code for n in range(len(text) - len(code) + 1)):
            return True
    return False


class Quotes(unittest.TestCase):
    def test_quotes(self):
        count = 0
        for page in (ROOT / "Documentation").rglob("*.rst"):
            for name, code in quotes(page.read_text()):
                count += 1
                self.assertIsNotNone(name, f"{page.name}: an example without a caption:\n{code}")
                self.assertTrue(is_quoted(code, (ROOT / name).read_text()), f"{page.name}: not in {name}:\n{code}")
        self.assertGreater(count, 8)

    def test_order(self):
        """The walk quotes each file in its order, the submission before the queue."""
        names = [name for name, _ in quotes(PAGE.read_text())]
        walk = [name for name in names if name.startswith("samples/")]
        self.assertEqual(walk, sorted(walk, key=lambda name: not name.endswith("/file.rs")))
        self.assertEqual({Path(name).name for name in walk}, {"file.rs", "queue.rs"})
        # An author finds these two first.
        self.assertEqual(names[:2], ["rust/kernel/dma_resv.rs", "rust/kernel/dma_resv/many.rs"])

    def test_quotes_are_compared(self):
        source = "x\n    let a = 1;\n\n    if b {\n        c();\n    }\n/// let d = 2;\n/// # hidden\n/// e();\n"
        for good in ("let a = 1;\n", "if b {\n    c();\n}\n", "   let a = 1;\n\n   if b {\n       c();\n   }\n", "let d = 2;\n"):
            self.assertTrue(is_quoted(good, source), good)
        for bad in ("let a = 2;\n", "if b {\nc();\n}\n", "let a = 1;\nif b {\n", "let a\n"):
            self.assertFalse(is_quoted(bad, source), bad)
        page = "Text\n\n.. code-block:: rust\n   :caption: a/b.rs\n\n   x();\n\n   y();\n\nText\n\n.. code-block:: rust\n\n   z\n"
        self.assertEqual([(name, lines(code)) for name, code in quotes(page)],
                         [("a/b.rs", ["x();", "", "y();"]), (None, ["z"])])


if __name__ == "__main__":
    unittest.main()
