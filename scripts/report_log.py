# SPDX-License-Identifier: GPL-2.0
"""Find warnings in the log of a kernel, and what failed in the output of a guest."""

import re

# How a warning of the kernel begins.
SPLAT = re.compile(
    r"WARNING:|BUG:|BUG \S+ \(|kernel BUG at|Oops|Kernel panic|general protection fault"
    r"|cut here|Call Trace:|UBSAN:|KASAN:|KCSAN:|refcount_t:|ODEBUG:|DEBUG_(LOCKS|RWSEMS)_WARN_ON"
    r"|INFO: (possible|task|rcu|trying to register|lockdep is turned off)|rcu: INFO:"
    r"|self-detected stall|kthread starved|(soft|hard) lockup|hard LOCKUP"
    r"|unreferenced object|vmalloc error: |page allocation failure: |list_(add|del) corruption"
    r"|Voluntary context switch within RCU|Memory manager not clean"
    r"|rust_kernel: panicked|dropped before it was signaled"
)


def expected(path):
    lines = (line.strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def rules(path):
    """What is allowed: how many lines, and a regular expression."""
    return [(int(size), re.compile(words, re.MULTILINE)) for size, words in
            (line.split(maxsplit=1) for line in expected(path))]


def splats(log, allowed=(), seen=None):
    """Each complaint that is not allowed, with the lines that follow it. What is allowed
    is counted in seen. That a memory cgroup is at its limit is no complaint."""
    def allows(size, words):
        match = words.search("\n".join(lines[number:number + size]))
        return match and match.start() <= len(line)

    lines = log.splitlines()
    found = []
    end = 0
    for number, line in enumerate(lines):
        if " invoked oom-killer: " in line:
            kill = next((n for n in range(number, len(lines)) if "ut of memory: Killed" in lines[n]), number)
            if "Memory cgroup out of memory" in lines[kill]:
                end = kill
        # The guest's init writes to the kernel's log, too.
        if SPLAT.search(line) and "virtme-ng-init:" not in line and number >= end:
            size, words = next((rule for rule in allowed if allows(*rule)), (0, None))
            end = number + (size or 25)
            if not size:
                found.append("\n".join(lines[number:end]))
            elif seen is not None:
                seen[words.pattern] += 1
    return found


def caught(log, allowed):
    """What was wrong by the log of scripts/guest/mutations."""
    found = []
    for kind, words in ("KUnit", r"\] +not ok \d+ (\w+)"), ("kselftest", r"^not ok \d+ (\S+)"):
        if match := re.search(words, log, re.MULTILINE):
            found.append(f"{kind}: {match[1]}")
    for complaint in splats(log, allowed)[:1]:
        # What comes after "cut here" is a better name for it.
        lines = [re.sub(r"^(\[[^]]*\])+ *", "", line).strip() for line in complaint.splitlines()]
        found.append(next((line for line in lines if line and "cut here" not in line), lines[0]))
    found += [f"kmemleak: {count} lost" for count in
              re.findall(r"kmemleak: (\d+) new suspected memory leaks", log)[:1]]
    found += re.findall(r"^rustgem: caught: (.*?)\s*$", log, re.MULTILINE)
    found += re.findall(r"^rustgem: (the guest (?:ended|did not end)[^;,]*)", log, re.MULTILINE)
    return found
