# SPDX-License-Identifier: GPL-2.0
"""Write the page that shows the results of scripts/report."""

from webpage import about, document, e, items, table, verdict

DRIVERS = {"c": "C VGEM", "rust": "Rust VGEM"}
SAMPLE = {"mockgpu": "rust_mockgpu"}
# A test that takes this much longer in Rust is named as slower.
SLOWER = 1.1
SLOWER_SECONDS = 0.1


def passed(igt, kselftests, mock, results):
    """What passed, in a line for each kind of test."""
    for head, rows in ("IGT subtests", igt), ("kselftests", kselftests):
        good = {d: sum(row[d]["status"] == "SUCCESS" for row in rows) for d in DRIVERS}
        yield f"Rust passes {good['rust']} of {len(rows)} {head}, and C passes {good['c']}."
    if mock:
        good = sum(row["mockgpu"]["status"] == "SUCCESS" for row in mock)
        yield f"The sample driver, {SAMPLE['mockgpu']}, passes {good} of its {len(mock)} tests."
    for driver, name in DRIVERS.items():
        found = {"in the tests": results[driver]["splats"], "on unload": results[driver]["unload"]}
        yield f"Warnings of the kernel with {name}: " + ", ".join(f"{len(w)} {when}" for when, w in found.items()) + "."


def short(said):
    """One line of what a test reported: the first that is no failed assertion, if there is one."""
    lines = said.splitlines()
    return next((line for line in lines if not line.startswith("Expected ")), lines[0])


def better(igt, kselftests):
    """The tests that only Rust passes: why C fails, and a line that each reported."""
    for row in igt + kselftests:
        if row["rust"]["status"] == "SUCCESS" != row["c"]["status"]:
            lines = [f"<span class=test>{e(row['test'])}</span>"]
            lines += [f"C fails it: {e(row['fails'])}"] if row.get("fails") else []
            lines += [f"<small>{e(name)}: {e(short(row[d]['said']))}</small>" for d, name in DRIVERS.items() if row[d]["said"]]
            yield "<br>".join(lines)


def slower(igt):
    """The IGT subtests that both pass and that take longer in Rust. Times of kselftests are not known."""
    for row in igt:
        c, rust = (row[d].get("seconds", 0) for d in DRIVERS)
        both = all(row[d]["status"] == "SUCCESS" for d in DRIVERS)
        if both and rust > c * SLOWER and rust - c > SLOWER_SECONDS:
            yield f"<span class=test>{e(row['test'])}</span>: C {c:.2f} s, Rust {rust:.2f} s"


def bodies(rows, drivers, timed):
    """The rows in a <tbody> for each program."""
    groups = {}
    for row in rows:
        program, test = row["test"].split(maxsplit=1) if " " in row["test"] else (row["test"],) * 2
        groups.setdefault(program, []).append((test, row))
    for program, group in groups.items():
        yield (f"<tbody data-name='{e(program.lower())}'><tr class=group>"
               f"<th colspan={1 + (1 + timed) * len(drivers)} scope=rowgroup>{e(program)}</th></tr>")
        for test, row in group:
            cells = ""
            for driver in drivers:
                result = row[driver]
                kind = {"SUCCESS": "good", "SKIP": "known", "NOT RUN": "known"}.get(result["status"], "bad")
                said = "".join(f"<br><small>{e(line)}</small>" for line in result["said"].splitlines())
                cells += f"<td><span class={kind}>{e(result['status'])}</span>{said}</td>"
                if timed:
                    time = f"{result['seconds']:.3f} s" if "seconds" in result else ""
                    cells += f"<td class='number wide'>{time}</td>"
            fails = f"<br><small>expected to fail in C: {e(row['fails'])}</small>" if row.get("fails") else ""
            noted = "" if {row[d]["status"] for d in drivers} == {"SUCCESS"} else " class=noted"
            yield f"<tr{noted}><td><span class=test>{e(test)}</span>{fails}</td>{cells}</tr>"
        yield "</tbody>"


def tests(rows, drivers=None, filtered="only tests that one of the drivers does not pass"):
    drivers = drivers or DRIVERS
    timed = any("seconds" in row[d] for row in rows for d in drivers)
    time = "<th class='number wide'>time</th>" if timed else ""
    head = "<th>test</th>" + "".join(f"<th>{e(name)}</th>{time}" for name in drivers.values())
    return table(head, "".join(bodies(rows, drivers, timed)), filtered) if rows else ""


def logs(results):
    text = ""
    for driver, name in (DRIVERS | SAMPLE).items():
        for key, when in ("splats", "in the tests"), ("unload", "while VGEM is unloaded"):
            if driver not in results or (driver in SAMPLE and key == "unload"):
                continue
            found = "".join(f"<pre>{e(splat)}</pre>" for splat in results[driver][key])
            text += f"<h3>{e(name)}, {when}</h3>{found or '<p>No warning.</p>'}"
    if "SOFTLOCKUP" in text:
        text += "<p>In a line “Tainted”, sw_sync, which tests use, sets SOFTLOCKUP. Only a warning that names a soft lockup is one.</p>"
    return text


def page(igt, kselftests, mock, problems, results, facts):
    slow = list(slower(igt))
    total = {d: sum(row[d].get("seconds", 0) for row in igt) for d in DRIVERS}
    note = (f"<p>All IGT subtests together: C {total['c']:.1f} s, Rust {total['rust']:.1f} s, in this run. "
            "Most of it is waiting; <code>make bench</code> measures what each call costs.</p>")
    return document("VGEM in C and in Rust", [
        ("", verdict("Good: Rust passes every IGT subtest that C passes and every kselftest, C fails exactly the "
                     "kselftests that are expected to fail, and the kernel prints no warning except when C VGEM is unloaded, which crashes it.",
                     problems) +
             "<p>VGEM is a DRM device without hardware, which tests use to share buffers and fences. <code>make run</code> "
             "runs the same tests on its driver in C and on its driver in Rust, with the same kernel, in a virtual machine for each.</p>" +
             items(map(e, passed(igt, kselftests, mock, results)))),
        ("What Rust does and C does not", items(list(better(igt, kselftests))) or "<p>Nothing in this run.</p>"),
        ("What is slower in Rust", (items(slow) or f"<p>No IGT subtest takes {SLOWER_SECONDS} s and "
                                    f"{SLOWER - 1:.0%} longer in Rust.</p>") + note),
        ("IGT", tests(igt)),
        ("kselftest", tests(kselftests)),
        ("The sample driver", tests(mock, SAMPLE, "only tests that it does not pass") or "<p>Not run.</p>"),
        ("Warnings of the kernel", logs(results)),
        ("Machine and versions", about({"kernel": results["rust"]["kernel"], **facts})),
    ])
