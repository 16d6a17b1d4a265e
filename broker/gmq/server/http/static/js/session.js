// Who is logged in.

import { setText } from "./dom.js";

/** Show the button that logs out, where somebody is logged in. */
export async function startSession(button) {
  const user = await userOfSession();
  if (user === null) return;
  setText(button, `Log out ${user}`);
  button.hidden = false;
  button.addEventListener("click", async () => {
    await fetch("logout", { method: "POST" });
    location.replace("login");
  });
}

/** The user's name; null where nobody is logged in. Whoever has to log in, and is not any more, is led to the page for it. */
export async function userOfSession() {
  const response = await fetch("session", { cache: "no-store" });
  if (response.status === 401) location.replace("login");
  return response.ok ? (await response.json()).user : null;
}
