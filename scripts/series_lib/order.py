# SPDX-License-Identifier: GPL-2.0
"""Check that the overlay and series/ are in order."""

import os
import re
import stat

from series_lib.common import Problem, text
from series_lib.model import overlay_files


def invariants(series, overlay, scratch):
    """One message for each thing that is wrong with the series."""
    wrong, owner, patches, created = [], {}, set(), {}
    for entry in series.entries:
        if entry.patch in patches:
            wrong.append(f"series/series lists {entry.patch} twice")
        patches.add(entry.patch)
        for name in entry.files:
            if name in owner:
                wrong.append(f"{name} is listed twice, "
                             f"under {owner[name]} and {entry.patch}")
            owner[name] = entry.patch
            if not os.path.lexists(series.root / name):
                wrong.append(f"{name} is listed under {entry.patch} but does not exist")
            elif name not in overlay:
                wrong.append(f"{name} is listed under {entry.patch} but git ignores it")
            elif not stat.S_ISREG(os.lstat(series.root / name).st_mode):
                wrong.append(f"{name} is not a regular file")
        if not (series.dir / entry.patch).exists():
            wrong.append(f"series/{entry.patch} is listed but does not exist")
            continue
        try:
            wrong += patch_invariants(series, entry, scratch, created)
        except Problem as problem:
            wrong.append(str(problem))
    for name in sorted(created.keys() - scratch.in_base(created)):
        wrong.append(f"series/{created[name]} creates {name}: new files belong in the overlay")
    for name in sorted(overlay - owner.keys()):
        wrong.append(f"{name} is in the overlay, but series/series lists it "
                     "under no commit")
    for path in sorted(series.dir.glob("*.patch")):
        if path.name not in patches:
            wrong.append(f"series/{path.name} is not listed in series/series")
    for part in series.parts:
        if not part.entries:
            wrong.append(f"the part [{part.name}] of series/series has no patches")
    for path in sorted(series.dir.glob("cover/*")):
        if path.stem not in (part.name for part in series.parts):
            wrong.append(f"series/cover/{path.name} is the cover letter of no part")
    for name in sorted(scratch.in_base(sorted(overlay))):
        wrong.append(f"{name} is in the overlay, but the base kernel has it too: "
                     "make the edit a patch")
    if series.entries and not series.release():
        wrong.append("series/base does not say which kernel release the series is for")
    return wrong


def patch_invariants(series, entry, scratch, created):
    """What is wrong with one patch file; `created` remembers which patch created a file
    that none has deleted since."""
    mail = series.mail(scratch, entry.patch)
    done = scratch.run("apply", "--numstat", "--summary", "--allow-empty",
                       stdin=mail.diff)
    if done.returncode:
        return [f"series/{entry.patch} has a broken diff: {text(done.stderr).strip()}"]
    if not done.stdout and not entry.files:
        return [f"series/{entry.patch} has no edits, and no overlay files"]
    wrong = []
    for change, name in re.findall(r"(?m)^ (create|delete|rename|copy)(?: mode \d+)? (.+)$",
                                   text(done.stdout)):
        if change == "create":
            created[name] = entry.patch
        elif change == "delete":
            created.pop(name, None)
        else:
            wrong.append(f"series/{entry.patch} has a {change}, {name}: "
                         "make it a deletion and a new file")
    return wrong


def check(series, scratch, any_version=False):
    """Raise a Problem where the series is not in order, or not for this kernel."""
    wrong = invariants(series, overlay_files(series.root), scratch)
    if wrong:
        raise Problem("\nseries: ".join(wrong))
    release = series.release()
    if release and release != scratch.version() and not any_version:
        raise Problem(f"the series is for Linux {release}, {scratch.lender.path} has "
                      f"{scratch.version()} (--any-version ignores this)")
