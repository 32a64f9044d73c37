# SPDX-License-Identifier: GPL-2.0
"""Tests of scripts/series, on small repositories that stand in for the kernel."""

import email
import email.policy
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
import unittest
import unittest.mock
from importlib.machinery import SourceFileLoader
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
SCRIPT = SCRIPTS / "series"
SPDX = "# SPDX-License-Identifier: GPL-2.0\n"
LINES = "".join(f"line {n}\n" for n in range(1, 41))
ENV = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A Üser", "GIT_AUTHOR_EMAIL": "user@example.org",
    "GIT_COMMITTER_NAME": "A Üser", "GIT_COMMITTER_EMAIL": "user@example.org"}

# Loaded once: to start Python for each of some hundred runs takes longer than the tests.
series = importlib.util.module_from_spec(importlib.util.spec_from_loader(
    "series", SourceFileLoader("series", str(SCRIPT))))
sys.modules["series"] = series
sys.dont_write_bytecode = True
sys.path.insert(0, str(SCRIPTS))
series.__spec__.loader.exec_module(series)


def run_main(root, args):
    """Run the tool in a child that has it loaded; return its status, stdout and stderr."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            status = 1
            try:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                sys.stdout, sys.stderr = (open(fd, "w", encoding="utf-8") for fd in (1, 2))
                os.environ.clear()
                os.environ.update(ENV)
                tempfile.tempdir = None  # Look at TMPDIR again.
                series.common.ROOT, sys.argv = root, ["series", *args]
                series.main()
                status = 0
            except SystemExit as end:
                print(end, file=sys.stderr)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        return status, out.read().decode(), err.read().decode()


def git(where, *args, check=True):
    done = subprocess.run(["git", *args], cwd=where, env=ENV, text=True, check=check,
                          encoding="utf-8", stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    return done.stdout.strip()


def put(path, content, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)


def commit(where, message, *args):
    git(where, "add", "-A")
    git(where, "commit", "-q", "-m", message, *args)


class SeriesTest(unittest.TestCase):
    """A project with three patches: overlay and edit, overlay alone, edit alone. The
    first two are one part, the last one is another."""

    templates = {}

    def setUp(self):
        temp = tempfile.TemporaryDirectory()
        self.addCleanup(temp.cleanup)
        self.use(Path(temp.name))
        self.copy(type(self).make)

    def copy(self, make):
        """Have what the function `make` makes: it does so once."""
        if make in self.templates:
            shutil.copytree(self.templates[make].name, self.temp, dirs_exist_ok=True)
            put(self.tree / ".git/objects/info/alternates", f"{self.linux}/.git/objects\n")
        else:
            make(self)
            self.templates[make] = tempfile.TemporaryDirectory()
            unittest.addModuleCleanup(self.templates[make].cleanup)
            shutil.copytree(self.temp, self.templates[make].name, dirs_exist_ok=True)

    def use(self, temp):
        self.temp, self.tree = temp, temp / "tree"
        self.linux, self.project = temp / "linux", temp / "project"

    def make_linux(self, path, lines, patchlevel=3):
        path.mkdir()
        git(path, "init", "-q", "-b", "master")
        put(path / "Makefile", f"VERSION = 7\nPATCHLEVEL = {patchlevel}\nSUBLEVEL = 4\n")
        put(path / "rust/lib.rs", lines)
        put(path / "kernel/old.c", "int old;\n")
        commit(path, "Linux")
        git(path, "tag", "base")

    def make(self):
        self.make_linux(self.linux, LINES)
        (self.project / "scripts").mkdir(parents=True)
        shutil.copy(SCRIPT, self.project / "scripts")
        shutil.copytree(SCRIPTS / "series_lib", self.project / "scripts/series_lib",
                        ignore=shutil.ignore_patterns("__pycache__"))
        git(self.project, "init", "-q")
        self.run_series("tree", self.tree)
        put(self.tree / "rust/fence.rs", "// SPDX-License-Identifier: GPL-2.0\n")
        self.edit(self.tree, "line 10", "line ten")
        commit(self.tree, "rust: fences — naïve Größe\n\nBody: ¿qué?\n\n- a list")
        put(self.tree / "tools/run.sh", "#!/bin/sh\n", 0o755)
        put(self.tree / "rust/more.rs", "// more\n")
        commit(self.tree, "tools: add a script\n\nOverlay alone.")
        self.edit(self.tree, "line 30", "line thirty")
        git(self.tree, "rm", "-q", "kernel/old.c")
        commit(self.tree, "rust: edit alone")
        self.run_refresh()
        self.mark("fence", 1)
        self.mark("edit", 3)
        put(self.project / "series/cover/fence.txt", "rust: fencés\n\nHello.\n\nTwo "
            "paragraphs of ünicode.\n\nchange-id: 20261121-rustgem-fence-0123456789ab\n")
        put(self.project / "series/cover/edit.txt", "rust: edit\n\nHello, too.\n\n"
            "change-id: 20261121-rustgem-edit-0123456789ab\n")

    def mark(self, part, number):
        """Begin a part at a patch."""
        path = self.project / "series/series"
        path.write_text(path.read_text().replace(f"\n{number:04}-", f"\n[{part}]\n{number:04}-"))

    def parts(self):
        """The parts, and the patches in each, without their numbers."""
        lines = (self.project / "series/series").read_text().splitlines()
        return [line[5:-6] if line.endswith(".patch") else line for line in lines
                if line.startswith(("[", "0"))]

    def edit(self, root, old, new):
        path = root / "rust/lib.rs"
        self.assertIn(old + "\n", path.read_text())
        path.write_text(path.read_text().replace(old + "\n", new + "\n"))

    def run_series(self, *args, status=0, linux=None):
        """Run a subcommand; return its stdout, or on failure its stderr."""
        command, *rest = map(str, args)
        if command != "refresh":
            rest = ["--linux", str(linux or self.linux), *rest]
        found, out, err = run_main(self.project, [command, *rest])
        self.assertEqual(found, status, err)
        self.assertNotIn("Traceback", err)
        self.notes = err
        return err if status else out

    def run_refresh(self, *args, status=0):
        return self.run_series("refresh", self.tree, *args, status=status)

    def assert_fails(self, *args, says, **kwargs):
        message = self.run_series(*args, status=1, **kwargs)
        for part in says:
            self.assertIn(part, message)

    def snapshot(self):
        """Every file of the project that is not git's, with its mode."""
        return {str(path.relative_to(self.project)):
                (path.read_bytes(), path.stat().st_mode)
                for path in self.project.rglob("*")
                if path.is_file() and ".git" not in path.parts}

    def patch(self, number):
        (path,) = (self.project / "series").glob(f"{number:04}-*.patch")
        return path


class Files(SeriesTest):
    def test_layout(self):
        self.assertEqual(
            (self.project / "series/series").read_text().split("patch.\n", 1)[1],
            "[fence]\n"
            "0001-rust-fences-na-ve-Gr-e.patch\n\trust/fence.rs\n"
            "0002-tools-add-a-script.patch\n\trust/more.rs\n\ttools/run.sh\n"
            "[edit]\n"
            "0003-rust-edit-alone.patch\n")
        self.assertEqual((self.project / "series/base").read_text(), "7.3\n")
        self.assertTrue(self.patch(1).read_text(encoding="utf-8").startswith(
            "Subject: [PATCH] rust: fences — naïve Größe\n\nBody: ¿qué?\n\n- a list\n---\n"
            "\ndiff --git a/rust/lib.rs b/rust/lib.rs\n"))
        self.assertEqual(self.patch(2).read_text(), "Subject: [PATCH] tools: add a script"
                         "\n\nOverlay alone.\n---\n")
        self.assertTrue(self.patch(3).read_text().startswith(
            "Subject: [PATCH] rust: edit alone\n\n---\n\ndiff --git "))
        self.assertIn("deleted file mode", self.patch(3).read_text())
        self.assertTrue(os.access(self.project / "tools/run.sh", os.X_OK))

    def test_temporary_files_are_gone(self):
        with tempfile.TemporaryDirectory() as temp, unittest.mock.patch.dict(ENV, TMPDIR=temp):
            self.run_series("roundtrip")
            self.assertEqual(os.listdir(temp), [])


class Check(SeriesTest):
    def fails(self, *says):
        self.assert_fails("check", says=says)
        self.assert_fails("apply", says=says)
        self.assertEqual(git(self.linux, "for-each-ref", "refs/rustgem"), "")

    def series(self, old, new):
        path = self.project / "series/series"
        path.write_text(path.read_text().replace(old, new))

    def test_in_order(self):
        self.run_series("check")

    def test_unlisted_overlay_file(self):
        put(self.project / "rust/stray.rs", "")
        self.fails("rust/stray.rs is in the overlay, but series/series lists it under no")

    def test_ignored_file(self):
        put(self.project / ".gitignore", "fence.rs\n")
        self.fails("rust/fence.rs is listed under 0001", "git ignores it")

    def test_missing_overlay_file(self):
        (self.project / "rust/fence.rs").unlink()
        self.fails("rust/fence.rs is listed under 0001", "does not exist")

    def test_file_listed_twice(self):
        self.series("0003-rust-edit-alone.patch\n",
                    "0003-rust-edit-alone.patch\n\trust/fence.rs\n")
        self.fails("rust/fence.rs is listed twice, under 0001", "and 0003")

    def test_patch_listed_twice(self):
        self.series("0003-rust-edit-alone.patch\n", "0003-rust-edit-alone.patch\n" * 2)
        self.fails("lists 0003-rust-edit-alone.patch twice")

    def test_unlisted_patch(self):
        put(self.project / "series/0009-x.patch", "")
        self.fails("series/0009-x.patch is not listed")

    def test_missing_patch(self):
        self.patch(3).unlink()
        self.fails("series/0003-rust-edit-alone.patch is listed but does not exist")

    def test_overlay_file_of_base(self):
        put(self.project / "rust/lib.rs", "")
        self.series("\trust/fence.rs", "\trust/fence.rs\n\trust/lib.rs")
        self.fails("rust/lib.rs is in the overlay, but the base kernel has it too")

    def test_patch_creates_file(self):
        path = self.patch(2)
        path.write_text(path.read_text() + "\ndiff --git a/rust/n.rs b/rust/n.rs\n"
                        "new file mode 100644\n--- /dev/null\n+++ b/rust/n.rs\n"
                        "@@ -0,0 +1 @@\n+x\n")
        self.fails("0002-tools-add-a-script.patch creates rust/n.rs")

    def test_broken_diff(self):
        path = self.patch(1)
        path.write_text(path.read_text().rsplit("\n", 3)[0] + "\n")
        self.fails("0001-", "has a broken diff", "corrupt patch")

    def test_empty_commit(self):
        self.series("\trust/more.rs\n\ttools/run.sh\n", "")
        self.fails("0002-tools-add-a-script.patch has no edits, and no overlay files")

    def test_no_subject(self):
        self.patch(2).write_text("Hello\n---\n")
        self.fails("series/0002-tools-add-a-script.patch has no subject")

    def test_symlink(self):
        (self.project / "rust/fence.rs").unlink()
        (self.project / "rust/fence.rs").symlink_to("more.rs")
        self.fails("rust/fence.rs is not a regular file")

    def test_malformed_series(self):
        for line, says in (("x.patch\n", "'x.patch' is not a name like"),
                           ("\trust/a\n", "stands before any patch")):
            path = self.project / "series/series"
            path.write_text(SPDX + line)
            self.fails("series/series:2:", says)
        path.write_text("0001-x.patch\n\tkernel/x.c\n")
        self.fails("'kernel/x.c' is not in an overlay directory")
        path.write_text("0001-x.patch\n# late\n")
        self.fails("comments go above the first patch")

    def test_version(self):
        other = self.temp / "other"
        self.make_linux(other, LINES, patchlevel=4)
        self.assert_fails("apply", linux=other, says=["is for Linux 7.3", "has 7.4"])
        self.run_series("apply", "--any-version", linux=other)

    def test_no_repository_or_base(self):
        self.assert_fails("check", linux=self.temp, says=["is not a git repository"])
        self.assert_fails("check", "--base", "nope", says=["has no commit 'nope'"])


class Apply(SeriesTest):
    def test_deterministic(self):
        first = self.run_series("apply")
        git(self.linux, "config", "diff.noprefix", "true")
        self.assertEqual(self.run_series("apply"), first)
        self.assertEqual(git(self.linux, "rev-parse", "refs/rustgem/series"),
                         first.strip())
        self.assertEqual(git(self.linux, "log", "-1", "--format=%an <%ae>", first.strip()),
                         "A Üser <user@example.org>")
        self.assertIn("100755", git(self.linux, "ls-tree", first.strip(), "tools/run.sh"))
        self.assertEqual(git(self.linux, "rev-parse", first.strip() + "^{tree}"),
                         git(self.tree, "rev-parse", "HEAD^{tree}"))

    def test_without_identity(self):
        ids = {k: v for k, v in ENV.items() if k != "EMAIL" and not k.endswith(
            ("_NAME", "_EMAIL"))}
        tip = subprocess.run([self.project / "scripts/series", "apply",
                              "--linux", self.linux], env=ids, check=True, text=True,
                             capture_output=True).stdout.strip()
        self.assertEqual(git(self.linux, "log", "-1", "--format=%an <%ae> %cn", tip),
                         "rustgem <rustgem@localhost.invalid> rustgem")

    def test_called_from_a_hook(self):
        plain = self.run_series("apply")
        with unittest.mock.patch.dict(ENV, GIT_DIR=str(self.project / ".git"),
                                      GIT_INDEX_FILE=str(self.temp / "index")):
            self.assertEqual(self.run_series("apply"), plain)

    def test_shallow_kernel(self):
        put(self.linux / "kernel/more.c", "")
        commit(self.linux, "a second commit")
        shallow = self.temp / "shallow"
        git(self.temp, "clone", "-q", "--depth=1", f"file://{self.linux}", "shallow")
        self.run_series("roundtrip", "--base", "HEAD", linux=shallow)
        self.run_series("tree", "--base", "HEAD", self.temp / "another", linux=shallow)
        self.assertEqual(git(self.temp / "another", "fsck", "--connectivity-only"), "")

    def test_kernel_repository_is_left_alone(self):
        put(self.linux / "rust/lib.rs", "the user's edit\n")
        git(self.linux, "add", "-A")
        put(self.linux / "untracked", "")

        git(self.linux, "status")  # It may write the index.

        def state():
            return ((self.linux / ".git/index").read_bytes(),
                    (self.linux / ".git/HEAD").read_bytes(),
                    (self.linux / ".git/config").read_bytes(),
                    git(self.linux, "for-each-ref"),
                    git(self.linux, "status", "--porcelain"),
                    git(self.linux, "worktree", "list"))

        before = state()
        self.run_series("export", "-o", self.temp / "out")
        self.run_series("roundtrip")
        self.run_series("tree", self.temp / "another")
        self.assertEqual(state(), before)
        self.run_series("apply", "--ref", "refs/test/x")
        git(self.linux, "update-ref", "-d", "refs/test/x")
        self.assertEqual(state(), before)

    def test_conflict(self):
        other = self.temp / "other"
        self.make_linux(other, LINES.replace("line 29\n", "something else\n"))
        self.assert_fails("apply", linux=other, says=[
            "series/0003-rust-edit-alone.patch does not apply",
            "rust/lib.rs, hunk @@ -27,7 +27,7 @@", "    | line 29\n    | line 30\n",
            "make tree", "make refresh"])
        self.assertEqual(git(other, "for-each-ref", "refs/rustgem"), "")

    def test_conflict_of_missing_file(self):
        other = self.temp / "other"
        self.make_linux(other, LINES)
        git(other, "rm", "-q", "kernel/old.c")
        commit(other, "x")
        self.assert_fails("apply", "--base", "HEAD", linux=other, says=[
            "series/0003-rust-edit-alone.patch does not apply", "kernel/old.c",
            "does not exist in index"])

    def test_nothing_to_apply(self):
        shutil.rmtree(self.project / "series")
        shutil.rmtree(self.project / "rust")
        shutil.rmtree(self.project / "tools")
        self.assertEqual(self.run_series("apply").strip(),
                         git(self.linux, "rev-parse", "base"))
        self.run_series("roundtrip")
        self.assert_fails("export", "-o", self.temp / "out", says=["no patches yet"])


class Export(SeriesTest):
    def test_mails(self):
        out = self.temp / "out"
        put(out / "3-old/0001-old.patch", "")
        put(out / "4-old/notes", "")
        self.run_series("export", "-o", out)
        names = sorted(map(str, out.rglob("*.patch")))
        self.assertEqual(names, [str(out / name) for name in (
            "01-fence/0000-cover-letter.patch", "01-fence/0001-rust-fences-na-ve-Gr-e.patch",
            "01-fence/0002-tools-add-a-script.patch",
            "02-edit/0000-cover-letter.patch", "02-edit/0001-rust-edit-alone.patch")])
        self.assertEqual(sorted(os.listdir(out)), ["01-fence", "02-edit", "4-old"])
        mails = [Path(name).read_text(encoding="utf-8") for name in names]
        subjects = [email.message_from_string(mail, policy=email.policy.default)["Subject"]
                    for mail in mails]
        self.assertEqual(subjects[0::3], ["[PATCH 0/2] rust: fencés", "[PATCH 0/1] rust: edit"])
        self.assertEqual(subjects[2], "[PATCH 2/2] tools: add a script")
        self.assertIn("\n\nHello.\n\nTwo paragraphs of ünicode.\n\nThis is part 1 of 2.", mails[0])
        self.assertIn("It applies to v7.3.4 alone.\n", mails[0])
        self.assertIn("with these parts, which\nit needs:\n\n1. rust: fencés\n", mails[3])
        for mail, prerequisites in (mails[0], 0), (mails[3], 2):
            self.assertIn(f"base-commit: {git(self.linux, 'rev-parse', 'base')}", mail)
            self.assertEqual(mail.count("\nprerequisite-patch-id: "), prerequisites)
            self.assertRegex(mail, "\nchange-id: 20261121-rustgem-")
        self.assertNotIn("Signed-off-by", "".join(mails))
        git(self.linux, "checkout", "-q", "--detach", "base")
        git(self.linux, "am", "-q", "--empty=drop", *names)
        self.assertEqual(git(self.linux, "rev-parse", "HEAD^{tree}"),
                         git(self.tree, "rev-parse", "HEAD^{tree}"))

    def test_not_into_something_else(self):
        for name in ("out/mine.patch", "format-patch/0001-mine.patch", "notes/mine/1.patch"):
            mine = self.temp / name
            put(mine, "")
            self.assert_fails("export", "-o", self.temp / name.split("/")[0],
                              says=["has more than a series in it"])
            self.assert_fails("export", "-o", mine, says=["is a file"])
            self.assertTrue(mine.exists())

    def test_cover_with_changes(self):
        """What changed since the last version stays below the line."""
        cover = self.project / "series/cover/edit.txt"
        words, change = cover.read_text(encoding="utf-8").split("\n\nchange-id: ")
        cover.write_text(f"{words}\n---\nChanges: none.\n\nchange-id: {change}", encoding="utf-8")
        self.run_series("export", "-o", self.temp / "out")
        mail = (self.temp / "out/02-edit/0000-cover-letter.patch").read_text(encoding="utf-8")
        self.assertRegex(mail, "This is part 2 of 2[^@]*1. rust: fencés\n---\nChanges: none")

    def test_failure_keeps_the_old_ones(self):
        out = self.temp / "out"
        put(out / "3-old/0007-old.patch", "")
        (self.project / "series/cover/edit.txt").unlink()
        self.assert_fails("export", "-o", out, says=["series/cover/edit.txt does not exist"])
        self.assertEqual([str(path.relative_to(out)) for path in out.rglob("*.patch")],
                         ["3-old/0007-old.patch"])

    def test_no_parts(self):
        path = self.project / "series/series"
        path.write_text(path.read_text().replace("[fence]\n", "").replace("[edit]\n", ""))
        shutil.rmtree(self.project / "series/cover")
        self.assert_fails("export", "-o", self.temp / "out", says=["has no part", "[name]"])

    def test_no_change_id(self):
        put(self.project / "series/cover/edit.txt", "rust: edit\n\nHello.\n")
        self.assert_fails("export", "-o", self.temp / "out",
                          says=["cover/edit.txt does not end with a line like 'change-id: "])


class Needs(SeriesTest):
    """What a part needs besides the base."""

    def needs(self, part, needs):
        cover = self.project / f"series/cover/{part}.txt"
        words, change = cover.read_text(encoding="utf-8").split("\n\nchange-id: ")
        cover.write_text(f"{words}\n\nneeds: {needs}\nchange-id: {change}", encoding="utf-8")

    def test_alone(self):
        self.needs("edit", "-")
        self.run_series("export", "-o", self.temp / "out")
        mail = (self.temp / "out/02-edit/0000-cover-letter.patch").read_text(encoding="utf-8")
        self.assertIn("This is part 2 of 2. It applies to v7.3.4 alone.\n", mail)
        self.run_series("parts")
        tip = self.run_series("parts", "edit").strip()
        self.assertEqual(git(self.linux, "diff", "--name-only", "base", tip).split(),
                         ["kernel/old.c", "rust/lib.rs"])
        self.assertNotIn("line ten", git(self.linux, "show", f"{tip}:rust/lib.rs"))

    def test_more_than_it_says(self):
        self.edit(self.tree, "line ten", "line 10 again")
        commit(self.tree, "rust: edit the edit")
        self.run_refresh()
        self.run_series("parts")
        self.needs("edit", "-")
        self.assert_fails("parts", says=["the part edit needs more than series/cover/edit.txt",
                                         "'rust: edit the edit' of edit", "rust/lib.rs"])

    def test_unknown(self):
        self.needs("fence", "edit")
        self.assert_fails("export", "-o", self.temp / "out",
                          says=["cover/fence.txt needs edit, which is no part before it"])
        self.assert_fails("parts", "sync", says=["there is no part sync"])


class Parts(SeriesTest):
    """Which part a patch is in after the commits were changed."""
    A, B, C, NEW = "rust-fences-na-ve-Gr-e", "tools-add-a-script", "rust-edit-alone", "rust-new"

    def reorder(self, *order, status=0):
        """Have these of the commits, in this order."""
        commits = git(self.tree, "rev-list", "--reverse", "rustgem-base..").split()
        git(self.tree, "reset", "-q", "--hard", "rustgem-base")
        git(self.tree, "cherry-pick", *(commits[number - 1] for number in order))
        return self.run_refresh(status=status)

    def new(self):
        put(self.tree / "rust/new.rs", "// new\n")
        commit(self.tree, "rust: new")

    def test_new_patch(self):
        for order, parts in (
                ((1, 2, 3, 4), ["[fence]", self.A, self.B, "[edit]", self.C, self.NEW]),
                ((1, 2, 4, 3), ["[fence]", self.A, self.B, self.NEW, "[edit]", self.C]),
                ((3, 1, 2, 4), ["[fence]", self.NEW, self.A, self.B, "[edit]", self.C])):
            if self.NEW not in self.parts():
                self.new()
            self.reorder(*order)
            self.assertEqual(self.parts(), parts)

    def test_other_order(self):
        self.reorder(2, 1, 3)
        self.assertEqual(self.parts(), ["[fence]", self.B, self.A, "[edit]", self.C])
        self.reorder(3, 1, 2, status=1)
        self.assertEqual(self.parts(), ["[fence]", self.C, self.B, self.A])

    def test_first_patch_is_dropped_or_renamed(self):
        self.reorder(2, 3)
        self.assertEqual(self.parts(), ["[fence]", self.B, "[edit]", self.C])
        git(self.tree, "commit", "-q", "--amend", "-m", "rust: new")
        self.run_refresh()
        self.assertEqual(self.parts(), ["[fence]", self.B, "[edit]", self.NEW])
        self.assertIn("these parts begin now is not clear", self.reorder(1, status=1))
        self.assertEqual(self.parts(), ["[fence]", self.B])
        self.assert_fails("check", says=["edit.txt is the cover letter of no part"])

    def test_moved_by_hand(self):
        path = self.project / "series/series"
        path.write_text(path.read_text().replace("[edit]\n", ""))
        self.mark("edit", 2)
        self.run_refresh()
        self.assertEqual(self.parts(), ["[fence]", self.A, "[edit]", self.B, self.C])
        self.run_series("tree", self.tree)
        self.assertEqual(git(self.tree, "rev-parse", "b4/rustgem-fence"),
                         git(self.tree, "rev-parse", "HEAD~2"))

    def test_malformed(self):
        path = self.project / "series/series"
        good = path.read_text()
        for bad, says in ((good.replace("[fence]\n", ""), "patches above the first part, [edit]"),
                          (good.replace("[edit]", "[fence]"), "[fence] begins twice"),
                          (good + "[last]\n", "[last] of series/series has no patches"),
                          (good.replace("[edit]\n", ""), "cover/edit.txt is the cover letter of no")):
            path.write_text(bad)
            self.assert_fails("check", says=[says])


class Mailing(SeriesTest):
    """The branches for b4."""

    def config(self, part, name, *value):
        return git(self.tree, "config", f"branch.b4/rustgem-{part}.{name}", *value)

    def test_branches(self):
        self.run_series("tree", self.tree)
        head = git(self.tree, "rev-parse", "HEAD")
        self.assertEqual(git(self.tree, "rev-parse", "b4/rustgem-edit"), head)
        self.assertEqual(git(self.tree, "rev-parse", "b4/rustgem-fence"),
                         git(self.tree, "rev-parse", "HEAD~1"))
        self.assertEqual(self.config("edit", "b4-prep-cover-strategy"), "branch-description")
        self.assertTrue(self.config("edit", "description").startswith("rust: edit\n\nHello, too."))
        series = json.loads(self.config("edit", "b4-tracking"))["series"]
        prerequisites = series.pop("prerequisites")
        self.assertEqual(series, {"revision": 1, "prefixes": [], "base-branch": "b4/rustgem-fence",
                                  "change-id": "20261121-rustgem-edit-0123456789ab"})
        self.assertEqual(prerequisites[0], f"base-commit: {git(self.linux, 'rev-parse', 'base')}")
        self.assertRegex("".join(prerequisites[1:]), "^(patch-id: [0-9a-f]{40}){2}$")

    def test_what_b4_knows_stays(self):
        self.run_series("tree", self.tree)
        self.config("edit", "b4-tracking", '{"series": {"revision": 2, "history": {"v1": ["id"]}}}')
        self.config("edit", "description",
                    self.config("edit", "description") + "\n\nTo: A <a@b.c>\nCc: d@e.f")
        self.run_series("tree", self.tree)
        series = json.loads(self.config("edit", "b4-tracking"))["series"]
        self.assertEqual((series["revision"], series["history"]), (2, {"v1": ["id"]}))
        self.assertIn("\nCc: d@e.f", self.config("edit", "description"))
        # Not so with another cover letter.
        path = self.project / "series/cover/edit.txt"
        path.write_text(path.read_text().replace("too", "all"))
        self.run_series("tree", self.tree)
        self.assertIn("Hello, all.", self.config("edit", "description"))

    def test_edited_cover_letter(self):
        self.run_series("tree", self.tree)
        self.config("edit", "description",
                    self.config("edit", "description").replace("too", "Changes in v2"))
        self.assert_fails("tree", self.tree, says=["cover letter of b4/rustgem-edit was edited",
                                                   "series/cover/edit.txt"])
        path = self.project / "series/cover/edit.txt"
        path.write_text(path.read_text().replace("too", "Changes in v2"))
        self.run_series("tree", self.tree)

    def test_edited_branch(self):
        self.run_series("tree", self.tree)
        git(self.tree, "checkout", "-q", "b4/rustgem-fence")
        git(self.tree, "commit", "-q", "--amend", "-m", "tools: reviewed")
        git(self.tree, "checkout", "-q", "rustgem")
        self.assert_fails("tree", self.tree, says=["b4/rustgem-fence has other commits"])

    def test_signoff(self):
        line = "Signed-off-by: A Üser <user@example.org>"
        with unittest.mock.patch.dict(ENV, GIT_CONFIG_COUNT="2", GIT_CONFIG_KEY_0="user.name",
                                      GIT_CONFIG_VALUE_0="A Üser", GIT_CONFIG_KEY_1="user.email",
                                      GIT_CONFIG_VALUE_1="user@example.org"):
            self.run_series("tree", "--signoff", self.tree)
        self.assertTrue(git(self.tree, "log", "-1", "--format=%B", "b4/rustgem-fence")
                        .endswith(f"\n\n{line}"))
        self.assertEqual(git(self.tree, "log", "b4/rustgem-edit").count(line), 3)
        self.assertNotIn(line, git(self.tree, "log", "rustgem"))
        self.assertEqual(git(self.tree, "diff", "b4/rustgem-edit", "rustgem"), "")
        self.run_refresh()

    def test_author(self):
        author = "B Sender <sender@example.org>"
        self.run_series("tree", "--author", author, "--signoff", self.tree)
        for part in ("fence", "edit"):
            self.assertEqual(git(self.tree, "log", "-1", "--format=%an <%ae>", f"b4/rustgem-{part}"), author)
            self.assertTrue(git(self.tree, "log", "-1", "--format=%B", f"b4/rustgem-{part}")
                            .endswith(f"Signed-off-by: {author}"))
        self.assert_fails("tree", "--author", "B Sender", self.tree, says=["is not like 'A Name <"])

    def write_mails(self, *args):
        """What b4 writes, of what `make tree` has left: {its path: its text}."""
        self.run_series("tree", *args, self.tree)
        start = "rustgem-base"
        for number, part in enumerate(("fence", "edit"), 1):
            git(self.tree, "format-patch", "-q", "--cover-letter", "--suffix=.eml", "-o",
                self.temp / f"mails/{number:02}-{part}", f"{start}..b4/rustgem-{part}")
            start = f"b4/rustgem-{part}"
        return sorted((self.temp / "mails").rglob("*.eml"))

    def test_roundtrip(self):
        mails = self.write_mails()
        self.run_series("roundtrip", "--mails", self.temp / "mails")
        # A patch that is alone needs no cover letter, others do.
        self.assertEqual([mail.name[:4] for mail in mails], ["0000", "0001", "0002", "0000", "0001"])
        mails[3].unlink()
        self.run_series("roundtrip", "--mails", self.temp / "mails")
        cover = mails[0].read_text(encoding="utf-8")
        mails[0].unlink()
        self.assert_fails("roundtrip", "--mails", self.temp / "mails",
                          says=["has 2 mails, with 0 cover letters, for 2 patches"])
        mails[0].write_text(cover, encoding="utf-8")
        mails[1].write_text(mails[1].read_text(encoding="utf-8").replace("+line ten", "+line nine"),
                            encoding="utf-8")
        self.assert_fails("roundtrip", "--mails", self.temp / "mails", says=["other changes than"])
        mails[1].unlink()
        self.assert_fails("roundtrip", "--mails", self.temp / "mails",
                          says=["has 2 mails, with 1 cover letters, for 2 patches"])

    def test_roundtrip_signed_off(self):
        with unittest.mock.patch.dict(ENV, GIT_CONFIG_COUNT="2", GIT_CONFIG_KEY_0="user.name",
                                      GIT_CONFIG_VALUE_0="A Üser", GIT_CONFIG_KEY_1="user.email",
                                      GIT_CONFIG_VALUE_1="user@example.org"):
            self.write_mails("--signoff")
        self.run_series("roundtrip", "--mails", self.temp / "mails")


class Roundtrip(SeriesTest):
    def test_exact(self):
        self.run_series("roundtrip")

    def test_tampered_diff(self):
        path = self.patch(1)
        path.write_text(path.read_text(encoding="utf-8") + "stray\n", encoding="utf-8")
        self.assert_fails("roundtrip", says=["`make refresh` would change", path.name])

    def test_tampered_subject(self):
        path = self.patch(3)
        path.write_text(path.read_text().replace("[PATCH] ", "[PATCH] [x] "))
        self.assert_fails("roundtrip", says=["git am gives another message", path.name])

    def test_wrong_name(self):
        os.rename(self.patch(3), self.project / "series/0003-x.patch")
        path = self.project / "series/series"
        path.write_text(path.read_text().replace("0003-rust-edit-alone", "0003-x"))
        self.assert_fails("roundtrip", says=["would change", "series/0003-x.patch",
                                             "series/0003-rust-edit-alone.patch"])

    def test_other_point_release(self):
        other = self.temp / "other"
        self.make_linux(other, "a new first line\n" + LINES)
        self.run_series("roundtrip", linux=other)


class LaterEdits(SeriesTest):
    """Patches 4 to 6 add a file and then edit it twice."""
    FILE = "rust/layer.rs"

    def make(self):
        self.copy(SeriesTest.make)
        put(self.tree / self.FILE, LINES)
        commit(self.tree, "rust: layer")
        self.replace(self.tree, "line 10", "line ten", "line 30", "line thirty", "thirty and a half")
        commit(self.tree, "rust: edit layer")
        self.replace(self.tree, "line 20", "line twenty")
        commit(self.tree, "rust: edit layer again")
        self.run_refresh()

    def replace(self, root, *lines):
        """Replace lines of the file: the first one by the second, and so on; what is left is
        put after the last one."""
        path = root / self.FILE
        content = path.read_text()
        for old, new in zip(lines[::2], lines[1::2]):
            self.assertIn(f"{old}\n", content)
            content = content.replace(f"{old}\n", f"{new}\n")
        if len(lines) % 2:
            content = content.replace(f"{lines[-2]}\n", f"{lines[-2]}\n{lines[-1]}\n")
        path.write_text(content)

    def keep(self):
        """Commit the project, so that its history has the overlay."""
        git(self.project, "add", "-A")
        git(self.project, "commit", "-q", "-m", "project")

    def versions(self):
        """Lines of the file that are not those of the first version, at each patch from 4 on."""
        shown = (git(self.tree, "show", f"HEAD~{n}:{self.FILE}") for n in (2, 1, 0))
        return [[line for line in lines.splitlines() if f"{line}\n" not in LINES]
                for lines in shown]

    def settles(self):
        """Tree and project agree, and the round trip is exact, after a refresh."""
        self.run_refresh()
        self.run_series("roundtrip")
        self.assertNotIn("point release", self.notes)

    def test_layout(self):
        self.assertEqual((self.project / "series/series").read_text().split("alone.patch\n")[1],
                         "0004-rust-layer.patch\n\trust/layer.rs\n0005-rust-edit-layer.patch\n"
                         "0006-rust-edit-layer-again.patch\n")
        self.assertEqual((self.project / self.FILE).read_text(),
                         (self.tree / self.FILE).read_text())
        self.assertEqual(self.patch(4).read_text(), "Subject: [PATCH] rust: layer\n\n---\n")
        self.assertIn("-line 10\n+line ten\n", self.patch(5).read_text())

    def test_builds_the_same_commits(self):
        tip = self.run_series("apply").strip()
        for n in range(6):
            self.assertEqual(git(self.linux, "rev-parse", f"{tip}~{n}^{{tree}}"),
                             git(self.tree, "rev-parse", f"HEAD~{n}^{{tree}}"))
        self.run_series("roundtrip")
        self.run_series("check")
        before = self.snapshot()
        self.run_series("tree", self.tree)
        self.run_refresh()
        self.assertEqual(self.snapshot(), before)

    def test_mails_of_git(self):
        self.run_series("export", "-o", self.temp / "out")
        git(self.linux, "checkout", "-q", "--detach", "base")
        git(self.linux, "am", "-q", "--empty=drop", *sorted((self.temp / "out").rglob("*.patch")))
        self.assertEqual(git(self.linux, "rev-parse", "HEAD^{tree}"),
                         git(self.tree, "rev-parse", "HEAD^{tree}"))

    def test_fixup_of_the_commit_that_adds_it(self):
        self.replace(self.tree, "line 15", "line fifteen")
        commit(self.tree, "fixup! rust: layer")
        self.run_refresh()
        self.assertEqual(self.versions()[0], ["line fifteen"])
        self.assertIn("line fifteen\n", (self.project / self.FILE).read_text())
        self.settles()

    def test_later_patch_is_dropped(self):
        git(self.tree, "reset", "-q", "--hard", "HEAD~2")
        self.run_refresh()
        self.assertEqual((self.project / self.FILE).read_text(), LINES)
        self.settles()

    def test_other_order(self):
        commits = git(self.tree, "rev-list", "-2", "HEAD").split()
        git(self.tree, "reset", "-q", "--hard", "HEAD~2")
        git(self.tree, "cherry-pick", *commits)
        self.settles()
        self.assertEqual(self.versions()[1], ["line twenty"])

    def test_overlay_edited_elsewhere(self):
        known = []
        for line in ("line 2", "line 5"):
            self.replace(self.project, line, f"{line}, edited", f"after {line}")
            known += [f"{line}, edited", f"after {line}"]
            self.run_series("roundtrip")
            self.assertIn("overlay files that were edited since", self.notes)
            self.run_series("tree", self.tree)
            self.assertEqual(self.versions()[0], known)
            self.settles()
            self.keep()  # The first time without.

    def test_overlay_edited_in_the_context_of_a_later_diff(self):
        self.keep()
        self.replace(self.project, "line 8", "line eight", "line 22", "line XXII")
        self.assert_fails("roundtrip", says=["`make refresh` would change", "0005-", "0006-"])
        self.run_series("tree", self.tree)
        self.assertNotIn("is now part of", self.notes)
        self.assertEqual(self.versions()[0], ["line eight", "line XXII"])
        self.settles()

    def test_overlay_edited_where_a_later_diff_changes_it(self):
        self.keep()
        self.replace(self.project, "line 2", "line two", "line ten", "line X", "line twenty", "XX")
        self.run_series("tree", self.tree)
        for patch in ("0005-rust-edit-layer.patch", "0006-rust-edit-layer-again.patch"):
            self.assertIn(f"{self.FILE} was edited in lines that {patch} changes: "
                          "that edit is now part of this patch", self.notes)
        self.assertEqual(self.versions(), [
            ["line two"], ["line two", "line X", "line thirty", "thirty and a half"],
            ["line two", "line X", "XX", "line thirty", "thirty and a half"]])
        self.assertEqual((self.tree / self.FILE).read_text(),
                         (self.project / self.FILE).read_text())
        self.settles()
        self.assertIn("+line X\n", self.patch(5).read_text())

    def test_overlay_edited_and_what_it_was_is_unknown(self):
        self.replace(self.project, "line ten", "line X")
        for command in (("apply",), ("roundtrip",), ("tree", self.tree)):
            self.assert_fails(*command, says=[
                "series/0005-rust-edit-layer.patch can't be reversed on the overlay",
                f"{self.FILE}: patch does not apply", "`make tree`", "fixup", "`make refresh`"])
        self.assert_fails("refresh", self.tree, says=["edited since", "--force"])
        self.run_refresh("--force")
        self.settles()

    def test_patch_edited(self):
        self.keep()
        path = self.patch(6)
        path.write_text(path.read_text().replace("+line twenty", "+line XX"))
        self.assert_fails("apply", says=["0006-rust-edit-layer-again.patch can't be reversed"])

    def test_edit_before_the_file_is_there(self):
        path = self.project / "series/series"
        path.write_text(path.read_text().replace("0004-rust-layer.patch\n\trust/layer.rs\n", "")
                        + "0004-rust-layer.patch\n\trust/layer.rs\n")
        self.assert_fails("apply", says=["0005-rust-edit-layer.patch does not apply",
                                         f"{self.FILE}: does not exist in index"])

    def test_edit_by_the_patch_that_adds_the_file(self):
        path = self.patch(4)
        path.write_text(path.read_text() + "\n" + self.patch(6).read_text().split("---\n\n")[1])
        self.assert_fails("apply", says=["0004-rust-layer.patch does not apply",
                                         f"{self.FILE}: does not exist in index"])

    def test_mode(self):
        (self.tree / self.FILE).chmod(0o755)
        commit(self.tree, "rust: executable")
        self.run_refresh()
        self.assertTrue(os.access(self.project / self.FILE, os.X_OK))
        self.assertIn("new mode 100755", self.patch(7).read_text())
        self.run_series("tree", self.tree)
        self.assertIn("100644", git(self.tree, "ls-tree", "HEAD~1", self.FILE))
        self.settles()

    def test_deleted_and_renamed(self):
        git(self.tree, "rm", "-q", "rust/more.rs")
        git(self.tree, "mv", self.FILE, "rust/new.rs")
        commit(self.tree, "rust: tidy up")
        self.run_refresh()
        for name in ("rust/more.rs", self.FILE):
            self.assertFalse((self.project / name).exists())
        listed = (self.project / "series/series").read_text()
        self.assertIn("0007-rust-tidy-up.patch\n\trust/new.rs\n", listed)
        self.assertNotIn(self.FILE, listed)
        self.assertIn("+++ b/rust/more.rs", self.patch(2).read_text())
        self.assertIn("deleted file mode", self.patch(7).read_text())
        self.settles()
        put(self.tree / self.FILE, "// back\n")
        commit(self.tree, "rust: back again")
        self.run_refresh()
        self.assertIn("0008-rust-back-again.patch\n\trust/layer.rs\n",
                      (self.project / "series/series").read_text())
        self.settles()
        self.run_series("tree", self.tree)

    def test_rename_by_hand(self):
        path = self.patch(6)
        path.write_text(path.read_text().split("diff --git")[0] + "diff --git a/rust/lib.rs b/rust/"
                        "x.rs\nsimilarity index 100%\nrename from rust/lib.rs\nrename to rust/x.rs\n")
        self.assert_fails("check", says=["0006-rust-edit-layer-again.patch has a rename"])


class TreeAndRefresh(SeriesTest):
    def test_amended_commit(self):
        self.edit(self.tree, "line 31", "line thirty-one")
        commit(self.tree, "rust: edit twice\n\nWhy.", "--amend")
        self.assertRegex(self.run_refresh(), r"(?m)^3: .* ! 3: .* rust: edit alone$")
        self.assertEqual(self.patch(3).name, "0003-rust-edit-twice.patch")
        self.assertIn("+line thirty-one", self.patch(3).read_text())
        self.run_series("roundtrip")

    def test_fixup_commit(self):
        put(self.tree / "rust/fence.rs", "// better\n")
        commit(self.tree, "fixup! rust: fences — naïve Größe")
        self.edit(self.tree, "line 20", "line twenty")
        commit(self.tree, "squash! rust: edit alone\n\nAnd more.")
        self.run_refresh()
        self.assertEqual((self.project / "rust/fence.rs").read_text(), "// better\n")
        self.assertTrue(self.patch(3).read_text().startswith(
            "Subject: [PATCH] rust: edit alone\n\nAnd more.\n---\n"))
        self.assertEqual(len(list((self.project / "series").glob("*.patch"))), 3)
        self.run_series("roundtrip")
        self.run_series("tree", self.tree)

    def test_refresh_changes_nothing_without_need(self):
        before = self.snapshot()
        self.run_refresh()
        self.assertEqual(self.snapshot(), before)

    def test_dropped_commit_takes_its_files_along(self):
        git(self.tree, "reset", "-q", "--hard", "HEAD~2")
        self.run_refresh(status=1)
        self.assertFalse((self.project / "tools").exists())
        self.assertTrue((self.project / "rust/fence.rs").exists())
        self.assertEqual(len(list((self.project / "series").glob("*.patch"))), 1)

    def test_header_of_series_stays(self):
        path = self.project / "series/series"
        path.write_text("# mine\n" + path.read_text())
        self.run_refresh()
        self.assertTrue(path.read_text().startswith("# mine\n# SPDX"))

    def test_rebase_to_another_base(self):
        other = self.temp / "other"
        self.make_linux(other, LINES.replace("line 29\n", "something else\n"))
        self.assert_fails("tree", self.tree, linux=other, says=["does not apply"])
        git(self.tree, "fetch", "-q", str(other), "base")
        git(self.tree, "rebase", "-q", "--onto", "FETCH_HEAD", "rustgem-base", check=False)
        self.assert_fails("refresh", self.tree, says=["finish the rebase"])
        self.assertIn("<<<<<<<", (self.tree / "rust/lib.rs").read_text())
        put(self.tree / "rust/lib.rs", git(self.tree, "show", "HEAD:rust/lib.rs").replace(
            "line 30", "line thirty") + "\n")
        git(self.tree, "add", "-A")
        git(self.tree, "-c", "core.editor=:", "rebase", "--continue")
        self.assert_fails("refresh", self.tree, says=["git tag -f rustgem-base"])
        git(self.tree, "tag", "-f", "rustgem-base", "FETCH_HEAD")
        self.run_refresh()
        self.run_series("roundtrip", linux=other)
        self.run_series("tree", self.tree, linux=other)

    def test_tree_follows_the_project(self):
        put(self.project / "rust/more.rs", "// edited here\n")
        self.run_series("tree", self.tree)
        self.assertEqual((self.tree / "rust/more.rs").read_text(), "// edited here\n")
        self.assertEqual(git(self.tree, "status", "--porcelain"), "")

    def test_tree_follows_the_base(self):
        other = self.temp / "other"
        self.make_linux(other, "a new first line\n" + LINES)
        self.run_series("tree", self.tree, linux=other)
        self.assertIn("a new first", (self.tree / "rust/lib.rs").read_text())
        self.run_refresh()
        self.assertIn("@@ -8,7 +8,7 @@", self.patch(1).read_text())

    def test_tree_refuses_to_lose_work(self):
        put(self.tree / "rust/new.rs", "")
        self.assert_fails("tree", self.tree, says=["not committed", "make refresh"])
        self.assert_fails("refresh", self.tree, says=["not committed", "rust/new.rs"])
        commit(self.tree, "rust: new")
        self.assert_fails("tree", self.tree, says=["has commits", "make refresh"])
        put(self.temp / "full/file", "")
        self.assert_fails("tree", self.temp / "full", says=["did not make it"])
        put(self.tree / "sub/file", "")
        self.assert_fails("refresh", self.tree / "sub", says=["did not make it"])

    def refuses(self, *says):
        before = self.snapshot()
        self.assert_fails("refresh", self.tree, says=says)
        self.assertEqual(self.snapshot(), before)

    def test_refuses_edits_on_both_sides(self):
        put(self.tree / "rust/fence.rs", "// tree\n")
        commit(self.tree, "fixup! rust: fences — naïve Größe")
        put(self.project / "rust/more.rs", "// project\n")
        self.refuses("edited since", "--force")
        self.run_refresh("--force")
        self.assertEqual((self.project / "rust/more.rs").read_text(), "// more\n")
        self.assertEqual((self.project / "rust/fence.rs").read_text(), "// tree\n")

    def test_refuses_to_overwrite_an_unlisted_file(self):
        put(self.tree / "rust/new.rs", "// tree\n")
        commit(self.tree, "rust: new")
        put(self.project / "rust/new.rs", "// project\n")
        self.refuses("rust/new.rs is in the overlay already")

    def test_tells_of_files_left_over(self):
        put(self.project / "rust/stray.rs", "")
        self.assert_fails("refresh", self.tree, says=["belong to no commit",
                                                      "rust/stray.rs"])

    def test_refuses_new_file_elsewhere(self):
        put(self.tree / "kernel/new.c", "")
        commit(self.tree, "kernel: new")
        self.refuses('("kernel: new") adds kernel/new.c, which is outside')

    def test_refuses_sign_off(self):
        put(self.tree / "rust/new.rs", "")
        commit(self.tree, "rust: new", "--signoff")
        self.refuses('("rust: new") carries a Signed-off-by')

    def test_refuses_merge(self):
        git(self.tree, "checkout", "-q", "-b", "side", "HEAD^")
        put(self.tree / "rust/side.rs", "")
        commit(self.tree, "rust: side")
        git(self.tree, "checkout", "-q", "rustgem")
        git(self.tree, "merge", "-q", "--no-edit", "side")
        self.refuses("has merges")

    def test_refuses_fixup_of_nothing(self):
        put(self.tree / "rust/new.rs", "")
        commit(self.tree, "fixup! nothing")
        self.refuses("fixes up no commit")

    def test_refuses_fixup_that_conflicts(self):
        self.edit(self.tree, "line 11", "line eleven")
        commit(self.tree, "rust: eleven")
        self.edit(self.tree, "line eleven", "line XI")
        commit(self.tree, "fixup! rust: fences — naïve Größe")
        head = git(self.tree, "rev-parse", "HEAD")
        self.refuses("autosquash failed", "conflict in rust/lib.rs")
        self.assertEqual(git(self.tree, "rev-parse", "HEAD", "rustgem"), f"{head}\n{head}")
        self.assertEqual(git(self.tree, "status", "--porcelain"), "")

    def test_refuses_message_that_mail_would_change(self):
        put(self.tree / "rust/new.rs", "")
        commit(self.tree, "rust: new\n\nAbove.\n---\nBelow.")
        self.refuses("message of 0004-rust-new.patch does not survive as a mail")

    def test_refuses_empty_commit(self):
        git(self.tree, "commit", "-q", "--allow-empty", "-m", "rust: nothing")
        self.refuses("0004-rust-nothing.patch has no edits, and no overlay files")


if __name__ == "__main__":
    unittest.main()
