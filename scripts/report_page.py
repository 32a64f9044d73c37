# SPDX-License-Identifier: GPL-2.0
"""Write the page that shows the results of scripts/report."""

import html

DRIVERS = {"c": "C VGEM", "rust": "Rust VGEM"}

CSS = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #cf222e; --skip: #9a6700 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 3rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2.5rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line) }
td.s { text-align: right; font-variant-numeric: tabular-nums; opacity: .7 }
td.test { font-family: ui-monospace, monospace }
.SUCCESS { color: var(--good) } .SKIP, .NOT.RUN { color: var(--skip) }
.FAIL, .CRASH, .TIMEOUT, .INCOMPLETE, .MISSING, .WARN { color: var(--bad); font-weight: 600 }
.verdict { padding: .8rem 1rem; border-left: .4rem solid var(--good); background: #8881 }
.verdict.bad { border-color: var(--bad) }
small { display: block; font-weight: 400; white-space: pre-line; color: CanvasText }
pre { overflow: auto; background: #8881; padding: .8rem; font-size: 12px }
"""


def counts(rows, driver):
    status = [row[driver]["status"] for row in rows]
    return ", ".join(f"{status.count(s)} {s}" for s in dict.fromkeys(sorted(status, key="SUCCESS".__ne__)))


def page(igt, kselftests, problems, results):
    def e(text):
        return html.escape(str(text))

    def time(result):
        return f"{result['seconds']:.3f} s" if "seconds" in result else ""

    def body(rows):
        last = None
        for row in rows:
            binary, test = row["test"].split(maxsplit=1) if " " in row["test"] else (row["test"],) * 2
            if binary != last:
                yield f"<tr><th colspan=5>{e(binary)}</th></tr>"
                last = binary
            cells = "".join(
                f"<td class='{e(row[d]['status'])}'>{e(row[d]['status'])}"
                f"<small>{e(row[d]['said'])}</small></td><td class=s>{time(row[d])}</td>"
                for d in DRIVERS)
            fails = row.get("fails", "")
            yield (f"<tr><td class=test>{e(test)}" +
                   (f"<small>fails on C: {e(fails)}</small>" if fails else "") + f"</td>{cells}</tr>")

    def logs(key, silent):
        return "".join(
            f"<h3>{e(DRIVERS[d])}</h3>" +
            ("".join(f"<pre>{e(splat)}</pre>" for splat in results[d][key]) or f"<p>{silent}</p>")
            for d in DRIVERS)

    verdict = ("<p class='verdict'>Rust does all that C does, and the kernel has no complaint.</p>"
               if not problems else "<div class='verdict bad'><ul>" +
               "".join(f"<li>{e(problem)}</li>" for problem in problems) + "</ul></div>")
    head = "".join(f"<th>{e(name)}</th><th></th>" for name in DRIVERS.values())
    summary = "".join(f"<li>{e(DRIVERS[d])}: IGT {e(counts(igt, d))}; kselftest {e(counts(kselftests, d))}</li>"
                      for d in DRIVERS)
    return f"""<!doctype html>
<html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>VGEM in C and in Rust</title><style>{CSS}</style>
<h1>VGEM in C and in Rust</h1>
{verdict}
<ul>{summary}</ul>
<p>Kernel: {e(results['rust']['kernel'])}, built with configs/guest.config and configs/checks.config; IGT 2.5.</p>
<h2>IGT</h2>
<table><tr><th>Subtest</th>{head}</tr>{''.join(body(igt))}</table>
<h2>kselftest</h2>
<table><tr><th>Test</th>{head}</tr>{''.join(body(kselftests))}</table>
<h2>The kernel's log</h2>
{logs("splats", "No complaint.")}
<h2>The kernel's log while VGEM is unloaded</h2>
{logs("unload", "No complaint.")}
</html>
"""
