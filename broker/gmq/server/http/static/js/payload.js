// A payload as a person reads it: text, JSON or hex, whichever it is, or what the person chooses.

import { button, element } from "./dom.js";
import { bytes as size } from "./format.js";

const FIRST = { text: 4096, json: 16384, hex: 1024 }; // characters, or bytes of hex, that are shown at once
const JSON_LIMIT = 1 << 20; // bytes up to which JSON is looked for
const DEEPEST = 32; // levels that are indented: with each level more, a few brackets would make lines too long for any memory
const WIDTH = 16; // bytes of a line of hex
const NAMES = { text: "Text", json: "JSON", hex: "Hex" };
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/;
let groups = 0;

export function decodeBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** The payload in each form that it has, and which one suits it. */
function forms(payload) {
  let text = null;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(payload);
  } catch {
    return { suits: "hex", text, json: null };
  }
  const json = pretty(text, payload.length);
  if (json !== null) return { suits: "json", text, json };
  return { suits: CONTROLS.test(text) ? "hex" : "text", text, json };
}

/** JSON with line breaks; null where it is none, or just a word or a number. Numbers stay as they were written. */
function pretty(text, length) {
  if (length > JSON_LIMIT || !/^\s*[[{]/.test(text)) return null;
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  return indented(text);
}

/** Good JSON, broken into lines. It is not parsed and written anew, as that would change large numbers and double names. */
function indented(text) {
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g);
  const parts = [];
  let depth = 0;
  const line = () => parts.push("\n", "  ".repeat(Math.min(depth, DEEPEST)));
  tokens.forEach((token, at) => {
    if (token === "{" || token === "[") {
      parts.push(token);
      if (tokens[at + 1] !== "}" && tokens[at + 1] !== "]") {
        depth += 1;
        line();
      }
    } else if (token === "}" || token === "]") {
      if (tokens[at - 1] !== "{" && tokens[at - 1] !== "[") {
        depth -= 1;
        line();
      }
      parts.push(token);
    } else if (token === ",") {
      parts.push(token);
      line();
    } else {
      parts.push(token === ":" ? ": " : token);
    }
  });
  return parts.join("");
}

/** Lines of offset, bytes and characters. */
function hex(payload) {
  const lines = [];
  for (let start = 0; start < payload.length; start += WIDTH) {
    const part = payload.subarray(start, start + WIDTH);
    const digits = Array.from(part, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const letters = Array.from(part, (byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${start.toString(16).padStart(8, "0")}  ${digits.padEnd(WIDTH * 3 - 1)}  ${letters}`);
  }
  return lines.join("\n");
}

/** The payload, with a switch between its forms. */
export function payloadView(payload) {
  const { suits, text, json } = forms(payload);
  const shown = element("pre", { class: "payload", tabindex: "0", "aria-label": "The payload as it is" });
  const all = button("", () => render(form, true), { class: "quiet small", hidden: true });
  const group = `form-${++groups}`;
  const choices = element("fieldset", { class: "forms" }, element("legend", { class: "unseen" }, "Show the payload as"));
  let form = suits;

  function render(chosen, whole = false) {
    form = chosen;
    const most = whole ? Infinity : FIRST[chosen];
    const source = { text: text ?? "", json: json ?? "", hex: payload }[chosen];
    const cut = source.length > most ? (chosen === "hex" ? source.subarray(0, most) : source.slice(0, most)) : source;
    shown.textContent = chosen === "hex" ? hex(cut) : cut;
    shown.dataset.form = chosen;
    all.hidden = cut.length === source.length;
    all.textContent = `Show all of it (${size(payload.length)})`;
  }

  for (const [value, available] of [
    ["text", text !== null],
    ["json", json !== null],
    ["hex", true],
  ]) {
    const input = element("input", {
      type: "radio",
      name: group,
      value,
      id: `${group}-${value}`,
      disabled: !available,
      change: () => render(value),
    });
    input.checked = value === suits;
    choices.append(input, element("label", { for: `${group}-${value}` }, NAMES[value]));
  }
  render(suits);
  if (payload.length === 0) return element("p", { class: "hint" }, "The payload is empty.");
  return element("div", { class: "payload-box" }, choices, shown, all);
}
