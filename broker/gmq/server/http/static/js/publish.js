// The form that publishes.

import * as api from "./api.js";
import { element } from "./dom.js";
import { Refused } from "./api.js";

const NUMBERS = ["priority", "delay", "ttl"];

function field(id, label, control, hint = null) {
  control.id = `publish-${id}`;
  if (hint) control.setAttribute("aria-describedby", `publish-${id}-hint`);
  return element(
    "div",
    { class: `field field-${id}` },
    element("label", { for: control.id }, label),
    control,
    hint && element("p", { class: "hint", id: `publish-${id}-hint` }, hint),
  );
}

const number = (attributes) => element("input", { type: "number", inputmode: "decimal", ...attributes });

/** `name: value` on each line. */
function parseHeaders(text) {
  const headers = Object.create(null); // a name may be __proto__
  for (const line of text.split("\n").filter((one) => one.trim())) {
    const colon = line.indexOf(":");
    if (colon < 1) throw new Refused(0, { detail: `a header is "name: value", and "${line.trim()}" is not` });
    headers[line.slice(0, colon).trim()] = line.slice(colon + 1).trim();
  }
  return headers;
}

/** Publishes to one queue; `published` is called after that. */
export class PublishForm {
  constructor(queue, published) {
    this.queue = queue;
    this.published = published;
    this.payload = element("textarea", { rows: 5, spellcheck: "false", keydown: (event) => this.#keys(event) });
    this.controls = {
      priority: number({ min: 0, max: 9, step: 1, placeholder: "4" }),
      delay: number({ min: 0, max: 604800, step: "any", placeholder: "0" }),
      ttl: number({ min: 0, max: 604800, step: "any", placeholder: "none" }),
      key: element("input", { type: "text", maxlength: 255, autocomplete: "off", spellcheck: "false", placeholder: "none" }),
      headers: element("textarea", { rows: 2, spellcheck: "false", placeholder: "name: value" }),
    };
    this.outcome = element("p", { class: "outcome", role: "status" });
    this.submit = element("button", { type: "submit", class: "primary" }, "Publish");
    const { priority, delay, ttl, key, headers } = this.controls;
    this.root = element(
      "form",
      { class: "publish", submit: (event) => this.#submit(event) },
      field("payload", "Payload", this.payload),
      element(
        "details",
        { class: "options" },
        element("summary", {}, "Options"),
        element(
          "div",
          { class: "fields" },
          field("priority", "Priority", priority, "0 to 9, higher first"),
          field("delay", "Delay (s)", delay, "hidden for so long"),
          field("ttl", "Time to live (s)", ttl, "dropped after it"),
          field("key", "Key", key, "a repeat is not published again"),
          field("headers", "Headers", headers, "one on each line"),
        ),
      ),
      element(
        "div",
        { class: "actions" },
        this.submit,
        element("span", { class: "hint" }, element("kbd", {}, "Ctrl"), " ", element("kbd", {}, "Enter")),
        this.outcome,
      ),
    );
  }

  focus() {
    this.payload.focus();
  }

  #keys(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.root.requestSubmit();
    }
  }

  #options() {
    const options = {};
    for (const name of NUMBERS) if (this.controls[name].value !== "") options[name] = Number(this.controls[name].value);
    const headers = parseHeaders(this.controls.headers.value);
    if (Object.keys(headers).length) options.headers = headers;
    return options;
  }

  async #submit(event) {
    event.preventDefault();
    this.submit.disabled = true;
    try {
      const { ids } = await api.publish(this.queue, this.payload.value, this.controls.key.value || null, this.#options());
      this.#tell(`Published as message ${ids[0]}.`, "good");
      this.payload.value = "";
      this.published();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#tell(`Not published: ${error.message}`, "bad");
    } finally {
      this.submit.disabled = false;
    }
  }

  #tell(text, state) {
    this.outcome.dataset.state = state;
    this.outcome.textContent = text;
  }
}
