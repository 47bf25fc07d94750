// The graph of a workflow: [data-graph] holds its nodes and edges, #graph inside it is the drawing.
(() => {
  "use strict";
  const { find } = window.awa;
  const base = document.body.dataset.root;
  const SVG = "http://www.w3.org/2000/svg";
  const FONT = getComputedStyle(document.documentElement).fontFamily;
  const HEIGHT = { task: 46, group: 58, signal: 46 };
  const NARROWEST = { task: 150, group: 210, signal: 130 };
  const WIDEST = 260;
  // Left of the text: an edge, the sign, a gap.
  const LEFT = 32;
  const RIGHT = 12;
  // A large graph is made smaller down to this share of its size; beyond that it scrolls.
  const SMALLEST = 0.8;
  // The most that .graph shows without scrolling.
  const TALLEST = 500;
  // With more edges the tight layout takes seconds.
  const MANY_EDGES = 150;

  const pen = document.createElement("canvas").getContext("2d");

  function widthOf(text, bold) {
    pen.font = `${bold ? "600 13px" : "12px"} ${FONT}`;
    return pen.measureText(text).width;
  }

  function cut(text, room, bold) {
    if (widthOf(text, bold) <= room) return text;
    // Characters: half of a surrogate pair is none.
    const all = [...text];
    const first = (count) => `${all.slice(0, count).join("")}…`;
    let end = Math.floor((all.length * room) / widthOf(text, bold));
    while (end > 1 && widthOf(first(end), bold) > room) end -= 1;
    return first(end);
  }

  function make(name, attributes = {}, ...children) {
    const one = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    one.append(...children);
    return one;
  }

  // Layout

  function sizeOf(node) {
    const text = Math.max(widthOf(node.name, true), widthOf(node.words, false));
    const width = Math.min(Math.max(Math.ceil(text) + LEFT + RIGHT, NARROWEST[node.type]), WIDEST);
    return { width, height: HEIGHT[node.type] };
  }

  // The number of layers, and of the nodes in the largest.
  function spread(nodes, edges) {
    const layers = new Map(nodes.map((node) => [node.number, 0]));
    for (let moved = true, round = 0; moved && round < nodes.length; round += 1) {
      moved = false;
      for (const [parent, child] of edges) {
        if (layers.get(child) > layers.get(parent)) continue;
        layers.set(child, layers.get(parent) + 1);
        moved = true;
      }
    }
    const counts = [];
    for (const layer of layers.values()) counts[layer] = (counts[layer] ?? 0) + 1;
    return { deep: counts.length, wide: Math.max(...counts) };
  }

  // Down or to the right, whichever needs less scrolling.
  function direction(nodes, edges, room) {
    const { deep, wide } = spread(nodes, edges);
    const beyond = (width, height) => Math.max(width / room, 1) * Math.max(height / TALLEST, 1);
    return beyond(wide * 190, deep * 95) <= beyond(deep * 230, wide * 66) ? "TB" : "LR";
  }

  function layout(nodes, edges, room) {
    const graph = new dagre.graphlib.Graph();
    graph.setGraph({
      rankdir: direction(nodes, edges, room),
      ranker: edges.length > MANY_EDGES ? "longest-path" : "network-simplex",
      nodesep: 24, ranksep: 44, edgesep: 12, marginx: 12, marginy: 12,
    });
    // Without a label beside the edge, which would take room.
    graph.setDefaultEdgeLabel(() => ({ labelpos: "c" }));
    for (const node of nodes) graph.setNode(String(node.number), sizeOf(node));
    for (const [parent, child] of edges) graph.setEdge(String(parent), String(child));
    dagre.layout(graph);
    return graph;
  }

  // Drawing

  function pathOf(points) {
    const at = ({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`;
    const middle = (one, two) => ({ x: (one.x + two.x) / 2, y: (one.y + two.y) / 2 });
    const turns = points.slice(1, -1).map((point, index) => `Q${at(point)} ${at(middle(point, points[index + 2]))}`);
    return `M${at(points[0])}${turns.join("")}L${at(points.at(-1))}`;
  }

  function barOf(node, width, height) {
    const room = width - 24;
    const bar = (name, share) => make("rect", { class: name, x: 12, y: height - 13, width: (room * share).toFixed(1), height: 5, rx: 2.5 });
    return [bar("whole", 1), bar("done", node.done), bar("bad", node.bad)];
  }

  function drawNode(node, { x, y, width, height }, icons) {
    const label = `${node.name}: ${[node.words, node.more].filter(Boolean).join(", ")}`;
    const one = node.to ? make("a", { href: base + node.to }) : make("g", { role: "img", "aria-label": label });
    one.setAttribute("class", `node s-${node.state}`);
    one.setAttribute("transform", `translate(${(x - width / 2).toFixed(1)} ${(y - height / 2).toFixed(1)})`);
    const group = node.type === "group";
    const room = width - LEFT - RIGHT;
    const round = node.type === "signal" ? height / 2 : 7;
    const box = (name, off) => make("rect", { class: name, x: off, y: off, width, height, rx: round });
    one.append(
      make("title", {}, label),
      ...(group ? [box("box", 4)] : []),
      box("box", 0),
      make("use", { href: `${icons}#st-${node.state}`, x: 12, y: 10, width: 14, height: 14 }),
      make("text", { class: "name", x: LEFT, y: 21 }, cut(node.name, room, true)),
      make("text", { class: "words", x: LEFT, y: 37 }, cut(node.words, room, false)),
      ...(group ? barOf(node, width, height) : []),
    );
    return one;
  }

  let drawn = null;

  function drawAll(box, icons, nodes, edges) {
    const graph = layout(nodes, edges, box.clientWidth);
    const tip = make("marker", { id: "graph-tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
      make("path", { class: "tip", d: "M0 0l8 4-8 4z" }));
    const lines = edges.map(([parent, child]) => make("path", {
      class: "edge", d: pathOf(graph.edge(String(parent), String(child)).points), "marker-end": "url(#graph-tip)",
    }));
    const { width, height } = graph.graph();
    const known = new Map();
    const svg = make("svg", { viewBox: `0 0 ${Math.ceil(width)} ${Math.ceil(height)}`, role: "group", "aria-label": "Graph" },
      make("defs", {}, tip), make("g", { "aria-hidden": "true" }, ...lines));
    for (const node of nodes) {
      const element = drawNode(node, graph.node(String(node.number)), icons);
      known.set(node.number, { element, text: JSON.stringify(node) });
      svg.append(element);
    }
    box.replaceChildren(svg);
    return { box, svg, graph, known, width, height };
  }

  // Replace the nodes that have changed; the others keep focus.
  function refresh(nodes, icons) {
    for (const node of nodes) {
      const text = JSON.stringify(node);
      const one = drawn.known.get(node.number);
      if (one.text === text) continue;
      const focused = document.activeElement === one.element;
      const element = drawNode(node, drawn.graph.node(String(node.number)), icons);
      one.element.replaceWith(element);
      if (focused) element.focus({ preventScroll: true });
      Object.assign(one, { element, text });
    }
  }

  function fit() {
    if (!drawn?.box.clientWidth) return;
    const room = Math.min(drawn.box.clientWidth / drawn.width, TALLEST / drawn.height);
    const share = Math.min(Math.max(room, SMALLEST), 1);
    drawn.svg.setAttribute("width", Math.floor(drawn.width * share));
    drawn.svg.setAttribute("height", Math.ceil(drawn.height * share));
  }

  // A graph that scrolls begins at its first task.
  function showFirst(node) {
    const { box, svg, graph, width } = drawn;
    const { x, y } = graph.node(String(node.number));
    const share = svg.width.baseVal.value / width;
    box.scrollTo(x * share - box.clientWidth / 2, y * share - box.clientHeight / 2);
  }

  function draw() {
    const source = find("[data-graph]");
    const box = source && find("#graph", source);
    if (!box) return;
    const { nodes, edges } = JSON.parse(source.dataset.graph);
    const { icons } = source.dataset;
    const shape = JSON.stringify([nodes.map((node) => [node.number, node.name]), edges]);
    if (drawn?.box === box && drawn.shape === shape) { refresh(nodes, icons); return; }
    const again = drawn?.box === box;
    drawn = { ...drawAll(box, icons, nodes, edges), shape };
    fit();
    if (!again) showFirst(nodes[0]);
  }

  draw();
  document.addEventListener("htmx:afterSwap", draw);
  new ResizeObserver(fit).observe(find("main"));
})();
