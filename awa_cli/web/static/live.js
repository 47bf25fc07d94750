// Live updates: keep ticks, focus, folds and scroll positions; show lost connections.
(() => {
  "use strict";
  const { find, all, span } = window.awa;

  // Ticks are kept by id: a row that leaves the page and comes back is still ticked.
  const SCROLLS = ".table, .chips, .attempts, .graph, pre";
  const ticked = new Set();
  let kept = null;

  // No update while a dialog is open, during a click, or while the request of a button is under way:
  // a button that is replaced meanwhile would lose its request or its answer.
  let changing = 0;
  let pressed = false;
  let late = false;

  function busy(box) {
    // A text selection inside the box would be lost too.
    const selection = getSelection();
    return pressed || changing || find("dialog[open]") || (!selection.isCollapsed && box.contains(selection.anchorNode));
  }

  function catchUp() {
    if (!late || busy(document.body)) return;
    late = false;
    htmx.trigger(document.body, "changed");
  }

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (!event.detail.elt.hasAttribute("hx-trigger")) changing += 1;
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!event.detail.elt.hasAttribute("hx-trigger")) changing = Math.max(changing - 1, 0);
    catchUp();
  });
  for (const dialog of all("dialog")) dialog.addEventListener("close", () => setTimeout(catchUp));
  document.addEventListener("selectionchange", catchUp);
  document.addEventListener("pointerdown", () => { pressed = true; }, true);
  for (const end of ["pointerup", "pointercancel", "dragend"]) {
    document.addEventListener(end, () => setTimeout(() => { pressed = false; catchUp(); }), true);
  }

  // The last content of each box.  Most events change nothing visible; then nothing is replaced,
  // so that no click is lost and no focus moves.
  const shown = new Map();
  // The ETag of it: an update of the same content is answered without it.
  const tags = new Map();

  function plain(html) {
    const inert = document.createElement("template");
    inert.innerHTML = html;
    // An update is without what only browsers without scripts show.
    for (const one of all(".without-js", inert.content)) one.remove();
    // A script writes the words of times, and their titles in the zone of who reads.
    for (const one of all("time", inert.content)) {
      one.textContent = "";
      one.removeAttribute("title");
      delete one.dataset.localized;
    }
    return inert.innerHTML.trim();
  }

  function rowIn(box, row) {
    const at = row ? all("tbody tr", box).indexOf(row) : -1;
    return at < 0 ? null : { at, key: row.dataset.key };
  }

  // A link, button or fold that has the focus is found again by its words: it may be a new element.
  const CONTROLS = "a[href], button, summary, input, select, [tabindex='0']";

  function named(box, name) {
    const words = (one) => one.getAttribute("aria-label") ?? one.getAttribute("href") ?? one.textContent;
    return all(CONTROLS, box).filter((one) => name === undefined || words(one) === name).map((one) => [one, words(one)]);
  }

  function focusIn(box) {
    const focused = document.activeElement;
    const name = named(box).find(([one]) => one === focused)?.[1];
    return name === undefined ? null : { focused, name, at: named(box, name).findIndex(([one]) => one === focused) };
  }

  function focusAgain(box, { focused, name, at }) {
    const one = focused.isConnected ? focused : named(box, name)[at]?.[0];
    one?.focus({ preventScroll: true });
    return document.activeElement === one;
  }

  document.addEventListener("htmx:beforeSwap", (event) => {
    const box = event.detail.target;
    if (box.hasAttribute("hx-trigger") && event.detail.shouldSwap) {
      const { xhr } = event.detail;
      if (xhr.status === 304) { event.detail.shouldSwap = false; return; }
      const text = plain(event.detail.serverResponse);
      const same = shown.get(box.id) === text;
      late ||= !same && busy(box);
      event.detail.shouldSwap = !same && !busy(box);
      if (same || event.detail.shouldSwap) tags.set(box.id, xhr.getResponseHeader("ETag"));
      if (!event.detail.shouldSwap) return;
      shown.set(box.id, text);
    }
    kept = {
      folds: new Map(all("details[id]", box).map((one) => [one.id, one.open])),
      focus: focusIn(box),
      row: rowIn(box, document.activeElement.closest("tbody tr")),
      scrolls: all(SCROLLS, box).map((one) => [one.scrollLeft, one.scrollTop]),
    };
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    const box = event.detail.target;
    if (kept) {
      for (const one of all("input[name=id]", box)) one.checked = ticked.has(one.value);
      for (const one of all("details[id]", box)) one.open = kept.folds.get(one.id) ?? one.open;
      all(SCROLLS, box).forEach((one, index) => one.scrollTo(...(kept.scrolls[index] ?? [0, 0])));
      if (!(kept.focus && focusAgain(box, kept.focus)) && kept.row) {
        const now = all("tbody tr", box);
        awa.select(now.find((one) => kept.row.key && one.dataset.key === kept.row.key) ?? now[kept.row.at]);
      }
    }
    kept = null;
    updateTicks();
    awa.updateTimes();
  });

  function updateTicks() {
    const boxes = all("input[name=id]");
    const here = boxes.filter((one) => one.checked).length;
    for (const one of all("[data-all]")) {
      one.checked = here > 0 && here === boxes.length;
      one.indeterminate = here > 0 && here < boxes.length;
    }
    for (const one of all("[data-ticked-bar]")) one.hidden = !ticked.size;
    for (const one of all("[data-ticked]")) one.textContent = `${ticked.size.toLocaleString()} ticked`;
  }

  function tick(box, on) {
    box.checked = on;
    if (on) ticked.add(box.value);
    else ticked.delete(box.value);
  }

  function untick() {
    ticked.clear();
    for (const one of all("input[name=id]")) one.checked = false;
    updateTicks();
  }

  document.addEventListener("change", (event) => {
    const box = event.target;
    if ("all" in box.dataset) for (const one of all("input[name=id]", box.closest("table"))) tick(one, box.checked);
    else if (box.matches("input[name=id]")) tick(box, box.checked);
    else return;
    updateTicks();
  });
  document.addEventListener("htmx:configRequest", (event) => {
    const { elt, headers, parameters } = event.detail;
    if ("withTicked" in elt.dataset) parameters.ids = [...ticked].join(",");
    if (elt.hasAttribute("hx-trigger") && tags.get(elt.id)) headers["If-None-Match"] = tags.get(elt.id);
  });

  // Numbers in the navigation come with each update of a part.
  document.body.addEventListener("badges", (event) => {
    for (const box of all("[data-badge]")) {
      const badge = event.detail[box.dataset.badge];
      box.hidden = !badge;
      box.textContent = badge?.text ?? "";
      box.title = badge?.words ?? "";
      box.classList.toggle("bad", Boolean(badge?.bad));
    }
  });

  let updatedAt = 0;

  function showUpdated() {
    const seconds = (Date.now() - updatedAt) / 1000;
    find("#updated").textContent = updatedAt ? ` · live, updated ${seconds < 1 ? "now" : `${span(seconds)} ago`}` : "";
  }

  function lost(text) {
    const box = find("#lost");
    box.textContent = text;
    box.hidden = !text;
  }

  document.addEventListener("htmx:sseOpen", (event) => {
    lost("");
    const { source } = event.detail;
    for (const topic of find("#main").dataset.topics.split(" ")) {
      source.addEventListener(topic.split(":")[0], () => { updatedAt = Date.now(); lost(""); });
    }
    source.addEventListener("lost", (message) => {
      const { what, why } = JSON.parse(message.data);
      lost(`${what}${why ? `: ${why}` : ""}. Retrying.`);
    });
  });
  document.addEventListener("htmx:sseError", () => lost("The connection to the server is lost. Retrying."));

  for (const box of all("[hx-get][hx-trigger][id]")) shown.set(box.id, plain(box.innerHTML));
  // Browsers keep ticks over a reload.
  for (const one of all("input[name=id]:checked")) ticked.add(one.value);
  updateTicks();
  setInterval(showUpdated, 1000);
  window.awa.untick = untick;
})();
