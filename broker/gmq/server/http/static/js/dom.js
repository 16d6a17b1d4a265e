// Elements made of data. Text only ever becomes text: names and payloads come from anybody.

/**
 * An element. Attributes whose value is a function are listeners, `true` is an attribute without a value, null, undefined and false none.
 * Children are nodes, text or numbers.
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, String(value));
  }
  made.append(
    ...children.filter((child) => child !== null && child !== undefined).map((child) => (child instanceof Node ? child : String(child))),
  );
  return made;
}

/** A button. */
export function button(label, onclick, attributes = {}) {
  return element("button", { type: "button", click: onclick, ...attributes }, label);
}

/** An icon of `icons/`; style.css knows its name. */
export function icon(name) {
  return element("span", { class: `icon icon-${name}`, "aria-hidden": "true" });
}

/** Set the text where it differs, so that an element that did not change is left alone. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Make exactly these the children, in this order, moving as few as possible. */
export function arrange(parent, children) {
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  children.forEach((child, at) => {
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] ?? null);
  });
}

/** Whether the person is writing into something. */
export function writing(target) {
  return target instanceof HTMLElement && (target.matches("input, textarea, select") || target.isContentEditable);
}
