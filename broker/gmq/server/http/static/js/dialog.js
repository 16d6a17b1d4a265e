// Questions that have to be answered before something cannot be undone, or needs a name.

import { button, element } from "./dom.js";

function open(content, focus) {
  const before = document.activeElement;
  const dialog = element("dialog", { "aria-labelledby": "dialog-title" }, content);
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (before instanceof HTMLElement && before.isConnected) before.focus();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
  document.body.append(dialog);
  dialog.showModal();
  focus.focus();
  return dialog;
}

/** Ask whether to do `verb` to what is named; resolves to whether the person agreed. */
export function confirm({ title, name, text, verb }) {
  return new Promise((resolve) => {
    let agreed = false;
    const cancel = button("Cancel", () => dialog.close());
    const agree = button(
      verb,
      () => {
        agreed = true;
        dialog.close();
      },
      { class: "danger" },
    );
    const dialog = open(
      element(
        "div",
        { class: "dialog" },
        element("h2", { id: "dialog-title" }, title),
        element("p", { class: "dialog-name" }, name),
        element("p", {}, text),
        element("div", { class: "actions end" }, cancel, agree),
      ),
      cancel,
    );
    dialog.addEventListener("close", () => resolve(agreed));
  });
}

/** Ask for a name; resolves to it, or to null. */
export function askName({ title, label, verb, hint }) {
  return new Promise((resolve) => {
    let given = null;
    const field = element("input", {
      id: "dialog-field",
      type: "text",
      required: true,
      maxlength: 255,
      autocomplete: "off",
      spellcheck: "false",
      "aria-describedby": "dialog-hint",
    });
    const form = element(
      "form",
      {
        class: "dialog",
        submit: (event) => {
          event.preventDefault();
          given = field.value;
          dialog.close();
        },
      },
      element("h2", { id: "dialog-title" }, title),
      element("label", { for: "dialog-field" }, label),
      field,
      element("p", { class: "hint", id: "dialog-hint" }, hint),
      element(
        "div",
        { class: "actions end" },
        button("Cancel", () => dialog.close()),
        element("button", { type: "submit", class: "primary" }, verb),
      ),
    );
    const dialog = open(form, field);
    dialog.addEventListener("close", () => resolve(given));
  });
}
