# SPDX-License-Identifier: GPL-2.0
"""Tests of how the documents are written: the length of the README, how each page begins, links,
headers of tables, and words that make a sentence hard to read, also in messages of scripts."""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
README_LINES = 130

# A regular expression, without regard to case, and what to write instead.
WORDS = {
    r"mend(s|ed|ing)?": "fix",
    r"put(s|ting)? right": "fix",
    r"anew": "again",
    r"by (it|him|her)self": "alone",
    r"by themselves": "alone",
    r"of (its|their|his|her) own": "alone, or the owner's name",
    r"of (yours|theirs)": "your, their",
    r"ha(s|ve|d) a go": "try",
    r"so be it": "the result, e.g. ignored because …",
    r"so it is(?=[.,;])": "the result",
    r"can(not| not|'t) be had": "is not available",
    r"there is none": "no such … exists",
    r"is gone|are gone": "is freed, is removed",
    r"what is there": "the noun, e.g. the remaining fences",
    r"at it already": "is already running",
    r"but for": "except",
    r"but what": "except what",
    r"stands? on": "depends on",
    r"beside (a|another|two|three) builds?": "while another build ran",
    r"has to be seen|have to be seen": "must report",
    r"has to be|have to be|is to be|are to be": "must, or is",
    r"makes? sense of": "convert",
    r"the abstractions? of": "the X abstraction",
    r"whoever|whosoever": "callers that …",
    r"who (comes?|asks?|holds?|locks?|waits?) (first|second|last|later|it)": "the second caller",
    r"tells?|told": "report, return, say",
    r"asks? (a|an|any|no|the|its|one) fences?": "query",
    r"(signall|cancell|labell|modell)(ed|ing)": "the American spelling",
    r"(initiali|seriali|synchroni|optimi|recogni)s(e|es|ed|er|ers|ing|ation)": "the American spelling",
    r"takes? (\w+ ){1,4}for (a|an|the|one|it|zero|null)\b": "treat X as Y",
}
# At the beginning of a sentence only.
STARTS = {r"Else": "Otherwise", r"Who(?![^.|\n]*\?)": "If you …, or callers that …"}


def prose(text, name):
    """The text, with as many lines, without what is not prose: code, links, what others said."""
    blank = lambda match: re.sub(r"[^\n]", " ", match[0])
    if name.startswith("scripts/"):
        # Comments and messages, without the names in them.
        return re.sub(r"`[^`\n]+`", blank, text)
    if name == "Makefile":
        # Comments and the texts of `make help`.
        lines = (re.search(r"(?:^|\s)#+@? .*|echo '.*'", line) for line in text.split("\n"))
        text = "\n".join(match[0] if match else "" for match in lines)
    if name.endswith(".rst"):
        # Literal blocks, but not what other directives have in them, such as tables.
        text = re.sub(r"(?m)^(?:(?![ \t]*\.\.).*::|.*code-block::.*)\n(?:\n|[ \t]+.*\n)+",
                      lambda match: match[0].split("\n")[0] + "\n" * match[0].count("\n"), text)
        text = re.sub(r"``[^`]+``", blank, text)
    text = re.sub(r"(?ms)^```.*?^```$", blank, text)
    text = re.sub(r"(?s)`[^`]+`|\]\([^)]*\)|\"[^\"\n]*\"|<!--.*?-->", blank, text)
    # The subjects of patches.
    return re.sub(r"(?m)^\| rust: .*?\|", blank, text)


def bad_words(text, name="page.md"):
    """Each word that is not plain, as NAME:LINE: the word, and what to write instead."""
    text, found = prose(text, name), []
    for words, start in ((WORDS, r"(?i)(?<![\w-])(?:"), (STARTS, r"(?m)(?:^|[.:;!?|] )(?:")):
        for pattern, instead in words.items():
            # A sentence may go on in the next line.
            for match in re.finditer(start + pattern.replace(" ", r"\s+") + r")(?![\w-])", text):
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{name}:{line}: \"{' '.join(match[0].split())}\": write {instead}")
    return found


def no_reader(text):
    """Whether the first paragraph does not say whom the page is for."""
    paragraphs = [p for p in re.split(r"\n\s*\n", re.sub(r"(?m)^(<!--.*-->|#.*)\n", "\n", text)) if p.strip()]
    return not paragraphs or "For " not in paragraphs[0]


def blank_headers(text):
    """The headers of tables that have a cell without a word."""
    return [row for row in re.findall(r"(?m)^(\|.*\|)\n\|[-:| ]+\|$", text) if re.search(r"\|\s*\|", row)]


def anchors(text):
    """What links to headings of a page can lead to."""
    headings = re.findall(r"(?m)^#+ (.*)$", re.sub(r"(?ms)^```.*?^```$", "", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(path, text):
    """The links to files of the repository, or to headings in them, that lead nowhere."""
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match("[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or anchor and anchor not in anchors(target.read_text()):
            found.append(link)
    return found


class Words(unittest.TestCase):
    def test_readme_is_short(self):
        lines = len((ROOT / "README.md").read_text().splitlines())
        self.assertLessEqual(lines, README_LINES, f"README.md has {lines} lines")

    def test_pages_name_their_reader(self):
        pages = sorted((ROOT / "docs").glob("*.md"))
        self.assertGreater(len(pages), 5)
        self.assertEqual([p.name for p in pages if no_reader(p.read_text())], [],
                         "the first paragraph does not say `For ...`")

    def test_readers_are_found(self):
        self.assertFalse(no_reader("<!-- x -->\n# Title\n\nFor authors\nof drivers.\n\nMore.\n"))
        self.assertTrue(no_reader("# For authors\n\nThis page.\n\nFor authors.\n"))
        self.assertTrue(no_reader("# Title\n"))

    def test_links_and_tables(self):
        for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
            text = path.read_text()
            self.assertEqual(dead_links(path, text), [], f"{path.name} has links that lead nowhere")
            self.assertEqual(blank_headers(text), [], f"{path.name} has tables with a blank header")

    def test_bad_links_and_tables_are_found(self):
        here = ROOT / "README.md"
        bad = ["no/such.md", "CONTRIBUTING.md#no-such", "#no-such"]
        good = ["LICENSE", "CONTRIBUTING.md#change-it", "#layout", "https://example.org/"]
        self.assertEqual(dead_links(here, "# Layout\n" + " ".join(f"[x]({link})" for link in bad + good)), bad)
        self.assertEqual(blank_headers("| a | |\n|---|---|\n| | c |\n"), ["| a | |"])
        self.assertEqual(blank_headers("| a | b |\n|---|---|\n| | c |\n"), [])

    def test_words(self):
        pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "Makefile",
                 *(ROOT / "docs").glob("*.md"), *(ROOT / "Documentation").rglob("*.rst"),
                 *(path for path in (ROOT / "scripts").rglob("*") if path.is_file() and path.suffix != ".pyc" and
                   path.parent.name != "tests")]
        names = {str(page.relative_to(ROOT)): page for page in pages}
        found = [bad for name, page in names.items() for bad in bad_words(page.read_text(), name)]
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_words_are_found(self):
        for bad in ("It mends a hole.", "which runs by\nitself", "Else it fails.", "Good. Else, it fails.",
                    "a thread of its own", "It can't be had.", "none but for C", "who comes second waits",
                    "It tells so.", "is signalled", "initialises it", "Who has an hour reads this.",
                    "It takes a fence for a timer.", "| is gone | x |", "Anew: build"):
            self.assertEqual(len(bad_words(f"A line.\n{bad}\n")), 1, bad)
            self.assertRegex(bad_words(f"A line.\n{bad}\n")[0], "^page.md:[23]: ")

    def test_code_is_no_prose(self):
        for good in ("Call `dma_fence_begin_signalling()`.", "```\nmended\n```", "[x](mended.md)", "amend, recommend",
                     'the RFC asks for "signalled" fences', "Who may use it?", "or else it fails"):
            self.assertEqual(bad_words(good), [], good)
        self.assertEqual(bad_words("Text::\n\n  mended\n\n``mended``\n", "page.rst"), [])
        self.assertEqual(len(bad_words("mended::\n\n  mended\n\nmended\n", "page.rst")), 2)
        self.assertEqual(len(bad_words(".. list-table::\n\n   * - mended\n", "page.rst")), 1)

    def test_scripts(self):
        self.assertEqual(len(bad_words("# It mends x.\ndie \"a is gone: call `mend x`\"\n", "scripts/x")), 2)

    def test_makefile(self):
        makefile = "all: ## mend it\n\tmend x\n# anew\nmended: x\n\t@echo '  so be it'\n"
        self.assertEqual(len(bad_words(makefile, "Makefile")), 3)


if __name__ == "__main__":
    unittest.main()
