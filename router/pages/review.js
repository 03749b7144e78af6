// One reviewer at one review. Answers are hostile until shown otherwise: they only ever become text nodes.
"use strict";

const $ = (id) => document.getElementById(id);
const review = decodeURIComponent(location.pathname.split("/")[3] || "");
const SAID = { left: "Answer 1 is better", right: "Answer 2 is better", tie: "A tie", skip: "Skipped" };
const KEYS = {
  ArrowLeft: "left", 1: "left", ArrowRight: "right", 2: "right", ArrowDown: "tie", 0: "tie", " ": "tie", s: "skip",
};

let duel = null;
let more = false;
let busy = false;

async function ask(method, path, body, headers) {
  const response = await fetch(path, {
    method,
    headers: { ...headers, ...(body === undefined ? {} : { "content-type": "application/json" }) },
    body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store",
  });
  const found = await response.json().catch(() => null);
  if (!response.ok) {
    const error = new Error(found?.error?.message || `the router answered ${response.status}`);
    error.status = response.status;
    throw error;
  }
  return found;
}

function readLink() {
  const given = new URLSearchParams(location.hash.slice(1));
  return { reviewer: given.get("reviewer") || "", token: given.get("token") || "" };
}

function asReviewer(method, path, body) {
  const { reviewer, token } = readLink();
  return ask(method, `/review/${encodeURIComponent(review)}${path}`, body, {
    "x-flytewheel-reviewer": encodeURIComponent(reviewer),
    "x-flytewheel-review-token": token,
  });
}

function announce(text, wrong = false) {
  $("said").textContent = text;
  $("said").classList.toggle("wrong", wrong);
}

// ---------------------------------------------------------------- what is shown

function fill(id, text) {
  const place = $(id);
  const empty = text.trim() === "";
  place.textContent = empty ? "(an empty answer)" : text;
  place.classList.toggle("empty", empty);
  place.scrollTop = 0;
}

function showOnly(id) {
  for (const each of ["duel", "end", "desk"]) $(each).hidden = each !== id;
  $("controls").hidden = id === "desk" || (id === "end" && $("end").dataset.kind === "wrong");
  for (const each of ["say-left", "say-right", "say-tie", "say-skip", "comment"]) $(each).disabled = id !== "duel";
}

function showPrompt(turns) {
  const last = turns[turns.length - 1];
  $("question").textContent = last.content;
  const before = turns.slice(0, -1);
  $("before").hidden = before.length === 0;
  $("before").open = false;
  const characters = before.reduce((sum, turn) => sum + turn.content.length, 0);
  $("before-name").textContent = `Context and earlier turns (${characters.toLocaleString("en")} characters)`;
  $("turns").replaceChildren(...before.map((turn) => {
    const box = document.createElement("div");
    const role = document.createElement("p");
    const text = document.createElement("div");
    role.className = "role";
    role.textContent = turn.role;
    text.className = "text";
    text.dir = "auto";
    text.textContent = turn.content;
    box.append(role, text);
    return box;
  }));
}

function showStanding(found) {
  const { duels, answered, labelled, seconds } = found.progress;
  $("progress").hidden = false;
  $("bar").max = Math.max(1, duels);
  $("bar").value = answered;
  $("count").textContent = `${answered} of ${duels} answered · ${labelled} by you`;
  $("who").hidden = false;
  $("who").textContent = found.reviewer;
  const { kappa, low, high, shared } = found.agreement;
  const figure = (value) => (value === null ? "?" : value.toFixed(2));
  $("agreement").hidden = false;
  $("agreement").textContent = kappa === null ? "κ cannot tell yet" : `κ ${figure(kappa)} [${figure(low)}, ${figure(high)}] · ${shared} shared`;
  $("agreement").title = found.agreement.said;
  document.title = `${answered} of ${duels} · Review`;
  return seconds;
}

function showEnd(title, text, kind = "done") {
  duel = null;
  $("end").dataset.kind = kind;
  $("end-title").textContent = title;
  $("end-text").textContent = text;
  $("more").hidden = true;
  showOnly("end");
  $("end-title").focus({ preventScroll: true });
}

async function showNext() {
  const found = await asReviewer("POST", `/next${more ? "?more=true" : ""}`);
  const seconds = showStanding(found);
  if (!found.open) {
    showEnd("This review is closed", "Its labels have gone into the next data set. Thank you.", "wrong");
    return;
  }
  duel = found.duel;
  if (duel === null) {
    showEnd("All answered. Thank you!", "Nothing is left for you here. You may close this page, or take an answer back with U.");
    if (seconds > 0 && !more) {
      $("more").hidden = false;
      $("more").textContent = `Give a second opinion (${seconds})`;
    }
    return;
  }
  showPrompt(duel.prompt);
  fill("left", duel.left);
  fill("right", duel.right);
  $("comment").value = duel.comment;
  showOnly("duel");
  scrollTo(0, 0);
  $("question").focus({ preventScroll: true });
}

// ---------------------------------------------------------------- what is said

// One thing at a time: a key pressed while an answer is on its way would judge a pair that nobody has seen.
async function once(action) {
  if (busy) return;
  busy = true;
  document.body.setAttribute("aria-busy", "true");
  try {
    await action();
  } catch (error) {
    announce(`${error.message}. Try again.`, true);
  } finally {
    busy = false;
    document.body.removeAttribute("aria-busy");
  }
}

function say(choice) {
  return once(async () => {
    if (duel === null) return;
    await asReviewer("POST", "/labels", { duel: duel.id, choice, comment: $("comment").value });
    await showNext();
    announce(`${SAID[choice]}. U takes it back.`);
  });
}

function undo() {
  return once(async () => {
    const { undone } = await asReviewer("POST", "/undo");
    await showNext();
    announce(undone === null ? "There is nothing to take back." : "Taken back: judge this pair again.");
  });
}

function listen() {
  for (const choice of ["left", "right", "tie", "skip"]) $(`say-${choice}`).addEventListener("click", () => say(choice));
  $("undo").addEventListener("click", undo);
  $("help").addEventListener("click", () => $("keys").showModal());
  $("more").addEventListener("click", () => { more = true; once(showNext); });
  addEventListener("hashchange", () => location.reload());
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
    const at = event.target;
    if (at.matches("textarea, input")) {
      if (event.key === "Escape") $("question").focus({ preventScroll: true });
      return;
    }
    if ($("keys").open || $("controls").hidden) return;
    if (at.matches("button, summary, a") && [" ", "Enter"].includes(event.key)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = {
      u: undo, Backspace: undo, "?": () => $("keys").showModal(), c: () => $("comment").focus(),
    }[key] || (Object.hasOwn(KEYS, key) && duel !== null ? () => say(KEYS[key]) : null);
    if (action === null) return;
    event.preventDefault();
    action();
  });
}

// ---------------------------------------------------------------- for operators

function listReviews(found, key) {
  $("desk-said").textContent = found.length ? "" : "No evaluation has put duels up for review yet.";
  $("reviews").replaceChildren(...found.map((each) => {
    const item = document.createElement("li");
    const name = document.createElement("strong");
    const facts = document.createElement("small");
    name.textContent = each.run;
    facts.textContent = `${each.model} · ${each.open ? "open" : "closed"} · ${each.labelled} of ${each.duels} duels labelled`
      + (each.reviewers.length ? ` · ${each.reviewers.join(", ")}` : "");
    item.append(name, facts);
    if (each.open) item.append(makeLinkForm(each.review, key));
    return item;
  }));
}

function makeLinkForm(id, key) {
  const form = document.createElement("form");
  const input = document.createElement("input");
  const button = document.createElement("button");
  const link = document.createElement("a");
  input.placeholder = "Reviewer's name";
  input.setAttribute("aria-label", "Reviewer's name");
  input.required = true;
  input.maxLength = 80;
  button.className = "choice";
  button.textContent = "Make link";
  form.append(input, button, link);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    once(async () => {
      const made = await ask("POST", `/review/${encodeURIComponent(id)}/links`, { reviewer: input.value }, key);
      link.href = made.path;
      link.textContent = `Link for ${made.reviewer}`;
    });
  });
  return form;
}

function showDesk() {
  showOnly("desk");
  $("sign-in").addEventListener("submit", (event) => {
    event.preventDefault();
    once(async () => {
      const key = { authorization: `Bearer ${$("key").value}` };
      listReviews((await ask("GET", "/review", undefined, key)).reviews, key);
    });
  });
}

function begin() {
  listen();
  if (!review || !readLink().reviewer) {
    showDesk();
    return;
  }
  showNext().catch((error) => {
    showEnd(error.status === 401 ? "This link does not open the review" : "The review cannot be shown", error.message, "wrong");
  });
}

begin();
