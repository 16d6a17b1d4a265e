// The login page: the password goes to the broker alone, and stays nowhere.

import { setText } from "./dom.js";

const form = document.getElementById("login");
const why = document.getElementById("why");
const submit = form.querySelector("button");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { user, password } = form.elements;
  submit.disabled = true;
  why.hidden = true;
  const problem = await login(user.value, password.value);
  submit.disabled = false;
  if (problem === "") {
    location.replace("."); // what is behind # went with the way here
    return;
  }
  setText(why, problem);
  why.hidden = false;
  password.value = "";
  password.focus();
});

/** Log in; why that is not possible, or nothing. */
async function login(user, password) {
  try {
    const response = await fetch("login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ user, password }),
    });
    if (response.ok) return "";
    if (response.status === 401) return "The user or the password is wrong.";
    const answer = await response.json();
    return `The broker did not let you in: ${answer.detail}`;
  } catch {
    return "The broker cannot be reached.";
  }
}
