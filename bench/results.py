# SPDX-License-Identifier: GPL-2.0
"""What scripts/bench measured: read it, and hold it against the budgets."""

import json
import re
import struct
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import median

DRIVERS = {"c": "C", "rust": "Rust"}

# What is measured, and in what.
METERS = {
    "instructions": "instructions",
    "inlined": "instructions, helpers inlined",
    "time": "ns",
    "memory": "bytes of slab for each",
    "stack": "bytes of stack for a call",
    "size": "bytes of the module",
}

# The meters that count instructions. Not each toolchain can inline helpers.
COUNTS = ("instructions", "inlined")

# The system call itself is this row. What is left of these without it is a row of its own.
FLOOR = "null ioctl"
NET = ("ATTACH", "SIGNAL")

# Where bench/profile leaves the rows that have no driver in C. C has there what is not in these layers. What is
# net of the system call and the driver is a row of its own.
ALONE = "alone.tsv"
ADDED = ("abstraction", "containers")
NOT_NET = ("entry", "driver")

# The counts of two runs agree to this.
NOISE = 0.01


class Bad(Exception):
    """A file that is not what it should be."""


# The layers of a call, and the names of their functions.
LAYERS = {name: re.compile(names) for name, names in (
    line.split("\t") for line in (Path(__file__).parent / "layers.tsv").read_text().splitlines()
    if not line.startswith("#"))}


def layer(function):
    """The layer that a function belongs to."""
    return next((name for name, names in LAYERS.items() if names.match(function)), "other")


def sizes(path):
    """The bytes of a module by what they are for, of what is loaded of it."""
    elf = path.read_bytes()
    if elf[:6] != b"\x7fELF\x02\x01":
        raise Bad(f"{path} is no module")
    offset, = struct.unpack_from("<Q", elf, 0x28)
    entry, count, names = struct.unpack_from("<HHH", elf, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", elf, offset + i * entry) for i in range(count)]
    found = dict.fromkeys(("text", "rodata", "data", "only while it is loaded"), 0)
    for name, _, flags, _, _, size in headers:
        at = headers[names][4] + name
        name = elf[at:elf.index(b"\0", at)]
        if not flags & 2:  # SHF_ALLOC
            continue
        kind = "data" if flags & 1 else "text" if flags & 4 else "rodata"
        found["only while it is loaded" if name.startswith(b".init") else kind] += size
    return found


def read(raw, count=False):
    """The rows, in the order of what was measured: {(meter, row, x): {driver: [value...]}}.

    With count, times need not have been measured."""
    rows = {}
    for meter in METERS:
        for driver in DRIVERS:
            for path in sorted((raw / meter).glob(f"{driver}.*.tsv")):
                for line in path.read_text().splitlines():
                    try:
                        row, x, value, _ = line.split("\t")
                        key = (meter, row, int(x))
                        rows.setdefault(key, {}).setdefault(driver, []).append(float(value))
                    except ValueError:
                        raise Bad(f"{path} has a line {line!r}") from None
    for meter, path in ("instructions", raw.parent / ALONE), ("inlined", raw.parent / "inlined" / ALONE):
        if meter == "instructions" or path.exists():
            for line in path.read_text().splitlines():
                try:
                    row, x, c, rust = line.split("\t")
                    rows[meter, row, int(x)] = {"c": [float(c)], "rust": [float(rust)]}
                except ValueError:
                    raise Bad(f"{path} has a line {line!r}") from None
    for driver in DRIVERS:
        for row, size in sizes(raw / f"{driver}.ko").items():
            rows.setdefault(("size", row, 1), {})[driver] = [size]
    for (meter, row, x), values in rows.items():
        if len({len(values.get(driver, ())) for driver in DRIVERS}) != 1:
            raise Bad(f"{meter}: {row}: {x} was not measured as often in C as in Rust")
    for meter in METERS:
        if meter not in ("inlined", *(["time"] if count else ())) and not any(key[0] == meter for key in rows):
            raise Bad(f"there are no {meter} in {raw}")
    return with_net(rows)


def with_net(rows):
    """The rows, and after those of NET what they take without the system call."""
    found = {}
    for (meter, row, x), values in rows.items():
        found[meter, row, x] = values
        floor = rows.get((meter, FLOOR, 1))
        if meter in COUNTS and row in NET and floor:
            found[meter, f"{row}, net", x] = {
                driver: [a - b for a, b in zip(values[driver], floor[driver])] for driver in DRIVERS}
    return found


def limits(path):
    """The lines of budget.tsv or misses.tsv."""
    found = []
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            fields = line.split("\t")
            try:
                found.append((fields[0], fields[1], fields[2], *fields[3:]))
                float(fields[2].removesuffix(" B"))
            except (IndexError, ValueError):
                raise Bad(f"{path} has a line {line!r}") from None
    return found


def within(row, limit):
    """Is what Rust takes within a ratio to C's, or within a number of bytes?"""
    if limit.endswith(" B"):
        return row["rust"]["median"] <= float(limit.removesuffix(" B"))
    return row["ratio"] is not None and row["ratio"] <= float(limit) + NOISE


def slug(row):
    return re.sub("[^a-z0-9]+", "-", row.lower()).strip("-")


def judge(measured, budget, misses):
    """The rows, with what they may take, and if they do."""
    def first(lines, meter, label):
        return next((line for line in lines if line[0] == meter and fnmatchcase(label, line[1])), None)

    varied = {key[:2] for key in measured if key[2] != 1}
    rows = []
    for (meter, name, x), values in measured.items():
        label = f"{name}: {x}" if (meter, name) in varied else name
        row = {"meter": meter, "row": name, "x": x, "label": label}
        for driver in DRIVERS:
            v = values[driver]
            row[driver] = {"median": median(v), "least": min(v), "most": max(v), "values": v}
        c, rust = (row[driver]["median"] for driver in DRIVERS)
        row["ratio"] = rust / c if c else 1.0 if not rust else None
        limit, miss = first(budget, meter, label), first(misses, meter, label)
        row["budget"] = limit[2] if limit else None
        row["verdict"] = "" if not limit else "met" if within(row, limit[2]) else "over"
        if row["verdict"] == "over" and miss:
            row.update(allowed=miss[2], reason="; tried: ".join(miss[3:]))
            if within(row, miss[2]):
                row["verdict"] = "known"
        rows.append(row)
    return rows


def problems(rows, misses, out):
    """What makes the run fail, and what should only be said. Without out, there are no profiles."""
    bad, said = [], []
    for row in rows:
        if row["verdict"] in ("over", "known"):
            ratio = "∞" if row["ratio"] is None else f"{row['ratio']:.2f}"
            text = f"{row['meter']}: {row['label']}: {ratio}, budget {row['budget']}"
            if row["verdict"] == "known":
                said.append(f"a known miss: {text}, allowed {row['allowed']}: {row['reason']}")
            elif "allowed" in row:
                bad.append(f"worse than the miss that is known: {text}, allowed {row['allowed']}")
            else:
                bad.append(f"over its budget: {text}")
            if out and row["meter"] in COUNTS and not profile_path(out, row).exists():
                bad.append(f"without a profile: {text}")
    measured = {row["meter"] for row in rows}
    for meter, label, *_ in misses:
        if meter in measured and not any(row["meter"] == meter and fnmatchcase(row["label"], label) and
                   row["verdict"] in ("over", "known") for row in rows):
            said.append(f"no miss any more, so bench/misses.tsv need not have it: {meter}: {label}")
    return bad, said


def profile_name(row):
    return f"profile-{slug(row)}.txt"


def profile_path(out, row):
    """Where scripts/bench leaves the profile of a row, which one net of the system call shares."""
    return out / (row["meter"] if row["meter"] != "instructions" else "") / profile_name(row["row"].removesuffix(", net"))


def load(path):
    """The rows of a results.json, by meter and label."""
    try:
        data = json.loads(Path(path).read_text())
        rows = {(row["meter"], row["label"]): row for row in data["rows"]}
        for row in rows.values():
            for driver in DRIVERS:
                float(row[driver]["median"])
        return rows
    except OSError as error:
        raise Bad(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Bad(f"{path} is no results.json of make bench") from None
