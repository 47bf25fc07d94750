// Runs before the first paint: applies the chosen theme, and marks that JavaScript is on.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  try {
    const theme = localStorage.getItem("awa-theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  } catch { /* storage may be blocked */ }
})();
