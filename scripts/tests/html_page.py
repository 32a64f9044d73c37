# SPDX-License-Identifier: GPL-2.0
"""Read the pages that the lab writes, for their tests."""

from html.parser import HTMLParser

VOID = {"meta", "br", "img", "input"}


class Page(HTMLParser):
    """The sections of a page as {heading: text}, and what is wrong with its HTML."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.wrong = [], [], [], []
        self.sections, self.heading, self.rows = {"": ""}, "", []
        self.feed(text)
        self.close()
        self.wrong += [f"<{tag}> is not closed" for tag in self.open]
        self.wrong += [f"no #{link}" for link in self.links if link not in self.ids]
        self.wrong += [f"#{name} twice" for name in set(self.ids) if self.ids.count(name) > 1]

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs["href"][1:]] if attrs.get("href", "").startswith("#") else []
        if attrs.keys() & {"hidden", "width", "onclick"} or attrs.get("src", "").startswith("http"):
            self.wrong.append(f"<{tag}> has {attrs}")
        if tag == "table" and "div" not in self.open:
            self.wrong.append("a table that does not scroll alone")
        if tag == "h2":
            self.heading = None
        if tag == "tr":
            self.rows.append((self.heading, attrs.get("class")))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> closes something else")

    def handle_data(self, data):
        if self.heading is None:
            self.heading = data
        self.sections[self.heading] = self.sections.get(self.heading, "") + data
