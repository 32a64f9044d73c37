# SPDX-License-Identifier: GPL-2.0
"""The series as files: series/ and the overlay."""

import difflib
import functools
import os
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from series_lib.common import Problem, text
from series_lib.git import Repo, tidy

OVERLAY_DIRS = ("rust", "drivers", "Documentation", "samples", "tools", "include")
HEADER = """\
# SPDX-License-Identifier: GPL-2.0
#
# The commits in order, each with the overlay files that it adds. [NAME] begins a
# part, which is mailed alone, with the cover letter cover/NAME.txt.
# `make refresh` writes this file. Comments go above the first patch.
"""


@dataclass
class Entry:
    """One commit: its patch file, and the overlay files that it adds."""
    patch: str
    files: list = field(default_factory=list)

    @property
    def slug(self):
        """The name of the patch file without its number."""
        return self.patch[5:]


@dataclass
class Part:
    """What is mailed alone: its name, and its entries."""
    name: str
    entries: list = field(default_factory=list)


@dataclass
class Mail:
    """What a patch file says."""
    message: str
    diff: str

    @functools.cached_property
    def diffs(self):
        """The diff of each file: {path: diff}."""
        first, *others = re.split(r"(?m)^(?=diff --git )", self.diff)
        paths = (re.match(r'diff --git ("?)a/(.*)\1 \1b/\2\1\n', diff) for diff in others)
        return {"": first} | {path[2] if path else diff: diff
                              for path, diff in zip(paths, others)}


class Series:
    """series/ and the overlay below `root`."""

    def __init__(self, root):
        self.root, self.dir = root, root / "series"
        self.header, self.entries, self.parts, self.mails = HEADER, [], [], {}
        if (self.dir / "series").exists():
            self.parse(text((self.dir / "series").read_bytes()))

    def parse(self, lines):
        self.header = ""
        for number, line in enumerate(lines.splitlines(), 1):
            name = line.strip()
            if not name or name.startswith("#"):
                begun = self.entries or self.parts
                if begun and name:
                    raise Problem(f"series/series:{number}: "
                                  "comments go above the first patch")
                if not begun:
                    self.header += line + "\n"
            elif part := re.fullmatch(r"\[([a-z0-9-]+)\]", line):
                if self.entries and not self.parts:
                    raise Problem(f"series/series:{number}: there are patches above "
                                  f"the first part, {name}")
                if part.group(1) in (other.name for other in self.parts):
                    raise Problem(f"series/series:{number}: {name} begins twice")
                self.parts.append(Part(part.group(1)))
            elif not line[0].isspace():
                if not re.fullmatch(r"\d{4}-[\w.-]*\.patch", name):
                    raise Problem(f"series/series:{number}: "
                                  f"'{name}' is not a name like 0001-subject.patch")
                self.entries.append(Entry(name))
                if self.parts:
                    self.parts[-1].entries.append(self.entries[-1])
            elif not self.entries:
                raise Problem(f"series/series:{number}: '{name}' stands before any patch")
            else:
                path = PurePosixPath(name)
                if path.parts[0] not in OVERLAY_DIRS or ".." in path.parts:
                    raise Problem(f"series/series:{number}: '{name}' is not in "
                                  "an overlay directory")
                self.entries[-1].files.append(name)

    def release(self):
        """The kernel release that the series is for, or None."""
        path = self.dir / "base"
        return path.read_text().strip() if path.exists() else None

    def listed(self):
        """Every listed file, relative to the root."""
        return {f"series/{entry.patch}" for entry in self.entries} | {
            name for entry in self.entries for name in entry.files}

    def begins(self, slugs):
        """Where the parts begin in commits with these slugs: {index: name of a part}."""
        old, begins, start = [entry.slug for entry in self.entries], {}, 0
        blocks = difflib.SequenceMatcher(None, old, slugs, autojunk=False).get_opcodes()
        for part in self.parts:
            for _, old1, old2, new1, new2 in blocks:
                if start and old1 <= start < old2:
                    begins[min(new1 + start - old1, new2)] = part.name
            start += len(part.entries)
        return {0: part.name for part in self.parts[:1]} | begins

    def letter(self, part):
        """A part's cover letter, the parts that it needs, and its change-id, as they are in
        series/cover."""
        path = self.dir / f"cover/{part.name}.txt"
        if not path.exists():
            raise Problem(f"series/cover/{part.name}.txt does not exist: it is the cover "
                          f"letter of the part [{part.name}] of series/series")
        match = re.fullmatch(r"(.*)\n\n(?:needs: ([a-z0-9 -]+)\n)?"
                             r"change-id: (\d{8}-[a-z0-9-]+-[0-9a-f]{12})",
                             tidy(text(path.read_bytes())), re.S)
        if not match:
            raise Problem(f"{path.relative_to(self.root)} does not end with a line like "
                          "'change-id: 20261231-rustgem-name-0123456789ab'")
        before = self.parts[:self.parts.index(part)]
        if match[2] is None:
            return match[1], before, match[3]
        named = [] if match[2] == "-" else match[2].split()
        for name in named:
            if name not in (other.name for other in before):
                raise Problem(f"{path.relative_to(self.root)} needs {name}, which is no part "
                              "before it")
        return match[1], [other for other in before if other.name in named], match[3]

    def needs(self, part):
        """The parts that a part needs, and that these need, in order."""
        found = {}
        for other in self.letter(part)[1]:
            found |= {need.name: need for need in [*self.needs(other), other]}
        return [other for other in self.parts if other.name in found]

    def cover(self, part, scratch):
        """A part's cover letter as it is mailed: with what it needs."""
        letter, named, _ = self.letter(part)
        base, needs = f"v{scratch.version('SUBLEVEL')}", self.needs(part)
        lines = [f"This is part {self.parts.index(part) + 1} of {len(self.parts)}. "
                 + (f"It applies to {base} with these parts, which" if needs else
                    f"It applies to {base} alone.")]
        if needs:
            lines += ["it needs:", ""] + [
                f"{self.parts.index(other) + 1}. " + self.letter(other)[0].split("\n", 1)[0]
                for other in needs]
        words, line, changes = letter.partition("\n---\n")
        return "\n".join([words, "", *lines]) + line + changes

    def mail(self, scratch, patch):
        """Read a patch file, once, as git am would."""
        if patch in self.mails:
            return self.mails[patch]
        message, diff = scratch.path / "message", scratch.path / "diff"
        info = scratch.git("mailinfo", "-b", "--no-scissors", str(message), str(diff),
                           stdin=text((self.dir / patch).read_bytes()))
        subject = re.search(r"(?m)^Subject: (.*)$", info)
        if not subject:
            raise Problem(f"series/{patch} has no subject")
        self.mails[patch] = Mail(tidy(f"{subject.group(1)}\n\n{text(message.read_bytes())}"),
                                 text(diff.read_bytes()))
        return self.mails[patch]


def overlay_files(root):
    """Overlay files of the project: tracked ones, and new ones that git would add."""
    names = Repo(root).git("ls-files", "-z", "--cached", "--others",
                           "--exclude-standard", "--", *OVERLAY_DIRS).split("\0")
    return {name for name in names if name and os.path.lexists(root / name)}
