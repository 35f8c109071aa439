// Shows one item at a time; the next one appears after the answer is saved.

import { get, iAm, iAmNobody, likely, me, post } from "./api.js";
import { fill } from "./guide.js";
import * as pace from "./pace.js";
import { forget, item } from "./pictures.js";

const LETTERS = { y: "yes", n: "no", u: "unsure" };
const NAMES = { yes: "Yes", no: "No", unsure: "Unsure" };
const BUSY = "the page was still saving or loading. Wait for the picture, then try again.";
const AHEAD = 5; // number of items that are loaded in advance

const $ = (id) => document.getElementById(id);
const many = new Intl.NumberFormat("en");

let about;
let answers = []; // one letter for each item in this annotator's order; "-": not answered yet
let goal = 0; // number of answers that are enough for a first try; 0: there is no such number below that of all items
let shown = null; // number of the item on screen
let ignored = 0; // presses and clicks that did not count since the last one that did
let waiting; // timer until answers to the item on screen are accepted
let screen = "loading";
let busy = false;

// Screens ----------------------------------------------------------------------------------------------------------

function go(to) {
  const from = screen;
  screen = to;
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== to;
  $("help").hidden = to !== "ask";
  $("progress").hidden = !["ask", "done"].includes(to);
  if (to === "ask" && shown !== null) pace.show(shown);
  else pace.hide();
  wait();
  if (to === "ask" && from !== "ask") $("question").focus(); // the button that had the focus is hidden now
}

function complain(error) {
  $("alert").textContent = error.message;
  $("alert").hidden = false;
}

function allIsWell() {
  $("alert").hidden = true;
}

const say = (text) => ($("status").textContent = text);

const given = () => answers.reduce((count, letter) => count + (letter !== "-"), 0);

function progress() {
  const [done, all] = [given(), answers.length];
  const isFirstTry = done < goal;
  const aim = isFirstTry ? goal : all;
  $("place").textContent = screen === "done" ? "" : `Item ${many.format(shown + 1)}`;
  $("bar").max = aim;
  $("bar").value = done;
  $("count").textContent = `${many.format(done)} of ${many.format(aim)} ${isFirstTry ? "for a first try" : "answered"}`;
  $("all").textContent = isFirstTry ? `${many.format(all)} in all` : goal ? "enough for a first try" : "";
  const rate = pace.perMinute();
  $("pace").textContent = rate === null ? "" : `${rate < 10 ? rate.toFixed(1) : Math.round(rate)} a minute`;
  $("left").textContent = done < aim ? (pace.left(aim - done) ?? "") : "";
}

// Show, also to screen readers, that a press or click did not count, and why.
function refuse(what, why) {
  ignored += 1;
  $("refusal").textContent = `${ignored === 1 ? `${what} was` : `${ignored} presses were`} not counted: ${why}`;
}

function accept() {
  ignored = 0;
  $("refusal").textContent = "";
}

// Dim the buttons until the item has been on screen long enough for an answer.
function wait() {
  clearTimeout(waiting);
  const left = screen === "ask" ? about.shortest - pace.seconds(shown) : 0;
  $("answers").toggleAttribute("data-wait", left > 0);
  if (left > 0) waiting = setTimeout(wait, Math.max(1000 * left, 20));
}

// Items ------------------------------------------------------------------------------------------------------------

// The first item without an answer at or after `from`, then from the start; null if all are answered.
function open(from) {
  for (const start of [from, 0]) {
    const found = answers.indexOf("-", start);
    if (found >= 0) return found;
  }
  return null;
}

function preload(number) {
  let next = number;
  for (let count = 0; count < AHEAD; count++) {
    next = answers.indexOf("-", next + 1);
    if (next < 0) break;
    item(next, about.views).catch(() => {});
  }
  if (number > 0) item(number - 1, about.views).catch(() => {});
}

async function show(number, said = "") {
  const found = await item(number, about.views);
  const before = shown === null ? "" : $("question").textContent;
  shown = number;
  $("question").textContent = found.question;
  $("views").replaceChildren(...found.figures.map(({ frame }) => frame));
  const earlier = LETTERS[answers[number]];
  for (const answer of Object.values(LETTERS)) $(answer).setAttribute("aria-pressed", String(answer === earlier));
  $("earlier").textContent = earlier ? `You answered ${earlier}. Answer again to change it.` : "";
  $("back").disabled = number === 0;
  $("forward").disabled = answers[number] === "-";
  if (screen === "ask") {
    pace.show(number);
    wait();
  } else go("ask");
  progress();
  const place = `Item ${number + 1} of ${answers.length}.`;
  say([said, place, found.question === before ? "" : found.question, $("earlier").textContent].filter(Boolean).join(" "));
  preload(number);
}

async function next(from, said) {
  const number = open(from);
  if (number === null) finish(true);
  else await show(number, said);
}

// Runs one action at a time; on an error, shows the message and stays on the item. `what` is the name of the press that
// asked for it: if another action runs, the page says that this press did not count.
async function alone(task, what = "") {
  if (busy) {
    if (what) refuse(what, BUSY);
    return;
  }
  busy = true;
  accept();
  try {
    await task();
    allIsWell();
  } catch (error) {
    complain(error);
  } finally {
    busy = false;
  }
}

function give(answer) {
  const took = pace.seconds(shown);
  if (!busy && took < about.shortest) {
    refuse(NAMES[answer], `the picture was on screen for less than ${about.shortest} s. Look, then answer.`);
    return;
  }
  return alone(async () => {
    const start = performance.now();
    const number = shown;
    try {
      await post(`api/items/${number}/answer`, { answer, seconds: took });
    } catch (error) {
      error.message = `Not saved: ${error.message} Your answer was not taken`;
      error.message += error.status === 409 ? "." : "; give it again."; // 409: the page must be reloaded first
      throw error;
    }
    const isFirst = answers[number] === "-";
    if (isFirst) pace.answered(took);
    answers[number] = answer[0];
    if (isFirst && given() === goal) finish(false);
    else await next(number, `Saved: ${answer}.`);
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel(); // the message arrives after the frame is painted
      port1.onmessage = () => performance.measure("answer to next item", { start });
      port2.postMessage(null);
    });
  }, NAMES[answer]);
}

function back() {
  if (!busy && shown === 0) return refuse("Back", "this is the first item.");
  return alone(() => show(shown - 1), "Back");
}

function forward() {
  if (!busy && answers[shown] === "-") return refuse("Forward", "answer this item first.");
  return alone(() => (shown + 1 < answers.length ? show(shown + 1) : next(0)), "Forward");
}

const review = () => alone(() => show(given() < answers.length ? shown : answers.length - 1));

const goOn = () => alone(() => next(shown));

function finish(isAll) {
  go("done");
  progress();
  $("thanks").textContent = isAll ? "All done. Thank you." : "Enough for a first try. Thank you.";
  const count = isAll ? `all ${many.format(answers.length)}` : `${many.format(goal)} of ${many.format(answers.length)}`;
  $("summary").textContent = `You answered ${count} items as ${me.annotator}. Every answer is saved.`;
  $("close").textContent = isAll
    ? "You can close this page."
    : "You can stop here and close this page. You can also go on, now or later with the same link.";
  $("on").hidden = isAll;
  $("thanks").focus();
}

// Start ------------------------------------------------------------------------------------------------------------

async function begin() {
  const session = await get("api/session");
  iAm(session.annotator);
  me.shown = session.shown;
  answers = [...session.answers];
  goal = session.goal;
  shown = null;
  $("me").textContent = session.annotator;
  $("me").hidden = false;
  forget();
  document.title = `${about.title}, ${session.annotator}: Crayon`;
  await fill(about);
  const done = given();
  if (done === 0) openGuide();
  else await next(0, `Welcome back. ${done} answers are saved.`);
  if (screen === "guide") {
    item(open(0), about.views).catch(() => {});
    preload(open(0));
  }
}

function openGuide() {
  $("start").querySelector("span").textContent = shown === null ? "Start" : "Go on";
  go("guide");
  $("guide").querySelector("h1").focus();
  scrollTo(0, 0);
}

function closeGuide() {
  return alone(async () => {
    if (shown === null) await next(0);
    else go("ask");
    scrollTo(0, 0);
  });
}

function askName(why) {
  go("name");
  $("me").hidden = true;
  $("named").textContent = why ?? about.named;
  $("annotator").setAttribute("aria-invalid", String(Boolean(why)));
  if (about.annotators.length) $("who").textContent = `One of ${about.annotators.join(", ")}.`;
  $("annotator").focus();
}

async function enter(name) {
  if (!new RegExp(`^(?:${about.pattern})$`).test(name)) { // headers cannot carry all characters
    iAmNobody();
    askName(about.named);
    return;
  }
  me.annotator = name;
  try {
    await begin();
  } catch (error) {
    if (![400, 403].includes(error.status)) throw error;
    iAmNobody();
    askName(error.message);
  }
}

document.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  alone(() => enter($("annotator").value.trim()));
});
for (const answer of Object.values(LETTERS)) $(answer).addEventListener("click", () => give(answer));
$("back").addEventListener("click", back);
$("forward").addEventListener("click", forward);
$("review").addEventListener("click", review);
$("on").addEventListener("click", goOn);
$("help").addEventListener("click", openGuide);
$("start").addEventListener("click", closeGuide);
$("keys").checked = localStorage.getItem("keys") !== "off";
$("keys").addEventListener("change", () => localStorage.setItem("keys", $("keys").checked ? "on" : "off"));

document.addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase();
  const isUndo = (event.ctrlKey || event.metaKey) && !event.shiftKey && key === "z";
  if (event.altKey || event.repeat || ((event.ctrlKey || event.metaKey) && !isUndo)) return;
  const isEnter = key === "enter" && !event.target.closest("button, input, a");
  const isBack = isUndo || key === "arrowleft" || key === "backspace";
  const answer = isUndo ? undefined : LETTERS[key];
  const useKeys = $("keys").checked;
  if (screen === "guide" && (isEnter || key === "escape" || (useKeys && key === "?"))) closeGuide();
  else if (screen === "done" && isEnter && !$("on").hidden) goOn();
  else if (!useKeys && !isUndo) return;
  else if (screen === "done" && isBack) review();
  else if (screen !== "ask") return;
  else if (answer) give(answer);
  else if (isBack) back();
  else if (key === "arrowright") forward();
  else if (key === "?") openGuide();
  else return;
  event.preventDefault();
});

alone(async () => {
  about = await get("api/about");
  $("title").textContent = about.title;
  $("slowly").hidden = about.shortest === 0;
  $("slowly").textContent = `An answer counts once the picture has been on screen for ${about.shortest} s.`;
  document.title = `${about.title}: Crayon`;
  const name = about.annotators.length === 1 ? about.annotators[0] : likely();
  if (name) await enter(name);
  else askName();
}).then(() => screen === "loading" && ($("loading").hidden = true));
