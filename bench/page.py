# SPDX-License-Identifier: GPL-2.0
"""Draw what scripts/bench measured, and write the page that shows it."""

import sys
from pathlib import Path

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

sys.path.append(str(Path(__file__).resolve().parent.parent / "scripts"))
from webpage import about as about_list, document, e, items, table as html_table, verdict  # noqa: E402

COLORS = {"c": "#4078c0", "rust": "#ce5a1c"}

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
        ("instructions", "close, by signaled fences", "Instructions", "fences signaled before", "xy"),
        ("time", "close, by signaled fences", "Time", "fences signaled before", "xy"),
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
                      capsize=3, label=label, color=COLORS[driver])
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


HEADS = {
    "instructions": ("Instructions", "On one CPU whose clock counts instructions. A call, seen from user space; the "
                     "first rows are calls within the kernel, the abstractions beside what they wrap. Of SUBMIT, C is "
                     "what is left without the abstractions."),
    "inlined": ("Instructions, helpers inlined", "The same with CONFIG_RUST_INLINE_HELPERS, which needs a clang and a "
                "rustc of one LLVM. A row net of the system call has the null ioctl's taken off."),
    "time": ("Time", "Nanoseconds of the same calls on two CPUs, as the guest boots here: medians of rounds that take "
             "C and Rust in turn, and the least and the most. It has no budget, as it depends on the host."),
    "memory": ("Memory", "How much more of the slabs is in use, for each of many. A live fence has its place in its "
               "buffer's list with it; a signaled one was on a buffer that does not keep it."),
    "stack": ("Stack", "From where a system call enters the kernel to the deepest byte that it wrote, with what is "
              "the kernel's and DRM's, but no interrupt. What measures takes as much as the first row says."),
    "size": ("Module", "What the module's sections take when it is loaded, by what they are for."),
}


def number(value, meter):
    return f"{value:,.{1 if meter == 'memory' else 0}f}".replace(",", " ")


def table(meter, rows):
    head = "<th>row</th>" + "".join(f"<th class=number>{e(name)}</th>" for name in DRIVERS.values())
    head += "<th class=number>Rust/C</th><th class='number wide'>budget</th>"
    body = ""
    for row in rows:
        cells = ""
        for driver in DRIVERS:
            value = row[driver]
            cells += f"<td class=number>{number(value['median'], meter)}"
            if len(value["values"]) > 1:
                cells += f"<br><small>{number(value['least'], meter)} … {number(value['most'], meter)}</small>"
            cells += "</td>"
        kind = {"met": "good", "known": "known", "over": "bad"}.get(row["verdict"], "")
        why = f"<br><small>allowed {e(row['allowed'])}: {e(row['reason'])}</small>" if row.get("reason") else ""
        noted = " class=noted" if slower(row) else ""
        body += (f"<tr{noted}><td>{e(row['label'])}{why}</td>{cells}"
                 f"<td class=number><span class='{kind}'>{ratio(row)}</span></td>"
                 f"<td class='number wide'>{e(row['budget'] or '')}</td></tr>")
    return html_table(head, f"<tbody>{body}</tbody>", "only rows in which Rust takes more than C")


def ratio(row):
    return "∞" if row["ratio"] is None else f"{row['ratio']:.2f}"


def slower(row):
    return row["ratio"] is None or row["ratio"] > 1


def summary(rows):
    """How many rows of each kind Rust takes less in, and those in which it takes more."""
    for meter, (head, _) in HEADS.items():
        mine = [row for row in rows if row["meter"] == meter]
        more = [row for row in mine if slower(row)]
        if mine:
            names = ", ".join(f"{row['label']} ({ratio(row)})" for row in more[:5])
            yield (f"{head}: Rust takes at most what C takes in {len(mine) - len(more)} of {len(mine)} rows" +
                   (f"; more in {names}{' and others' if len(more) > 5 else ''}" if more else "") + ".")


def page(about, rows, bad, said, profiles):
    plots = "".join(f"<figure class=scroll><img src='{name}' alt='{e(title)}' style='width: {len(panels) / 3:.0%}; min-width: {len(panels) * 14}rem'>"
                    f"<figcaption>{e(title)}</figcaption></figure>" for name, (title, panels) in PLOTS.items())
    by_meter = {meter: [row for row in rows if row["meter"] == meter] for meter in HEADS}
    tables = [(head, by_meter[meter] and f"<p>{e(words)}</p>" + table(meter, by_meter[meter]))
              for meter, (head, words) in HEADS.items()]
    details = "".join(f"<details><summary>{e(row)}</summary><pre>{e(text)}</pre></details>"
                      for row, text in profiles.items())
    return document("VGEM in C and in Rust: what it costs", [
        ("", verdict("Good: every budget is met, or its miss is known and no worse.", bad) +
             items([e(line) for line in (*summary(rows), *said)])),
        ("Plots", plots),
        *tables,
        ("Profiles and symbols", details and f"<p>The layers and functions that the instructions of ATTACH, SIGNAL and the rows over their budget are in, and the symbols of the modules by size.</p>{details}"),
        ("Machine and versions", about_list(about)),
    ])


def write(out, about, rows, bad, said):
    """Write OUT/index.html and its plots."""
    for name, (_, panels) in PLOTS.items():
        plot(out / name, rows, panels)
    paths = {f"{METERS[row['meter']]}: {row['row']}": profile_path(out, row) for row in rows if row["meter"] in COUNTS}
    profiles = {row: path.read_text() for row, path in paths.items() if path.exists()}
    symbols = {f"the module in {name}: address, size and name of each symbol": out / f"symbols-{driver}.txt"
               for driver, name in DRIVERS.items()}
    profiles.update((what, path.read_text()) for what, path in symbols.items() if path.exists())
    (out / "index.html").write_text(page(about, rows, bad, said, profiles))
