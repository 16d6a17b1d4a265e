// Lines at the top of the page that tell what happened.

import { button, element } from "./dom.js";
import { Refused } from "./api.js";

const SHOWN = 6000; // ms for which good news stays

/** Tell something; `kind` is good, bad or plain. Bad news stays until it is closed. */
export function notice(text, kind = "plain") {
  const place = document.getElementById("notices");
  const close = () => line.remove();
  const line = element(
    "p",
    { class: `notice ${kind}`, role: kind === "bad" ? "alert" : null },
    element("span", {}, text),
    button("Close", close, { class: "quiet small" }),
  );
  while (place.children.length > 2) place.firstElementChild.remove();
  place.append(line);
  if (kind !== "bad") setTimeout(close, SHOWN);
}

/** Do something, and tell where the broker refuses it. Gives what it gives, undefined where it was refused. */
export async function attempt(what, work) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    notice(`${what} was not done: ${error.message}`, "bad");
    return undefined;
  }
}
