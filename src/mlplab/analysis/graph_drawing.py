"""A program drawn: DOT text always; SVG and a page to explore, laid out by Graphviz, with the extra [graph]."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlplab.errors import InvalidInput, import_extra
from mlplab.outputs import write_whole

# Fill and border by kind: tensors that are there, operations, gradients.
COLOURS = {
    "input": ("#e3ecf3", "#0072B2"),
    "target": ("#e3ecf3", "#0072B2"),
    "parameter": ("#dcefe8", "#009E73"),
    "buffer": ("#dcefe8", "#009E73"),
    "constant": ("#eeeeee", "#8a8a8a"),
    "operation": ("#ffffff", "#555555"),
    "gradient": ("#f6e3ee", "#CC79A7"),
}
SAVED = ("#fbe3d3", "#D55E00")
FONT = 'fontname="Helvetica,Arial,sans-serif"'
MANY = 150  # nodes from which Graphviz would take minutes to make the drawing prettier
SUFFIXES = (".dot", ".svg", ".html")


@dataclass(frozen=True)
class Drawing:
    """Nodes as dictionaries with the fields of `graph.Node`."""

    title: str
    nodes: tuple[dict[str, Any], ...]

    @property
    def dot(self) -> str:
        """The graph in Graphviz' language: forward and backward in a frame each, dashed edges to what was saved."""
        lines = [
            "digraph program {",
            f"  label={_quoted(self.title + ' — orange: kept for the backward')}; labelloc=t; {FONT};",
            *(["  nslimit=0.5; nslimit1=0.5; mclimit=0.2; splines=line;"] if len(self.nodes) > MANY else []),
            f'  node [shape=box, style="rounded,filled", {FONT}, fontsize=10, margin="0.1,0.05"];',
            '  edge [color="#777777", arrowsize=0.6];',
        ]
        for phase in ("forward", "backward"):
            own = [node for node in self.nodes if node["phase"] == phase]
            if own:
                lines += [
                    f"  subgraph cluster_{phase} {{",
                    f'    label={phase}; color="#cccccc"; fontcolor="#777777";',
                ]
                lines += [f"    {_node(node)}" for node in own]
                lines.append("  }")
        for node in self.nodes:
            lines += [
                f"  n{source} -> n{node['number']}{self._style(source, node)};" for source in node["inputs"]
            ]
        return "\n".join([*lines, "}", ""])

    def svg(self) -> str:
        """Drawn by Graphviz. Raises MissingExtra without pygraphviz."""
        pygraphviz = import_extra("pygraphviz", what="A drawing of a graph", extra="graph")
        drawn = pygraphviz.AGraph(string=self.dot).draw(format="svg", prog="dot").decode("utf-8")
        return drawn[drawn.index("<svg") :]

    def html(self) -> str:
        """One page without outside requests: zoom and drag, click a node for its tensors, search by name or module."""
        from mlplab.report import figure, page  # tables and drawings as text do without its engine

        drawing = figure(self.svg())
        return page("mlplab.analysis", "graph_page.html", title=self.title, drawing=drawing, nodes=self.nodes)

    def save(self, path: str | Path) -> None:
        """Write .dot, .svg or .html. Raises InvalidInput for another suffix, OutputError where it cannot be written."""
        target = Path(path)
        suffix = target.suffix.lower()
        if suffix not in SUFFIXES:
            raise InvalidInput("graph file", f"must end in {', '.join(SUFFIXES)}", target.name)
        content = {".dot": lambda: self.dot, ".svg": self.svg, ".html": self.html}[suffix]()
        write_whole(target, content)

    def _repr_svg_(self) -> str:
        return self.svg()

    def _style(self, source: int, node: dict[str, Any]) -> str:
        origin = self.nodes[source]
        kept = origin["phase"] == "forward" and node["phase"] == "backward"
        return f' [style=dashed, color="{SAVED[1]}", constraint=false]' if kept and origin["saved"] else ""


def _node(node: dict[str, Any]) -> str:
    fill, border = SAVED if node["saved"] and node["kind"] == "operation" else COLOURS[node["kind"]]
    if node["saved"]:
        border = SAVED[1]
    shape = "×".join(map(str, node["shape"])) or "scalar"
    name = (
        node["name"]
        if node["kind"] != "operation" or not node["module"]
        else f"{node['module']}: {node['name']}"
    )
    label = _quoted(f"{name}\n{shape} {node['dtype']}")
    width = 2 if node["saved"] else 1
    style = f'fillcolor="{fill}", color="{border}", penwidth={width}'
    return f'n{node["number"]} [id="n{node["number"]}", label={label}, {style}];'


def _quoted(text: str) -> str:
    # Graphviz reads entities in a label: &lt; in a name would be drawn as <.
    escaped = text.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
