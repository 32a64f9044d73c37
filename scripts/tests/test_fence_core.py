#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What stands above the fence core uses only the core's methods in expect/fence-core.txt, so that
a move to another fence core is a matter of that list. `test_fence_core.py --write` writes it."""

import re
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LIST = ROOT / "expect/fence-core.txt"
CORE = ("rust/kernel/dma_fence.rs", "rust/kernel/dma_fence/ctx.rs")
ABOVE = ("rust/kernel/dma_fence/*.rs", "rust/kernel/dma_resv.rs", "rust/kernel/dma_resv/*.rs",
         "rust/kernel/drm/syncobj.rs")
NOT_ABOVE = re.compile(r"/(ctx|signalling|tests\w*)\.rs$")
HEADER = """\
# SPDX-License-Identifier: GPL-2.0
#
# The methods of the fence core, rust/kernel/dma_fence.rs and rust/kernel/dma_fence/ctx.rs, that
# each file above it uses. A fence core that has these can take its place; docs/dma_buf-7.4.md
# says which of them that of Linux 7.4 has. scripts/tests/test_fence_core.py checks the list, by
# name, and writes it with --write.

"""


def code(path):
    """A source file without comments and tests."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"(?ms)^#\[cfg\(CONFIG_RUST_\w*_KUNIT_TEST\)\]\n#\[kunit_tests.*", "", text)
    return re.sub(r"(?m)^\s*//.*\n|\s//.*$", "", text)


def methods(paths):
    """The names of the public methods of the core."""
    text = "".join(code(ROOT / path) for path in paths)
    return set(re.findall(r"(?m)^    pub (?:\w+ )*fn (\w+)", text)) | {"MAX_FENCES"}


def used(text, names, on_self=False):
    """Those of the names that a text calls on a fence, or on `self` too, or names by its type."""
    receiver = r"\w*fence|f|prev|other" + (r"|self" if on_self else "")
    fence = rf"(?:\b(?:Unarmed|Driver)?DmaFence(?:Ctx|Names)?::|\b(?:{receiver})\s*\.)"
    return sorted(names.intersection(re.findall(rf"{fence}(\w+)\b", text)))


def uses():
    """The list, as it should be."""
    names, lines = methods(CORE), []
    for path in sorted(path for pattern in ABOVE for path in ROOT.glob(pattern)):
        name = str(path.relative_to(ROOT))
        if NOT_ABOVE.search(name) or name in CORE:
            continue
        if found := used(code(path), names, "/dma_fence/" in name):
            lines.append(f"{name}: {' '.join(found)}\n")
    return "".join(lines)


class FenceCore(unittest.TestCase):
    def test_list(self):
        listed = re.sub(r"(?m)^(#.*)?\n", "", LIST.read_text(encoding="utf-8"))
        self.assertEqual(uses(), listed, "expect/fence-core.txt differs: is the method needed?")

    def test_another_method_is_found(self):
        self.assertEqual(used("let a = fence.timestamp()?; guard.status();", {"timestamp", "status"}),
                         ["timestamp"])
        self.assertEqual(used("self.as_raw(); self\n.seqno()", {"as_raw", "seqno"}), [])
        self.assertEqual(used("DmaFence::from_raw(ptr)", {"from_raw"}), ["from_raw"])
        self.assertIn("is_signaled", methods(CORE))


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        LIST.write_text(HEADER + uses(), encoding="utf-8")
    else:
        unittest.main()
