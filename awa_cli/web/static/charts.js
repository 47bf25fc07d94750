// Charts: [data-series] holds the values, [data-plot] inside it is the canvas.
(() => {
  "use strict";
  const charts = new Map();
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

  const hours = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const WHOLE = [...Array(9).keys()].flatMap((power) => [1, 2, 5].map((one) => one * 10 ** power));

  // A line needs two points: a point between two gaps is drawn as a dot.
  function alone(plot, series) {
    const values = plot.data[series];
    return [...values.keys()].filter((at) => values[at] != null && values[at - 1] == null && values[at + 1] == null);
  }

  function rate(value, slow) {
    if (!slow) return `${value < 10 && value % 1 ? value.toFixed(1) : Math.round(value).toLocaleString()}/s`;
    return value * 60 < 1 && value ? "less than 1/min" : `${Math.round(value * 60)}/min`;
  }

  function words(name, value, slow = value < 1) {
    if (value == null) return "nothing";
    if (name === "completed") return rate(value, slow);
    if (name === "waited" || name === "lags") {
      if (value < 1) return `${Math.round(value * 1000)}ms`;
      return value < 10 ? `${Number(value.toFixed(1))}s` : window.awa.span(value);
    }
    return Math.round(value).toLocaleString();
  }

  function options(box, name) {
    const style = getComputedStyle(box);
    const color = style.color;
    const line = style.getPropertyValue("--line");
    const axis = {
      stroke: style.getPropertyValue("--quiet"), font: "11px system-ui", grid: { stroke: line, width: 1 },
      ticks: { show: false },
    };
    return {
      width: box.clientWidth, height: box.clientHeight, legend: { show: false },
      padding: [6, 22, 0, 0],
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: { y: { range: (_, low, high) => [0, (high || 1) * 1.1] } },
      axes: [
        { ...axis, size: 22, space: 60, grid: { show: false }, values: (_, marks) => marks.map((one) => hours.format(new Date(one * 1000))) },
        { ...axis, size: 46, space: 30, ...(name === "failed" && { incrs: WHOLE }), values: (_, marks) => marks.map((one) => words(name, one, false)) },
      ],
      series: [{}, { stroke: color, fill: `color-mix(in srgb, ${color} 14%, transparent)`, width: 1.5, points: { show: false, filter: alone, size: 5, fill: color } }],
      hooks: { setCursor: [(plot) => point(plot, box, name)] },
    };
  }

  function point(plot, box, name) {
    const at = plot.cursor.idx;
    const caption = box.closest("[data-series]")?.querySelector(".words");
    if (!caption) return;
    caption.dataset.words ??= caption.textContent;
    caption.textContent = at == null || plot.cursor.left < 0 ? caption.dataset.words
      : `${words(name, plot.data[1][at])} at ${clock.format(new Date(plot.data[0][at] * 1000))}`;
  }

  function draw(again = false) {
    for (const figure of document.querySelectorAll("[data-series]")) {
      const box = figure.querySelector("[data-plot]");
      const { begin, width, values } = JSON.parse(figure.dataset.series);
      const data = [values.map((_, index) => begin + index * width), values];
      const known = charts.get(box.id);
      if (known && known.box === box && !again) { known.plot.setData(data); continue; }
      known?.plot.destroy();
      box.replaceChildren();
      charts.set(box.id, { box, plot: new uPlot(options(box, box.dataset.plot), data, box) });
    }
  }

  draw();
  document.addEventListener("htmx:afterSwap", () => draw());
  document.addEventListener("awa:theme", () => draw(true));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(true));
  new ResizeObserver(() => {
    for (const { box, plot } of charts.values()) {
      if (box.clientWidth !== plot.width) plot.setSize({ width: box.clientWidth, height: box.clientHeight });
    }
  }).observe(document.querySelector("main"));
})();
