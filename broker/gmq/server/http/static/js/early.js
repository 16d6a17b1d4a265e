// Before the first paint, so that a dark page does not flash: the chosen theme, or the system's.
"use strict";
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("gmq-theme");
  } catch {
    // a browser that keeps nothing: as the system has it
  }
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
