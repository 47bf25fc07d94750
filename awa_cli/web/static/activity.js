// Activity: new transitions go on top; while the list is held, they are counted.
(() => {
  "use strict";
  const { find, all, updateTimes } = window.awa;
  const root = document.body.dataset.root;
  const box = find("#activity");
  const body = find("tbody", box);
  const hold = find("#hold");
  const filters = Object.entries(JSON.parse(box.dataset.filters));
  const labels = JSON.parse(box.dataset.labels);
  const maxRows = Number(box.dataset.maxRows);
  // The rate is an average over this many seconds.
  const RATE_SECONDS = 5;
  const known = new Set();
  let seen = [];
  let waiting = [];
  let held = false;

  const moment = (row) => Date.parse(find("time", row).dateTime);
  const key = (row) => [row.dataset.id, row.dataset.event, row.dataset.attempt, moment(row)].join();

  // The same as step() in path_names.py: browsers would resolve "." and ".." in a path.
  const hex = (text) => [...text].map((one) => one.charCodeAt(0).toString(16)).join("");
  const step = (text) => (/^(\.\.?|~([0-9a-f]{2})+)$/.test(text) ? `~${hex(text)}` : encodeURIComponent(text));

  function rowOf(one) {
    const row = find("#transition").content.firstElementChild.cloneNode(true);
    Object.assign(row.dataset, { id: one.id, event: one.event, attempt: one.attempt });
    const [at, event, id, kind, queue, attempt, error] = row.children;
    at.firstChild.dateTime = one.at;
    event.firstChild.classList.add(`s-${one.event}`);
    const sign = find("use", event);
    sign.setAttribute("href", sign.getAttribute("href").replace(/#.*/, `#st-${one.event}`));
    event.firstChild.lastChild.textContent = labels[one.event] ?? one.event;
    for (const [cell, text, to] of [[id, one.id, "jobs"], [kind, one.kind, "kinds"], [queue, one.queue, "queues"]]) {
      cell.firstChild.textContent = text;
      cell.firstChild.href = `${root}/${to}/${step(String(text))}`;
    }
    attempt.textContent = one.attempt || "";
    error.textContent = one.error ?? "";
    return row;
  }

  // Newest first; a late transition is inserted by its time.
  function put(row) {
    if (known.has(key(row))) return;
    known.add(key(row));
    const at = moment(row);
    let next = body.firstElementChild;
    while (next && moment(next) > at) next = next.nextElementSibling;
    body.insertBefore(row, next);
  }

  function show(rows) {
    if (held) {
      // The stream and catchUp() may both deliver a row.
      const have = new Set([...known, ...waiting.map(key)]);
      waiting = [...waiting, ...rows.filter((row) => !have.has(key(row)))].slice(-maxRows);
    } else {
      for (const row of rows) put(row);
      while (body.children.length > maxRows) {
        known.delete(key(body.lastElementChild));
        body.lastElementChild.remove();
      }
      find("#nothing").hidden = body.children.length > 0;
      updateTimes();
    }
    showRate();
  }

  function showRate() {
    const since = Date.now() - RATE_SECONDS * 1000;
    seen = seen.filter((at) => at > since);
    const rate = seen.length / RATE_SECONDS;
    const words = `${rate >= 10 || !rate ? Math.round(rate).toLocaleString() : rate.toFixed(1)}/s`;
    const many = waiting.length === maxRows ? `${maxRows} or more` : waiting.length;
    find("#rate").textContent = held ? `${words}, held, ${many} new` : words;
  }

  hold.addEventListener("click", () => {
    held = !held;
    hold.textContent = held ? "Follow" : "Hold";
    hold.setAttribute("aria-pressed", String(held));
    const rows = waiting;
    waiting = [];
    show(rows);
  });

  // Load what happened before the stream started, or while it was disconnected.
  async function catchUp() {
    const answer = await fetch(location.href, { headers: { "HX-Request": "true" } }).catch(() => null);
    if (!answer?.ok) return;
    const part = document.createElement("template");
    part.innerHTML = await answer.text();
    show(all("tr", part.content).reverse().filter((row) => !known.has(key(row))));
  }

  document.addEventListener("htmx:sseOpen", ({ detail: { source } }) => {
    // The stream has started by then, and a row that both deliver is shown once.
    setTimeout(catchUp, 1000);
    if (source.followed) return;
    source.followed = true;
    source.addEventListener("missed", catchUp);
    source.addEventListener("activity", (message) => {
      const found = JSON.parse(message.data).filter((one) => filters.every(([name, value]) => one[name] === value));
      seen.push(...found.map(() => Date.now()));
      show(found.slice(-maxRows).map(rowOf));
    });
  });

  find("#activity-filter").addEventListener("change", (event) => event.currentTarget.requestSubmit());
  for (const row of all("tr", body)) known.add(key(row));
  setInterval(showRate, 1000);
})();
