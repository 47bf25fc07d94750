// What pages do beyond links and htmx: theme, times, words, dialogs, copies, ticks, live banner.
(() => {
  "use strict";
  const root = document.documentElement;
  const base = document.body.dataset.root;
  const find = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Theme

  function dark() {
    return root.dataset.theme ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  function switchTheme() {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("awa-theme", root.dataset.theme); } catch { /* forbidden */ }
    document.dispatchEvent(new Event("awa:theme"));
  }

  // Times: ages are counted on, moments are said in the viewer's zone

  const UNITS = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];

  function span(seconds) {
    const whole = Math.floor(seconds);
    for (const [index, [size, unit]] of UNITS.entries()) {
      if (whole < size) continue;
      const count = Math.floor(whole / size);
      const next = UNITS[index + 1];
      const small = count < 10 && next ? Math.floor((whole % size) / next[0]) : 0;
      return small ? `${count}${unit}${small}${next[1]}` : `${count}${unit}`;
    }
    return "0s";
  }

  // The clock of the server is what ages are told by.
  let ahead = 0;

  function age(moment) {
    const seconds = (Date.now() + ahead - moment) / 1000;
    const text = span(Math.abs(seconds));
    if (text === "0s") return "now";
    return seconds > 0 ? `${text} ago` : `in ${text}`;
  }

  const zoned = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

  function tellTimes() {
    for (const time of all("time[datetime]")) {
      const moment = new Date(time.dateTime);
      if (!time.dataset.told) {
        time.title = `${zoned.format(moment)}\n${time.title}`;
        time.dataset.told = "1";
      }
      if ("age" in time.dataset) {
        const text = age(moment);
        if (time.textContent !== text) time.textContent = text;
      }
    }
  }

  function ageEvery() {
    if (!document.hidden) tellTimes();
    tellPulse();
  }

  // Words for a moment, and dialogs

  let hush = 0;

  function say(text, bad = false, to = null) {
    const within = find("dialog[open] .error");
    if (bad && within) { within.textContent = text; return; }
    const box = find("#said");
    box.textContent = text;
    if (to) {
      const link = document.createElement("a");
      link.href = base + to;
      link.textContent = "Show";
      box.append(" ", link);
    }
    box.className = bad ? "shown bad" : "shown";
    clearTimeout(hush);
    hush = setTimeout(() => { box.className = ""; }, bad ? 12000 : 5000);
  }

  function open(dialog) {
    dialog.returnValue = "no";
    if (!dialog.open) dialog.showModal();
    return new Promise((done) => {
      dialog.addEventListener("close", () => done(dialog.returnValue), { once: true });
    });
  }

  // A button asks before it does what costs something; a risky answer is not the one of Enter.
  document.addEventListener("htmx:confirm", async (event) => {
    const { question, elt } = event.detail;
    if (!question) return;
    event.preventDefault();
    const risky = Number(elt.dataset.danger) >= 2;
    const dialog = find("#ask");
    dialog.classList.toggle("risky", risky);
    find("#ask-question").textContent = question;
    find("#ask-note").textContent = elt.dataset.note || (risky ? "This cannot be undone." : "");
    find("#ask-yes").textContent = elt.dataset.verb || "Yes";
    const answer = open(dialog);
    find(risky ? "#ask-no" : "#ask-yes").focus();
    if ((await answer) === "yes") event.detail.issueRequest(true);
  });

  document.body.addEventListener("said", (event) => say(event.detail.text, false, event.detail.to));
  document.addEventListener("htmx:sendError", () => say("The server does not answer.", true));
  document.addEventListener("htmx:responseError", (event) => {
    const { xhr, elt } = event.detail;
    // What is read by itself is tried again by itself, and the banner says what is wrong.
    if (elt.hasAttribute("hx-get") && xhr.status === 503) return;
    let text = `${xhr.status} ${xhr.statusText}`;
    try {
      const { what, why, do: then } = JSON.parse(xhr.responseText);
      text = [what, why && `why: ${why}`, then && `do: ${then}`].filter(Boolean).join("\n");
    } catch { /* not ours */ }
    say(text, true);
  });

  async function copy(button) {
    const from = button.dataset.copyFrom;
    const text = from ? find(from).textContent : button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
      say("Copied.");
    } catch {
      say(`Copy it yourself: ${text}`);
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if ("copy" in button.dataset || "copyFrom" in button.dataset) copy(button);
    if ("themeSwitch" in button.dataset) switchTheme();
    if (button.dataset.open) open(find(`#${button.dataset.open}`));
    if ("close" in button.dataset) button.closest("dialog").close();
    if ("untick" in button.dataset) untick();
    button.closest("details.menu")?.removeAttribute("open");
  });

  // What a server put into the dialog is opened; it closes when it was done.
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target.id !== "form") return;
    open(event.detail.target);
    find("[data-focus]", event.detail.target)?.focus();
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!event.detail.successful || !("closes" in event.detail.elt.dataset)) return;
    event.detail.elt.closest("dialog").close();
    untick();
  });
  document.addEventListener("click", (event) => {
    for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });

  // Live: what the reader has done stays when a part is read anew

  // Ticks are kept by id: a row that comes back, or that left the page, is still ticked.
  const SCROLLS = ".table, .chips, .attempts, pre";
  const ticked = new Set();
  let kept = null;

  // Nothing changes under an open question or a change that is under way: a button that is
  // replaced meanwhile would neither be answered nor send.
  let changing = 0;
  let late = false;

  function catchUp() {
    if (!late || changing || find("dialog[open]")) return;
    late = false;
    htmx.trigger(document.body, "changed");
  }

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.requestConfig.verb === "post") changing += 1;
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.requestConfig.verb === "post") changing = Math.max(changing - 1, 0);
    catchUp();
  });
  for (const dialog of all("dialog")) dialog.addEventListener("close", () => setTimeout(catchUp));

  function rowIn(box, row) {
    const at = row ? all("tbody tr", box).indexOf(row) : -1;
    return at < 0 ? null : { at, key: row.dataset.key };
  }

  document.addEventListener("htmx:beforeSwap", (event) => {
    const box = event.detail.target;
    if ((changing || find("dialog[open]")) && box.hasAttribute("hx-trigger")) {
      event.detail.shouldSwap = false;
      late = true;
      return;
    }
    kept = {
      folds: new Map(all("details[id]", box).map((one) => [one.id, one.open])),
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
      if (kept.row) {
        const now = all("tbody tr", box);
        awa.select(now.find((one) => kept.row.key && one.dataset.key === kept.row.key) ?? now[kept.row.at]);
      }
    }
    kept = null;
    tellTicks();
    tellTimes();
  });

  function tellTicks() {
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
    tellTicks();
  }

  document.addEventListener("change", (event) => {
    const box = event.target;
    if ("all" in box.dataset) for (const one of all("input[name=id]", box.closest("table"))) tick(one, box.checked);
    else if (box.matches("input[name=id]")) tick(box, box.checked);
    else return;
    tellTicks();
  });
  document.addEventListener("htmx:configRequest", (event) => {
    if ("withTicked" in event.detail.elt.dataset) event.detail.parameters.ids = [...ticked].join(",");
  });

  let lookedAt = 0;

  function tellPulse() {
    const seconds = (Date.now() - lookedAt) / 1000;
    find("#pulse").textContent = lookedAt ? ` · live, changed ${age(lookedAt + ahead)}` : "";
    if (seconds < 0) lookedAt = 0;
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
      source.addEventListener(topic.split(":")[0], () => { lookedAt = Date.now(); lost(""); });
    }
    source.addEventListener("lost", (message) => {
      const { what, why } = JSON.parse(message.data);
      lost(`${what}${why ? `: ${why}` : ""}. It is tried again.`);
    });
  });
  document.addEventListener("htmx:sseError", () => lost("The connection to the server is lost. It is tried again."));

  // Begin

  const served = Date.parse(document.body.dataset.now);
  if (served) ahead = Math.round((served - Date.now()) / 1000) * 1000;
  // A page that took long to come is not a clock that is wrong.
  if (Math.abs(ahead) < 5000) ahead = 0;
  for (const one of all("nav [aria-current]")) one.scrollIntoView({ block: "nearest", inline: "center" });
  tellTimes();
  // Ticks that a browser kept over a reload.
  for (const one of all("input[name=id]:checked")) ticked.add(one.value);
  tellTicks();
  setInterval(ageEvery, 1000);
  window.awa = { find, all, say, open, span };
})();
