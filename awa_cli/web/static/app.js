// Theme, timestamps, notices, dialogs and copy buttons.
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
    try { localStorage.setItem("awa-theme", root.dataset.theme); } catch { /* storage may be blocked */ }
    document.dispatchEvent(new Event("awa:theme"));
  }

  // Timestamps: ages are kept up to date, times are shown in the viewer's time zone

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

  // Ages go by the clock of the server, which is ahead of this clock by this many milliseconds.
  let ahead = 0;

  function age(moment, past) {
    const exact = (Date.now() + ahead - moment) / 1000;
    // What has been is not to come, whatever the clocks say.
    const seconds = past ? Math.max(exact, 0) : exact;
    const text = span(Math.abs(seconds));
    if (text === "0s") return "now";
    return seconds > 0 ? `${text} ago` : `in ${text}`;
  }

  const zoned = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
  const time = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  const CLOCKS = {
    second: new Intl.DateTimeFormat(undefined, { ...time, fractionalSecondDigits: 3 }),
    day: new Intl.DateTimeFormat(undefined, { weekday: "short", day: "2-digit", month: "short", ...time, timeZoneName: "short" }),
    year: new Intl.DateTimeFormat(undefined, { day: "2-digit", month: "short", year: "numeric", ...time, timeZoneName: "short" }),
  };

  function updateTimes() {
    for (const time of all("time[datetime]")) {
      const moment = new Date(time.dateTime);
      if (!time.dataset.localized) {
        time.title = `${zoned.format(moment)}\n${time.title}`;
        if (time.dataset.clock) time.textContent = CLOCKS[time.dataset.clock].format(moment);
        time.dataset.localized = "1";
      }
      if ("age" in time.dataset) {
        const text = age(moment, time.dataset.age === "past");
        if (time.textContent !== text) time.textContent = text;
      }
      if ("span" in time.dataset) {
        const text = span(Math.max(Date.now() + ahead - moment, 0) / 1000);
        if (time.textContent !== text) time.textContent = text;
      }
    }
  }

  // Notices and dialogs

  let hiding = 0;

  function notify(text, bad = false, to = null) {
    const within = find("dialog[open] .error");
    if (bad && within) { within.textContent = text; return; }
    const box = find("#notice");
    box.textContent = text;
    if (to) {
      const link = document.createElement("a");
      link.href = base + to;
      link.textContent = "Show";
      box.append(" ", link);
    }
    box.className = bad ? "shown bad" : "shown";
    clearTimeout(hiding);
    hiding = setTimeout(() => { box.className = ""; }, bad ? 12000 : 5000);
  }

  function open(dialog) {
    dialog.returnValue = "no";
    if (!dialog.open) dialog.showModal();
    return new Promise((done) => {
      // The dialog may be open again when its previous close event arrives.
      dialog.addEventListener("close", function ended() {
        if (dialog.open) return;
        dialog.removeEventListener("close", ended);
        done(dialog.returnValue);
      });
    });
  }

  // A button asks for confirmation; for a risky action, Enter does not confirm.
  document.addEventListener("htmx:confirm", async (event) => {
    const { question, elt } = event.detail;
    if (!question) return;
    event.preventDefault();
    const risky = Number(elt.dataset.danger) >= 2;
    const dialog = find("#ask");
    dialog.classList.toggle("risky", risky);
    find("#ask-question").textContent = question;
    find("#ask-note").textContent = elt.dataset.note || (risky ? "This cannot be undone." : "");
    const verb = elt.dataset.verb || "Yes";
    find("#ask-yes").textContent = verb;
    // Two buttons must not both say Cancel.
    find("#ask-no").textContent = verb.startsWith("Cancel") ? "Close" : "Cancel";
    const answer = open(dialog);
    find(risky ? "#ask-no" : "#ask-yes").focus();
    if ((await answer) !== "yes") return;
    if (elt.isConnected) event.detail.issueRequest(true);
    // The page was updated meanwhile and the button is gone: send its request all the same.
    else htmx.ajax("POST", elt.getAttribute("hx-post"), { source: document.body, swap: "none", values: JSON.parse(elt.getAttribute("hx-vals") || "{}") });
  });

  document.body.addEventListener("notice", (event) => notify(event.detail.text, false, event.detail.to));
  document.addEventListener("htmx:sendError", () => notify("The server does not answer.", true));
  document.addEventListener("htmx:responseError", (event) => {
    const { xhr, elt } = event.detail;
    // A failed update is retried at the next event, and the banner shows the reason.
    if (elt.hasAttribute("hx-get") && xhr.status === 503) return;
    let text = `${xhr.status} ${xhr.statusText}`;
    try {
      const { what, why, do: then } = JSON.parse(xhr.responseText);
      text = [what, why && `why: ${why}`, then && `do: ${then}`].filter(Boolean).join("\n");
    } catch { /* not a problem document */ }
    notify(text, true);
  });

  async function copy(button) {
    const from = button.dataset.copyFrom;
    const text = from ? find(from).textContent : button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
      notify("Copied.");
    } catch {
      notify(`Copying failed. Copy this text: ${text}`);
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if ("copy" in button.dataset || "copyFrom" in button.dataset) copy(button);
    if ("themeSwitch" in button.dataset) switchTheme();
    if (button.dataset.open) open(find(`#${button.dataset.open}`));
    if ("close" in button.dataset) button.closest("dialog").close();
    if ("untick" in button.dataset) awa.untick();
    button.closest("details.menu")?.removeAttribute("open");
  });

  // A dialog opens when its content is loaded, and closes when its form succeeds.
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target.id !== "form") return;
    open(event.detail.target);
    find("[data-focus]", event.detail.target)?.focus();
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!event.detail.successful || !("closes" in event.detail.elt.dataset)) return;
    event.detail.elt.closest("dialog").close();
    awa.untick();
  });
  document.addEventListener("click", (event) => {
    for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });

  // Start

  const served = Date.parse(document.body.dataset.now);
  if (served) ahead = Math.round((served - Date.now()) / 1000) * 1000;
  // A small difference comes from a slow page, not from a wrong clock.
  if (Math.abs(ahead) < 5000) ahead = 0;
  for (const one of all("nav [aria-current]")) one.scrollIntoView({ block: "nearest", inline: "center" });
  updateTimes();
  setInterval(() => { if (!document.hidden) updateTimes(); }, 1000);
  window.awa = { find, all, notify, open, span, updateTimes };
})();
