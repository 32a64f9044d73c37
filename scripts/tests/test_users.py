# SPDX-License-Identifier: GPL-2.0
"""Tests of scripts/users, and of what it says."""

import subprocess
import tempfile
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent

CRATE = """
pub struct Thing;
impl Thing {
    /// Not a use: lonely().
    pub fn lonely(&self) {}
    pub fn called(&self) -> Other { todo!() }
    pub(crate) fn ours(&self) {}
}
pub struct Other;
impl Drop for Other {
    fn drop(&mut self) { self.acts() }
}
pub trait Act {
    /// Has a user.
    fn acts(&self);
    /// Has none.
    #[inline]
    unsafe fn waits(&self);
}
impl Act for Other {
    fn acts(&self) {}
    unsafe fn waits(&self) {}
}
#[kunit_tests(rust_thing)]
mod tests {
    fn lonely() { Thing.lonely() }
}
"""

PATCH = """From 0
diff --git a/rust/kernel/old.rs b/rust/kernel/old.rs
--- a/rust/kernel/old.rs
+++ b/rust/kernel/old.rs
@@ -1,1 +1,2 @@ impl Old {
 pub fn was_there() {}
+pub fn added() {}
@@ -8,1 +9,2 @@ mod tests {
+        added();
diff --git a/drivers/old.rs b/drivers/old.rs
--- a/drivers/old.rs
+++ b/drivers/old.rs
@@ -1,1 +1,2 @@
+    Thing.called();
"""


class Users(unittest.TestCase):
    def run_in(self, top):
        return subprocess.run([TOP / "scripts/users", top], text=True, capture_output=True, check=False)

    def test_this_series(self):
        done = self.run_in(TOP)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)

    def test_finds(self):
        with tempfile.TemporaryDirectory() as name:
            top = Path(name)
            for path, text in (("rust/kernel/thing.rs", CRATE), ("series/0001-x.patch", PATCH),
                               ("rust/kernel/thing/tests.rs", "fn f() { Thing.lonely() }"),
                               ("expect/users.txt", "# why\nold.rs: added\tsomeone\nthing.rs: called\tme\n")):
                (top / path).parent.mkdir(parents=True, exist_ok=True)
                (top / path).write_text(text)
            done = self.run_in(top)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual([line.split(";")[0] for line in done.stdout.splitlines()],
                         ["thing.rs: Act has no user", "thing.rs: lonely has no user",
                          "thing.rs: waits has no user",
                          "expect/users.txt: thing.rs: called has a user, or does not exist"])
