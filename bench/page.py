# SPDX-License-Identifier: GPL-2.0
"""Draw what scripts/bench measured, and write the page that shows it."""

import html

import matplotlib

matplotlib.use("Agg")
# The same numbers make the same file, whatever day it is.
matplotlib.rcParams.update({
    "svg.hashsalt": "rustgem", "svg.fonttype": "path", "font.size": 10, "figure.constrained_layout.use": True,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
    "axes.titlesize": 11, "lines.linewidth": 1.8, "legend.frameon": False,
})
from matplotlib import pyplot  # noqa: E402

from results import COUNTS, DRIVERS, METERS, profile_path  # noqa: E402

COLOURS = {"c": "#4078c0", "rust": "#ce5a1c"}

# Each file: what it shows, and its panels: meter, row, title, what x is, if the scales are
# logarithmic.
PLOTS = {
    "live.svg": ("ATTACH and SIGNAL against live fences", [
        ("instructions", "pair, by fences of the file", "A pair, with live fences of the file", "live fences", "x"),
        ("instructions", "pair, by fences on the buffer", "A pair, with live fences on the buffer", "live fences", ""),
        ("instructions", "close, by live fences", "Closing a file with live fences", "live fences", "xy"),
    ]),
    "threads.svg": ("Time of a pair against threads", [
        ("time", "pair, by threads, files", "Each with a file", "threads", ""),
        ("time", "pair, by threads, one file", "One file, a buffer each", "threads", ""),
        ("time", "pair, by threads, one buffer", "One buffer", "threads", ""),
    ]),
    "history.svg": ("Closing a file against its history", [
        ("instructions", "close, by signalled fences", "Instructions", "fences signalled before", "xy"),
        ("time", "close, by signalled fences", "Time", "fences signalled before", "xy"),
    ]),
}


def panel(axes, rows, meter, name, title, xlabel, logarithmic):
    points = sorted((row for row in rows if (row["meter"], row["row"]) == (meter, name)), key=lambda row: row["x"])
    if not points:
        axes.set_axis_off()
        return
    for driver, label in DRIVERS.items():
        x = [row["x"] for row in points]
        y = [row[driver]["median"] for row in points]
        spread = [[row[driver]["median"] - row[driver]["least"] for row in points],
                  [row[driver]["most"] - row[driver]["median"] for row in points]]
        axes.errorbar(x, y, yerr=spread if meter == "time" else None, marker="o", markersize=4,
                      capsize=3, label=label, color=COLOURS[driver])
    axes.set(title=title, xlabel=xlabel, ylabel=METERS[meter])
    if "x" in logarithmic:
        axes.set_xscale("log")
    if "y" in logarithmic:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    if xlabel == "threads":
        axes.set_xticks([row["x"] for row in points])
    axes.legend()


def plot(path, rows, panels):
    figure, axes = pyplot.subplots(1, len(panels), figsize=(4.2 * len(panels), 3.4), squeeze=False)
    for where, what in zip(axes[0], panels):
        panel(where, rows, *what)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


CSS = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #cf222e; --known: #9a6700 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 3rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 3rem } h3 { font-size: 1rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--line) }
td { font-variant-numeric: tabular-nums }
th:first-child, td:first-child, td.why { text-align: left }
td small { opacity: .65; white-space: nowrap }
tr.met td.ratio { color: var(--good) } tr.known td.ratio { color: var(--known); font-weight: 600 }
tr.over td.ratio { color: var(--bad); font-weight: 600 }
.verdict { padding: .8rem 1rem; border-left: .4rem solid var(--good); background: #8881 }
.verdict.bad { border-color: var(--bad) }
figure { margin: 1.5rem 0 } figure img { background: #fff; border-radius: 6px }
figcaption { font-size: .9rem; opacity: .75 }
dl { display: grid; grid-template-columns: max-content auto; gap: .1rem 1rem } dd { margin: 0 }
summary { cursor: pointer } pre { overflow: auto; background: #8881; padding: .8rem; font-size: 12px }
"""

HEADS = {
    "instructions": ("Instructions", "On one CPU whose clock counts instructions. A call, seen from user space; the "
                     "first rows are calls within the kernel, the abstractions beside what they wrap."),
    "inlined": ("Instructions, helpers inlined", "The same with CONFIG_RUST_INLINE_HELPERS, for which clang and rustc "
                "have to be of one LLVM. A row net of the system call has the null ioctl's taken off."),
    "time": ("Time", "Nanoseconds of the same calls on two CPUs, as the guest boots here: medians of rounds that take "
             "C and Rust in turn, and the least and the most. It has no budget, as it depends on the host."),
    "memory": ("Memory", "How much more of the slabs is in use, for each of many. A live fence has its place in its "
               "buffer's list with it; a signalled one was on a buffer that does not keep it."),
    "stack": ("Stack", "From where a system call enters the kernel to the deepest byte that it wrote, with what is "
              "the kernel's and DRM's, but no interrupt. What measures takes as much as the first row says."),
    "size": ("Module", "What the module's sections take when it is loaded, by what they are for."),
}


def e(text):
    return html.escape(str(text))


def number(value, meter):
    return f"{value:,.{1 if meter == 'memory' else 0}f}".replace(",", " ")


def table(meter, rows):
    yield "<table><tr><th></th>" + "".join(f"<th>{e(name)}</th>" for name in DRIVERS.values())
    yield "<th>Rust/C</th><th>budget</th></tr>"
    for row in rows:
        cells = ""
        for driver in DRIVERS:
            value = row[driver]
            cells += f"<td>{number(value['median'], meter)}"
            if len(value["values"]) > 1:
                cells += f"<br><small>{number(value['least'], meter)} … {number(value['most'], meter)}</small>"
            cells += "</td>"
        ratio = "∞" if row["ratio"] is None else f"{row['ratio']:.2f}"
        yield (f"<tr class='{row['verdict']}'><td>{e(row['label'])}</td>{cells}"
               f"<td class=ratio>{ratio}</td><td>{e(row['budget'] or '')}</td></tr>")
        if row.get("reason"):
            yield f"<tr><td class=why colspan=5><small>allowed {e(row['allowed'])}: {e(row['reason'])}</small></td></tr>"
    yield "</table>"


def page(about, rows, bad, said, profiles):
    verdict = ("<p class=verdict>Every budget is met, or its miss is known and no worse.</p>" if not bad else
               "<div class='verdict bad'><ul>" + "".join(f"<li>{e(line)}</li>" for line in bad) + "</ul></div>")
    yield f"""<!doctype html>
<html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>VGEM in C and in Rust: what it costs</title><style>{CSS}</style>
<h1>VGEM in C and in Rust: what it costs</h1>
{verdict}"""
    yield "<ul>" + "".join(f"<li>{e(line)}</li>" for line in said) + "</ul>" if said else ""
    yield "<dl>" + "".join(f"<dt>{e(name)}</dt><dd>{e(value)}</dd>" for name, value in about.items()) + "</dl>"
    for name, (title, panels) in PLOTS.items():
        yield (f"<figure><img src='{name}' alt='{e(title)}' style='width: {len(panels) / 3:.0%}'>"
               f"<figcaption>{e(title)}</figcaption></figure>")
    for meter, (head, words) in HEADS.items():
        yield f"<h2>{e(head)}</h2><p>{e(words)}</p>"
        yield from table(meter, [row for row in rows if row["meter"] == meter])
    if profiles:
        yield "<h2>Profiles</h2><p>Which functions the instructions are in, of rows that are over their budget.</p>"
    for row, text in profiles.items():
        yield f"<details><summary>{e(row)}</summary><pre>{e(text)}</pre></details>"
    yield "</html>\n"


def write(out, about, rows, bad, said):
    """Write OUT/index.html and its plots."""
    for name, (_, panels) in PLOTS.items():
        plot(out / name, rows, panels)
    paths = {f"{METERS[row['meter']]}: {row['row']}": profile_path(out, row) for row in rows if row["meter"] in COUNTS}
    profiles = {row: path.read_text() for row, path in paths.items() if path.exists()}
    (out / "index.html").write_text("\n".join(page(about, rows, bad, said, profiles)))
