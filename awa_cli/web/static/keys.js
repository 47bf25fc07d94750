// Keyboard shortcuts: rows, filter, navigation.
(() => {
  "use strict";
  const { find, all, open } = window.awa;
  const entries = new Map(all("nav.navigation a").map((one) => [find("kbd", one).textContent, one]));
  let going = 0;

  function rows() {
    return all("main tbody tr").filter((one) => one.offsetParent);
  }

  function select(row) {
    if (!row) return;
    row.tabIndex = -1;
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }

  function move(step) {
    const known = rows();
    const at = known.indexOf(document.activeElement?.closest("tr"));
    select(known[at < 0 ? (step > 0 ? 0 : known.length - 1) : at + step]);
  }

  const here = () => document.activeElement?.closest("main tbody tr");
  const KEYS = {
    "/": () => (find("[data-filter]") ?? find("main input[type=search]"))?.focus(),
    "?": () => open(find("#help")),
    j: () => move(1),
    k: () => move(-1),
    x: () => here() && find("input[name=id]", here())?.click(),
    Enter: () => document.activeElement.matches("tr") && find("a[href]", here())?.click(),
    Escape: () => { for (const menu of all("details.menu[open]")) menu.open = false; },
    g: () => { going = Date.now(); },
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || find("dialog[open]")) return;
    if (event.target.matches("input:not([type=checkbox]), textarea, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const entry = Date.now() - going < 1500 && entries.get(event.key);
    going = 0;
    if (entry) { location.href = entry.href; return; }
    const act = KEYS[event.key];
    if (!act || (event.key === "Enter" && !document.activeElement.matches("tr"))) return;
    event.preventDefault();
    act();
  });

  window.awa.select = select;
})();
