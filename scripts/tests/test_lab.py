# SPDX-License-Identifier: GPL-2.0
"""Tests of what the lab's scripts do when something is wrong."""

import contextlib
import fcntl
import os
import pty
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
VNG = "tools/virtme-ng-1.42"


class Lab(unittest.TestCase):
    def setUp(self):
        self.dir = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.dir)
        self.cache = self.dir / "cache"
        self.cache.mkdir()
        self.env = {k: v for k, v in os.environ.items()
                    if k not in ("KSRC", "KREV") and not k.startswith("RUSTGEM_")}
        self.env.update(RUSTGEM_CACHE=str(self.cache), LC_ALL="C")

    def run_(self, *args, **env):
        done = subprocess.run(args, env=self.env | env, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        return done.returncode, done.stdout

    def assertEnds(self, pid):
        """It may stay as a zombie, where nobody waits for orphans."""
        for _ in range(50):
            try:
                if ") Z " in Path(f"/proc/{pid}/stat").read_text():
                    return
            except OSError:
                return
            time.sleep(0.1)
        self.fail(f"process {pid} goes on")

    def lib(self, code, **env):
        return self.run_("bash", "-c", f"set -euo pipefail; . {SCRIPTS}/lib.sh; {code}", **env)

    # --- lib.sh ---

    def test_second_run_waits(self):
        with open(self.cache / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (self.cache / "lock.pid").write_text("123\n")
            second = subprocess.Popen(
                ["bash", "-c", f". {SCRIPTS}/lib.sh; lock; echo in"], env=self.env, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertIn("waiting for another run (process 123)", second.stderr.readline())
            time.sleep(0.3)
            self.assertIsNone(second.poll())
        out, _ = second.communicate(timeout=60)
        self.assertEqual(out, "in\n")

    def test_disk(self):
        status, out = self.lib("need_disk 1000000")
        self.assertEqual(status, 1)
        self.assertRegex(out, r"GB free and this needs 1000000 GB: free some, or set RUSTGEM_CACHE")

    def test_step(self):
        status, out = self.lib("step good echo hello; step bad bash -c 'echo why; exit 3'; echo on")
        self.assertEqual(status, 1)
        self.assertEqual(out, "rustgem: good\nrustgem: bad\nwhy\n"
                         f"rustgem: bad failed; its whole output is in {self.cache}/log/bad.log\n")

    def test_step_says_what_it_is_for(self):
        status, out = self.lib("step loom true")
        self.assertEqual((status, out), (0, "rustgem: loom: try every order of events in models of the lock-free code\n"))
        self.assertRegex(self.lib("step loom true")[1], r"\(last time \d+ s\)")

    def test_each_step_has_a_purpose(self):
        """Also where a part of the name is a variable."""
        names = set()
        for path in SCRIPTS.iterdir():
            if path.is_file():
                names |= set(re.findall(r'(?m)^[^#\n]*\bstep "?([\w$.{}-]+)"?', path.read_text()))
        self.assertGreater(len(names), 50)
        names = [re.sub(r"\$\w+|\$\{\w+\}", "x", name) for name in sorted(names) if name not in ("$name", "$1")]
        status, out = self.lib(f"for name in {' '.join(names)} ; do echo $name: $(purpose $name); done")
        self.assertEqual([line for line in out.splitlines() if line.endswith(": ")], [], "add it to scripts/steps")
        self.assertEqual(self.lib("purpose no-such-step")[1], "")

    def test_progress(self):
        """A build says how many objects of how many there are, and the time left."""
        out = self.dir / "out"
        out.mkdir()
        (out / ".config").write_text("CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=1\n")
        (out / "old.o").touch()
        code = ("touch -d '1 minute ago' $cache/log/build.start {0}/old.o; touch {0}/new.o; rm -f {0}/old.start; "
                "touch -d '2 minutes ago' {0}/old.o; objects_in={0}; {1} progress build 10").format(out, "{}")
        self.assertEqual(self.lib(code.format("whole=1;"))[1], "10 s, 2 of about 4 objects, 20 s left\n")
        (self.cache / "times").mkdir(exist_ok=True)
        (self.cache / "times/build.objects").write_text("102\n")
        (self.cache / "times/build").write_text("300\n")
        self.assertEqual(self.lib(code.format("whole=1;"))[1], "10 s, 2 of 102 objects, 17 min left\n")
        self.assertEqual(self.lib(code.format(""))[1], "10 s of about 5 min, 1 objects built\n")
        # The last build is what counts for the next one, if it built all.
        self.lib(f"objects_in={out} step build true")
        self.assertEqual((self.cache / "times/build.objects").read_text(), "2\n")

    def test_progress_of_a_guest(self):
        """A guest reports what it runs, not the console's last line."""
        code = r"printf 'rustgem: vgem_uapi on rust\r\n[ 1.0] x\n' >$cache/log/guest.log; progress guest 130"
        self.assertEqual(self.lib(code), (0, "2 min: vgem_uapi on rust\n"))
        self.assertEqual(self.lib('> "$cache/log/apply.log"; progress apply 15'), (0, "15 s\n"))
        code = r"printf 'booting\nvirtme-ng-init: WARNING: failed to run: x\n' >$cache/log/guest.log; progress guest 15"
        self.assertEqual(self.lib(code), (0, "15 s: booting\n"))
        code = 'mkdir -p "$cache/times"; echo 20 >"$cache/times/apply"; > "$cache/log/apply.log"; progress apply '
        self.assertEqual(self.lib(code + "15")[1], "15 s of about 20 s\n")
        self.assertEqual(self.lib(code + "30")[1], "30 s, longer than the last time, 20 s\n")

    def test_color(self):
        """Only on a terminal, and not if NO_COLOR is set."""
        code = f"set -euo pipefail; . {SCRIPTS}/lib.sh; say hello; die no"
        for env, color in (({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
            main, other = pty.openpty()
            subprocess.run(["bash", "-c", code], env=self.env | env, stdout=other, stderr=other, stdin=subprocess.DEVNULL)
            os.close(other)
            # A pty returns one write at a time, and an error at the end.
            said = b""
            with contextlib.suppress(OSError):
                while part := os.read(main, 10000):
                    said += part
            os.close(main)
            said = said.decode()
            self.assertEqual("\x1b[1mrustgem:\x1b[0m hello" in said and "\x1b[31mno\x1b[0m" in said, color, said)
            self.assertEqual("\x1b" in said, color)
        self.assertEqual(self.lib("say hello", TERM="xterm")[1], "rustgem: hello\n")

    def test_mutations(self):
        """A mutation that no longer applies is named, and does not hide another one."""
        linux, patches = self.dir / "linux", self.dir / "tests/mutations"
        linux.mkdir()
        patches.mkdir(parents=True)
        (linux / "file").write_text("".join(f"{line}\n" for line in range(1, 30)))
        git = ("git", "-C", str(linux), "-c", "user.name=a", "-c", "user.email=b")
        for args in ("init", "-q"), ("add", "file"), ("commit", "-qm", "file"):
            self.run_(*git, *args)
        for name, old in ("a-good", 2), ("b-gone", 99), ("c-gone", 98), ("d-near", 3):
            (patches / f"{name}.patch").write_text(
                f"--- a/file\n+++ b/file\n@@ -{old - 1},3 +{old - 1},4 @@\n {old - 1}\n {old}\n+new {old}\n {old + 1}\n")
        code = f"linux={linux} top={self.dir}; mutate || echo failed; GIT_INDEX_FILE=$mutations git -C $linux show :file"
        status, out = self.lib(code)
        self.assertEqual([line.split()[1] for line in out.splitlines() if "does not apply to" in line],
                         ["tests/mutations/b-gone.patch", "tests/mutations/c-gone.patch"])
        self.assertIn("failed\n1\n2\nnew 2\n3\nnew 3\n4\n", out)
        for name in "b-gone", "c-gone":
            (patches / f"{name}.patch").unlink()
        self.assertNotIn("failed", self.lib(code)[1])

    def test_missing(self):
        """What a tool lacks is named, with its package, and without a traceback."""
        traceback = ("import subprocess\n"
                     "subprocess.run(['qemu-system-x86_64x' if {0} else 'cpio'], env={{'PATH': '/nonexistent'}})")
        for code, says in (
                (f'python3 -c "{traceback.format(0)}"', ", as cpio is missing (install the package cpio);"),
                (f'python3 -c "{traceback.format(1)}"', ", as qemu-system-x86_64x is missing;"),
                ("python3 -c 'import no_such_module'", ", as no_such_module is missing;"),
                ("sh -c 'no-such-program; exit 1'", ", as no-such-program is missing;"),
                ("bash -c no-such-program", ", as no-such-program is missing;")):
            status, out = self.lib(f"step tool {code}")
            self.assertEqual(status, 1)
            self.assertIn(f"rustgem: tool failed{says} its whole output is in {self.cache}/log/tool.log\n", out)
            self.assertNotIn("Traceback", out)

    def test_beside(self):
        """What runs beside a script goes on with it, and a failure there ends both."""
        status, out = self.lib("beside step two sleep 1; step one true; say between; together; say end")
        self.assertEqual((status, out.count("\n")), (0, 4), out)
        self.assertLess(out.index("between"), out.index("end"))
        status, out = self.lib("beside step two false; step one sleep 1; say between; together; say end")
        self.assertEqual(status, 1)
        self.assertIn("rustgem: two failed;", out)
        self.assertIn("what ran beside this failed", out)
        self.assertNotIn("end\n", out)
        # At once, not when all else is done.
        started = time.monotonic()
        status, out = self.lib("beside step two false; step one sleep 60")
        self.assertEqual(status, 1)
        self.assertLess(time.monotonic() - started, 30)

    def test_interrupt(self):
        """What a step started ends with the script, and what runs beside it, too."""
        pids = [self.dir / "a", self.dir / "b"]
        long = f"long() {{ sh -c 'echo $$ >{self.dir}/'$1'; sleep 100; :'; }}; "
        other = self.dir / "other"
        other.write_text(f"#!/bin/bash\n. {SCRIPTS}/lib.sh; {long}step b long b\n")
        other.chmod(0o755)
        # A function is not replaced by what it runs.
        long += f"other() {{ {other} >/dev/null; }}; "
        for beside in "step b long b", "other":
            for end, sig in (("step a long a", signal.SIGINT), ("step a long a", signal.SIGTERM),
                             (f"while [ ! -s {self.dir}/b ]; do sleep 0.1; done; die no", None)):
                script = subprocess.Popen(
                    ["bash", "-c", f". {SCRIPTS}/lib.sh; {long}beside {beside}; {end}"],
                    env=self.env, stderr=subprocess.DEVNULL, start_new_session=True,
                    preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
                if sig:
                    for pid in pids:
                        while not (pid.exists() and pid.read_text()):
                            self.assertIsNone(script.poll())
                            time.sleep(0.05)
                    os.killpg(script.pid, sig)
                script.wait(timeout=60)
                for pid in pids[sig is None:]:
                    self.assertEnds(int(pid.read_text()))
                    pid.unlink()

    # --- fetch ---

    def kernel(self, version, git):
        tree = self.dir / "ksrc"
        tree.mkdir()
        major, minor = version.split(".")
        (tree / "Makefile").write_text(f"VERSION = {major}\nPATCHLEVEL = {minor}\nSUBLEVEL = 1\n")
        (tree / "Kbuild").write_text("")
        (tree / ".gitignore").write_text("*.o\n")
        if git:
            for args in (["init", "-q"], ["add", "-A"],
                         ["-c", "user.name=a", "-c", "user.email=a@b.invalid", "commit", "-qm", "x"]):
                subprocess.run(["git", "-C", tree, *args], check=True)
        return tree

    def state(self, tree):
        return sorted((str(p.relative_to(tree)), p.stat().st_mtime_ns) for p in tree.rglob("*"))

    def test_ksrc(self):
        for git in (False, True):
            tree = self.kernel("7.3", git)
            before = self.state(tree)
            first = self.run_(SCRIPTS / "fetch", KSRC=str(tree))
            self.assertEqual(first[0], 0, first[1])
            name = first[1].splitlines()[-1]
            self.assertEqual(self.run_(SCRIPTS / "fetch", KSRC=str(tree)), (0, name + "\n"))
            self.assertEqual(self.state(tree), before)
            clone = self.cache / "linux" / name
            self.assertEqual((clone / "Makefile").read_text(), (tree / "Makefile").read_text())
            subprocess.run(["git", "-C", clone, "rev-parse", "-q", "--verify", "base^{commit}"],
                           check=True, stdout=subprocess.DEVNULL)
            shutil.rmtree(tree)

    def test_ksrc_wrong(self):
        for git in (False, True):
            tree = self.kernel("6.12", git)
            status, out = self.run_(SCRIPTS / "fetch", KSRC=str(tree))
            self.assertEqual(status, 1)
            self.assertIn("KSRC is Linux 6.12.1 and the series is for 7.3.y", out)
            shutil.rmtree(tree)
        for ksrc, says in ((self.dir / "none", "no directory"), (self.cache, "no kernel tree")):
            status, out = self.run_(SCRIPTS / "fetch", KSRC=str(ksrc))
            self.assertEqual(status, 1)
            self.assertIn(says, out)
        self.assertEqual(list(self.cache.glob("new.*")), [])

    @unittest.skipUnless(shutil.which("apt-get"), "needs apt")
    def test_no_mirror(self):
        status, out = self.run_(SCRIPTS / "fetch", RUSTGEM_MIRROR="file:///nonexistent")
        self.assertEqual(status, 1)
        self.assertIn("Debian's trixie-backports can not be reached, or its signature is not good", out)

    @unittest.skipUnless(shutil.which("apt-get"), "needs apt")
    def test_unsigned(self):
        suite = self.dir / "mirror/dists/trixie-backports"
        suite.mkdir(parents=True)
        (suite / "Release").write_text("Origin: Debian\nSuite: trixie-backports\n")
        status, out = self.run_(SCRIPTS / "fetch", RUSTGEM_MIRROR=f"file://{self.dir}/mirror")
        self.assertEqual(status, 1)
        self.assertIn("is not signed", out)
        self.assertIn("its signature is not good", out)

    # --- toolchain ---

    def machine(self, uid, *tools, **programs):
        """scripts/toolchain as the user `uid`, with these tools of this machine and these programs alone."""
        bin_ = self.dir / "bin"
        bin_.mkdir(exist_ok=True)
        for tool in ("bash", "env", "dirname", "nproc", "mkdir", "flock", "cat", "rm", "git", "python3",
                     "sed", "awk", "grep", "head", "paste", "sort", "tail", "uname", *tools):
            if not (bin_ / tool).exists():
                (bin_ / tool).symlink_to(shutil.which(tool))
        for name, text in {"id": f"echo {uid}", **programs}.items():
            (bin_ / name).write_text(f"#!/bin/sh\n{text}\n")
            (bin_ / name).chmod(0o755)
        status, out = self.run_(SCRIPTS / "toolchain", PATH=str(bin_))
        self.assertEqual(status, 1, out)
        return out

    def test_old_lists(self):
        """As root, packages are chosen by apt's lists of today."""
        cache = 'shift; for p; do printf "%s:\\n  Candidate: 1\\n" "$p"; done'
        # An update that fails does not end it, one that succeeds is good for a day.
        for works, commands in ("", "update\ninstall\n"), ("update", "update\ninstall\n"), ("update", "install\n"):
            get = f'echo "$1" >>{self.dir}/apt; [ "$1" = "{works}" ]'
            out = self.machine(0, "find", "sleep", "touch", "tr", "cut", **{"apt-get": get, "apt-cache": cache})
            self.assertEqual((self.dir / "apt").read_text(), commands)
            self.assertEqual("going on with the lists" in out, not works)
            (self.dir / "apt").unlink()

    @unittest.skipUnless(shutil.which("apt-get"), "needs apt")
    def test_no_root_no_tools(self):
        """One message names all packages, those of the kernel's toolchain as well."""
        out = self.machine(1000, "apt-get", "apt-cache", "dpkg")
        self.assertRegex(out, r"run this, .* sudo sh -c 'apt-get update && apt-get install .*qemu-system-x86")
        self.assertRegex(out, r"apt-get install .*\bflex\b")
        self.assertEqual(out.count("\n"), 1, out)

    def test_no_apt(self):
        out = self.machine(1000)
        self.assertRegex(out, r"there is no apt-get here; install these by other means: .*program flex, .*"
                              r"The kernel needs rustc 1.*; found: rustc none, bindgen none, clang none\n")

    # --- boot ---

    def boot(self, vng, seconds=20, popen=False):
        """Runs scripts/boot with `vng` in place of virtme-ng."""
        fake = self.cache / VNG / "bin/virtme-run"
        fake.parent.mkdir(parents=True, exist_ok=True)
        (self.cache / VNG / "complete").touch()
        fake.write_text(f"#!/bin/sh\n{vng}\n")
        fake.chmod(0o755)
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        (self.cache / "kvm").write_text(f"{boot_id} hangs\n")
        share = self.dir / "share"
        share.mkdir(exist_ok=True)
        args = (SCRIPTS / "boot", "kernel", "root", share, str(seconds), "true")
        if popen:
            return subprocess.Popen(args, env=self.env, stdout=subprocess.DEVNULL)
        return self.run_(*args)

    def test_boot_status(self):
        for code in (0, 7):
            status, out = self.boot(f"echo {code} >{self.dir}/share/status")
            self.assertEqual(status, code, out)

    def test_boot_hangs(self):
        status, out = self.boot("echo last words; sleep 50", seconds=1)
        self.assertEqual(status, 1)
        self.assertRegex(out, r"last words(.|\n)*the guest did not end within 1 s, and was stopped")

    def test_boot_interrupted(self):
        pid = self.dir / "pid"
        boot = self.boot(f"echo $$ >{pid}; sleep 50", popen=True)
        while not (pid.exists() and pid.read_text()):
            time.sleep(0.05)
        boot.terminate()
        boot.wait(timeout=60)
        self.assertEnds(int(pid.read_text()))

    def test_boot_panics(self):
        status, out = self.boot("echo Kernel panic; exit 1")
        self.assertEqual(status, 1)
        self.assertRegex(out, r"Kernel panic(.|\n)*the guest ended before its work was done")


if __name__ == "__main__":
    unittest.main()
