// Light, dark, or as the system has it.

const KEY = "gmq-theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };
const NAMES = { auto: "System theme", light: "Light theme", dark: "Dark theme" };
const system = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set();
let choice = kept();

function kept() {
  try {
    return NAMES[localStorage.getItem(KEY)] ? localStorage.getItem(KEY) : "auto";
  } catch {
    return "auto"; // the browser keeps nothing
  }
}

function keep() {
  try {
    if (choice === "auto") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, choice);
  } catch {
    // then it lasts as long as the page
  }
}

function apply(button, label) {
  const dark = choice === "auto" ? system.matches : choice === "dark";
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  label.textContent = NAMES[choice];
  button.title = `${NAMES[choice]}; press for the next`;
  for (const listener of listeners) listener();
}

/** Call the function whenever the colours change. Returns a function that ends this. */
export function onTheme(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Let the button choose the theme. */
export function startTheme(button, label) {
  button.addEventListener("click", () => {
    choice = NEXT[choice];
    keep();
    apply(button, label);
  });
  system.addEventListener("change", () => apply(button, label));
  apply(button, label);
}
