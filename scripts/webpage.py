# SPDX-License-Identifier: GPL-2.0
"""What the pages of `make run` and `make bench` share: style, filters for tables, and the frame.

Without scripts a page shows everything; the inline script only adds filters above its tables.
"""

import html

CSS = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #cf222e; --known: #9a6700 }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --bad: #ff7b72; --known: #d29922 } }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 68rem; margin: 1.5rem auto; padding: 0 1rem; overflow-wrap: break-word }
h1 { font-size: 1.5rem; line-height: 1.2 } h2 { font-size: 1.2rem; margin-top: 2.5rem } h3 { font-size: 1rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid var(--line) }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
code, .test { font-family: ui-monospace, monospace; font-size: .9em; overflow-wrap: anywhere }
small { font-size: .85em; opacity: .8 }
.verdict { padding: .8rem 1rem; border-left: .4rem solid var(--good); background: #8881 }
.verdict.bad { border-color: var(--bad) }
.good { color: var(--good) } .known { color: var(--known); font-weight: 600 } .bad { color: var(--bad); font-weight: 600 }
pre { overflow-x: auto; background: #8881; padding: .8rem; font-size: .8rem }
summary { cursor: pointer }
dl { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr; gap: .1rem 1rem } dd { margin: 0; min-width: 0 }
figure { margin: 1.5rem 0 } img { background: #fff }
.filter { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; margin: .5rem 0 }
.filter input[type=search] { font: inherit; padding: .3rem .5rem; flex: 1 1 12rem; min-width: 0 }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; list-style: none; padding: 0 }
@media (max-width: 40rem) { .wide { display: none } th, td { padding: .3rem .35rem } }
"""

# Adds a filter above each table with data-filter, whose value is the label of a checkbox that
# keeps only the rows with the class `noted`.
SCRIPT = """
for (const table of document.querySelectorAll('table[data-filter]')) {
  const bar = document.createElement('div'), words = document.createElement('input');
  const label = document.createElement('label'), noted = document.createElement('input');
  const count = document.createElement('small'), rows = [...table.querySelectorAll('tbody tr:not(.group)')];
  bar.className = 'filter';
  words.type = 'search';
  words.placeholder = words.ariaLabel = 'filter rows';
  noted.type = 'checkbox';
  count.ariaLive = 'polite';
  label.append(noted, ' ' + table.dataset.filter);
  bar.append(words, label, count);
  table.parentNode.before(bar);
  const filter = () => {
    const all = words.value.toLowerCase().split(/\\s+/);
    let shown = 0;
    for (const row of rows) {
      const text = (row.closest('tbody').dataset.name || '') + ' ' + row.textContent.toLowerCase();
      row.hidden = noted.checked && !row.classList.contains('noted') || !all.every(word => text.includes(word));
      shown += !row.hidden;
    }
    for (const body of table.tBodies) body.hidden = ![...body.rows].some(row => !row.hidden && !row.classList.contains('group'));
    count.textContent = shown + ' of ' + rows.length + ' rows';
  };
  words.addEventListener('input', filter);
  noted.addEventListener('change', filter);
  filter();
}
"""


def e(text):
    return html.escape(str(text))


def items(lines):
    """A list of lines that are HTML already."""
    return "<ul>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>" if lines else ""


def verdict(good, problems):
    """The first thing to read: the words GOOD, or what is wrong."""
    if not problems:
        return f"<p class=verdict>{e(good)}</p>"
    return f"<div class='verdict bad'><p>Failed:</p>{items(map(e, problems))}</div>"


def about(facts):
    """The names and values of a dictionary."""
    return "<dl>" + "".join(f"<dt>{e(name)}</dt><dd>{e(value)}</dd>" for name, value in facts.items()) + "</dl>"


def table(head, bodies, filtered=None):
    """A table that scrolls alone. HEAD and BODIES are HTML, and FILTERED the label of its filter."""
    data = f" data-filter='{e(filtered)}'" if filtered else ""
    return f"<div class=scroll><table{data}><thead><tr>{head}</tr></thead>{bodies}</table></div>"


def document(title, sections):
    """The page: SECTIONS are (heading, HTML); the first has no heading, and the others are linked
    below it."""
    first, *rest = [(heading, body) for heading, body in sections if body]
    links = "".join(f"<li><a href='#s{n}'>{e(heading)}</a></li>" for n, (heading, _) in enumerate(rest))
    body = "".join(f"<section><h2 id=s{n}>{e(heading)}</h2>{body}</section>\n" for n, (heading, body) in enumerate(rest))
    return f"""<!doctype html>
<html lang=en>
<head>
<meta charset=utf-8>
<meta name=viewport content="width=device-width, initial-scale=1">
<title>{e(title)}</title>
<style>{CSS}</style>
</head>
<body>
<h1>{e(title)}</h1>
{first[1]}
<nav><ul>{links}</ul></nav>
{body}<script>{SCRIPT}</script>
</body>
</html>
"""
