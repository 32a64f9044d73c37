# SPDX-License-Identifier: GPL-2.0
"""From files to commits, and to mails."""

import os
import re
import stat
from pathlib import Path

from series_lib.common import Problem, indent, note, raw, text
from series_lib.git import Repo


def build(series, scratch, signer=None):
    """Commit the series on the base with plumbing alone; return the tip."""
    if not series.entries:
        return scratch.base
    aside = scratch.aside()
    states = unwind(series, aside)
    base = tip = aside.narrowed(scratch.base, touched(series, aside))
    for number, (entry, state) in enumerate(zip(series.entries, states), 1):
        mail = series.mail(aside, entry.patch)
        edits = "".join(diff for path, diff in mail.diffs.items()
                        if path not in state or path in entry.files)
        if edits.strip() not in ("", "---"):
            done = aside.run("apply", "--cached", "--verbose", "--allow-empty",
                             "--whitespace=nowarn", stdin=edits)
            if done.returncode:
                raise Problem(conflict(entry.patch, mail, text(done.stderr), scratch))
        index(aside, state)
        tree = aside.git("write-tree").strip()
        message = mail.message + "\n"
        if signer:
            message = aside.git("interpret-trailers", "--trailer",
                                f"Signed-off-by: {signer}", stdin=message)
        tip = aside.git("commit-tree", tree, "-p", tip, stdin=message,
                        **scratch.dated(number)).strip()
    ref = "refs/heads/series"
    aside.git("update-ref", ref, tip)
    commits = aside.git("fast-export", "--reference-excluded-parents", "--reencode=no",
                        f"{base}..{ref}")
    # Into single objects: a pack for each run would pile up in the kernel's repository.
    scratch.git("fast-import", "--quiet", "--force", GIT_CONFIG_COUNT="1",
                GIT_CONFIG_KEY_0="fastimport.unpackLimit", GIT_CONFIG_VALUE_0=str(len(commits)),
                stdin=commits.replace(f"from {base}\n", f"from {scratch.base}\n", 1))
    return scratch.commit(ref)


def touched(series, scratch):
    """The files that the patches change, and those of the overlay."""
    diffs = "".join(series.mail(scratch, entry.patch).diff for entry in series.entries)
    numbers = scratch.git("apply", "--numstat", "-z", "--allow-empty", stdin=diffs)
    return {line.split("\t", 2)[2] for line in numbers.split("\0") if line}.union(
        *(entry.files for entry in series.entries))


def unwind(series, scratch):
    """For each entry, the overlay files that it adds or edits, as it leaves them:
    {path: (mode, blob)}.

    The overlay has the end, so the diffs are reversed, the last one first. An overlay
    file may have been edited since they were made. Then they are reversed on the file
    that they were made for, if the project's history has it, and git merges the edit
    into each version; where a diff changes the same lines, the edit is part of that one.
    """
    now = overlay_blobs(scratch, series.root,
                        [name for entry in series.entries for name in entry.files])
    made, states = {}, []  # `made` has the versions that the diffs were made for.
    env = {"GIT_INDEX_FILE": str(scratch.path / "overlay")}
    for entry in reversed(series.entries):
        diffs = {path: diff for path, diff in series.mail(scratch, entry.patch).diffs.items()
                 if path in now and path not in entry.files}
        states.append({path: now[path] for path in (*entry.files, *diffs) if path in now})
        for path in entry.files:
            now.pop(path, None)
        if not diffs:
            continue
        new = {path: made_for(scratch, series.root, diff, now[path])
               for path, diff in diffs.items() if path not in made}
        made |= new
        index(scratch, new, **env)
        done = scratch.run("apply", "-R", "--cached", "--whitespace=nowarn",
                           stdin="".join(diffs.values()), **env)
        if done.returncode:
            raise Problem("\n".join([
                f"series/{entry.patch} can't be reversed on the overlay:",
                *(f"  {line}" for line in text(done.stderr).splitlines()),
                "The file was edited where that patch changes it. Take the edit out of the",
                "overlay, `make tree`, make it there, as a fixup of the commit that it belongs",
                "to, and `make refresh`."]))
        for line in scratch.git("--literal-pathspecs", "ls-files", "-s", "-z", "--", *diffs,
                                **env).split("\0")[:-1]:
            (mode, blob, _), path = line.split("\t")[0].split(" "), line.split("\t")[1]
            if now[path] != made[path]:
                now[path] = mode, merge(scratch, entry.patch, path, now[path][1],
                                        made[path][1], blob)
            else:
                now[path] = mode, blob
            made[path] = mode, blob
    return reversed(states)


def made_for(scratch, root, diff, state):
    """The version of an overlay file that a diff was made for, as (mode, blob): that in
    the overlay, unless the project has the one which the diff names."""
    named = re.search(r"(?m)^index [0-9a-f]+\.\.([0-9a-f]+)", diff)
    if not named or state[1].startswith(named[1]):
        return state
    blob = Repo(root).run("cat-file", "blob", named[1])
    if blob.returncode:
        return state
    return state[0], scratch.git("hash-object", "-w", "--stdin", stdin=text(blob.stdout)).strip()


def merge(scratch, patch, path, edited, made, before):
    """Merge what was edited since a patch was made into the file before that patch."""
    names = []
    for blob in (edited, made, before):
        names.append(str(scratch.path / blob))
        Path(names[-1]).write_bytes(raw(scratch.git("cat-file", "blob", blob)))
    done = scratch.run("merge-file", "-p", *names)
    if done.returncode:
        note(f"series: {path} was edited in lines that {patch} changes: "
             "that edit is now part of this patch")
        done = scratch.run("merge-file", "-p", "--theirs", *names)
    if done.returncode:
        raise Problem(f"{path} was edited, and {patch} changes it: git can't merge that:"
                      + indent(text(done.stderr).splitlines()))
    return scratch.git("hash-object", "-w", "--stdin", stdin=text(done.stdout)).strip()


def parts(series, scratch, tip):
    """(part, its number, the commit before it, its last commit) of each part."""
    if not series.entries:
        raise Problem("the series has no patches yet")
    if not series.parts:
        raise Problem("series/series has no part: put a line like [name] above the patches")
    commits = scratch.git("rev-list", "--reverse", f"{scratch.base}..{tip}").split()
    start = scratch.base
    for number, part in enumerate(series.parts, 1):
        end = commits[series.entries.index(part.entries[-1])]
        yield part, number, start, end
        start = end


def alone(series, scratch, tip, part, done):
    """Commit a part on the base, after the parts that it needs and no others, and return its
    last commit. `done` remembers what was committed so."""
    def make(tree, *parents, subject="-"):
        return scratch.git("commit-tree", tree, *parents, stdin=subject + "\n", **scratch.dated(1)).strip()

    ranges = {other.name: (start, end) for other, _, start, end in parts(series, scratch, tip)}
    chain, head = (), scratch.base
    for other in [*series.needs(part), part]:
        chain += (other.name,)
        if chain in done:
            head = done[chain]
            continue
        start, end = ranges[other.name]
        for commit in scratch.git("rev-list", "--reverse", f"{start}..{end}").split():
            # git merge-tree of Debian 12 has no --merge-base.
            before, ours, theirs = (scratch.git("rev-parse", f"{rev}^{{tree}}").strip()
                                    for rev in (f"{commit}^", head, commit))
            fork = make(before)
            merged = scratch.run("merge-tree", "--write-tree", "--name-only", "--no-messages",
                                 make(ours, "-p", fork), make(theirs, "-p", fork))
            tree, *files = text(merged.stdout).splitlines() or [""]
            subject = scratch.git("log", "-1", "--format=%s", commit).strip()
            if merged.returncode:
                raise Problem(f"the part {part.name} needs more than series/cover/{part.name}.txt "
                              f"says: '{subject}' of {other.name} does not apply to "
                              + ", ".join(["the base", *chain[:-1]])
                              + indent(dict.fromkeys(filter(None, files))))
            head = make(tree, "-p", head, subject=subject)
        done[chain] = head
    return head


def overlay_blobs(scratch, root, names):
    """Store overlay files: {path: (mode, blob)}."""
    blobs = scratch.git("hash-object", "-w", "--no-filters", "--stdin-paths",
                        stdin="".join(f"{root / name}\n" for name in names)).split()
    modes = ("100755" if os.stat(root / name).st_mode & stat.S_IXUSR else "100644"
             for name in names)
    return dict(zip(names, zip(modes, blobs)))


def index(scratch, files, **env):
    """Put files, {path: (mode, blob)}, into the index."""
    if files:
        scratch.git("update-index", "-z", "--index-info", stdin="".join(
            f"{mode} {blob}\t{name}\0" for name, (mode, blob) in files.items()), **env)


def conflict(patch, mail, errors, scratch):
    """Say which hunk of a patch did not apply, and what to do."""
    lines = []
    for wanted, name, line in re.findall(
            r"(?s)error: while searching for:\n(.*?)\n*error: patch failed: (.*?):(\d+)\n",
            errors):
        hunk = re.search(rf"(?m)^@@ -{line}[, ].*$", mail.diffs.get(name, ""))
        lines += [f"  {name}, hunk {hunk.group(0) if hunk else 'at line ' + line}",
                  "  looks for these lines:"]
        lines += [f"    | {wanted_line}" for wanted_line in wanted.split("\n")]
    # For instance, a file that the base does not have.
    lines += [f"  {error}" for error in re.findall(r"(?m)^error: (.*)$", errors)
              if not re.match("while searching|patch failed|.* patch does not apply",
                              error)]
    return "\n".join([
        f"series/{patch} does not apply:", *lines,
        "To fix it, edit the patch, or rebase: `make tree` on a kernel where the",
        f"series applies, then there `git fetch {scratch.lender.path} {scratch.rev}`,",
        "`git rebase --onto FETCH_HEAD rustgem-base`,",
        "`git tag -f rustgem-base FETCH_HEAD`, and here `make refresh`."])


def mails(series, scratch, tip, out):
    """Write the mails of the series to a directory for each part, in `out`."""
    for part, number, start, end in parts(series, scratch, tip):
        scratch.git("update-ref", f"refs/heads/{part.name}", end)
        scratch.git("config", f"branch.{part.name}.description",
                    f"{series.cover(part, scratch)}\n\nchange-id: {series.letter(part)[2]}\n")
        # With --base come the patch ids of the commits below it.
        scratch.git("format-patch", "-q", "--cover-letter", f"--base={scratch.base}",
                    "--cover-from-description=subject", "-o", str(out / f"{number:02}-{part.name}"),
                    f"{start}..{part.name}", **scratch.dated(len(series.entries) + 1))
