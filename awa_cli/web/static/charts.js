// Charts: [data-series] holds the values, [data-plot] inside it is the canvas.
(() => {
  "use strict";
  const charts = new Map();
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const day = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric" });
  const moment = new Intl.DateTimeFormat(undefined, { weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const DAYS = 2 * 86400;

  // Steps between marks of an axis, such that every mark is written as it is.
  const DECADES = [...Array(9).keys()].flatMap((power) => [1, 2, 5].map((one) => one * 10 ** power));
  const SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30,
    60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400, 172800, 604800];
  const RATES = [0.1, 0.2, 0.5, ...DECADES];
  const PER_MINUTE = DECADES.map((one) => one / 60);

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
    if (name === "waited") {
      if (value < 1) return value ? `${Number((value * 1000).toFixed(1))}ms` : "0";
      return value < 10 ? `${Number(value.toFixed(1))}s` : window.awa.span(value);
    }
    return Math.round(value).toLocaleString();
  }

  function most(data) {
    return Math.max(0, ...data.slice(1).flat().filter((one) => one != null));
  }

  function steps(name, slow) {
    if (name === "completed") return slow ? PER_MINUTE : RATES;
    return name === "waited" ? SECONDS : DECADES;
  }

  // What began: a line through the plot, blue for workers that started, red for a new failure.
  function drawMarks(plot, box) {
    const marks = box.closest("[data-series]") ? JSON.parse(box.closest("[data-series]").dataset.series).marks : [];
    const style = getComputedStyle(box);
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.lineWidth = 1.5 * devicePixelRatio;
    for (const mark of marks) {
      if (mark.what === "failure" && box.dataset.plot !== "failed") continue;
      const x = plot.valToPos(mark.at, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = style.getPropertyValue(mark.what === "failure" ? "--red" : "--blue");
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  function lines(name, style) {
    const drawn = (color, alpha) => ({
      stroke: color, fill: `color-mix(in srgb, ${color} ${alpha}%, transparent)`, width: 1.5,
      points: { show: false, filter: alone, size: 5, fill: color },
    });
    if (name !== "failed") return [drawn(style.color, 14)];
    // Counts are bars: an interval that has not ended is a low bar, and no line that falls to zero.
    const bars = uPlot.paths.bars({ size: [0.8, 40], align: 1 });
    const red = style.color, yellow = style.getPropertyValue("--yellow");
    return [{ ...drawn(yellow, 35), width: 0, paths: bars }, { ...drawn(red, 75), width: 0, paths: bars }];
  }

  function options(box, name, data, width) {
    const style = getComputedStyle(box);
    const line = style.getPropertyValue("--line");
    const slow = most(data) < 1;
    const long = data[0].length * width > DAYS;
    const axis = {
      stroke: style.getPropertyValue("--quiet"), font: "11px system-ui", grid: { stroke: line, width: 1 },
      ticks: { show: false },
    };
    return {
      width: box.clientWidth, height: box.clientHeight, legend: { show: false },
      padding: [6, 22, 0, 0],
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: {
        x: { range: (_, low, high) => [low, high + (name === "failed" ? width : 0)] },
        y: { range: (_, low, high) => [0, (high || 1) * 1.1] },
      },
      axes: [
        { ...axis, size: 22, space: 60, grid: { show: false },
          ...(long && { incrs: [86400, 172800, 345600] }), values: (_, marks) => marks.map((one) => (long ? day : clock).format(new Date(one * 1000))) },
        { ...axis, size: 52, space: 30, incrs: steps(name, slow), values: (_, marks) => marks.map((one) => words(name, one, slow)) },
      ],
      series: [{}, ...lines(name, style)],
      hooks: { setCursor: [(plot) => point(plot, box, name, width)], draw: [(plot) => drawMarks(plot, box)] },
    };
  }

  function said(name, plot, at) {
    if (name !== "failed") return words(name, plot.data[1][at]);
    const lost = plot.data[2][at];
    return `${lost.toLocaleString()} for good, ${(plot.data[1][at] - lost).toLocaleString()} tried again,`;
  }

  function point(plot, box, name, width) {
    const at = plot.cursor.idx;
    const caption = box.closest("[data-series]")?.querySelector(".words");
    if (!caption) return;
    caption.dataset.words ??= caption.textContent;
    const when = width * plot.data[0].length > 86400 ? moment : clock;
    caption.textContent = at == null || plot.cursor.left < 0 ? caption.dataset.words
      : `${said(name, plot, at)} at ${when.format(new Date(plot.data[0][at] * 1000))}`;
  }

  // Attempts that are tried again stand on those that failed for good.
  function stacked({ begin, width, values, more }) {
    const times = values.map((_, index) => begin + index * width);
    return more.length ? [times, values.map((one, index) => one + more[index]), values] : [times, values];
  }

  function draw(again = false) {
    for (const figure of document.querySelectorAll("[data-series]")) {
      const box = figure.querySelector("[data-plot]");
      const known = charts.get(box.id);
      // An empty chart has no size.
      if (!box.clientWidth) continue;
      const series = JSON.parse(figure.dataset.series);
      const data = stacked(series);
      const scale = `${steps(box.dataset.plot, most(data) < 1)[0]} ${series.width}`;
      if (known && known.box === box && known.scale === scale && !again) { known.plot.setData(data); continue; }
      known?.plot.destroy();
      box.replaceChildren();
      charts.set(box.id, { box, scale, plot: new uPlot(options(box, box.dataset.plot, data, series.width), data, box) });
    }
  }

  draw();
  document.addEventListener("htmx:afterSwap", () => draw());
  document.addEventListener("awa:theme", () => draw(true));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(true));
  new ResizeObserver(() => {
    for (const { box, plot } of charts.values()) {
      if (box.clientWidth && box.clientWidth !== plot.width) plot.setSize({ width: box.clientWidth, height: box.clientHeight });
    }
  }).observe(document.querySelector("main"));
})();
