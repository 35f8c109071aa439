// Shows one item at a time; the next one appears after the answer is saved.

import { get, iAm, iAmNobody, likely, me, post } from "./api.js";
import { fill } from "./guide.js";
import * as pace from "./pace.js";
import { forget, item } from "./pictures.js";

const LETTERS = { y: "yes", n: "no", u: "unsure" };
const AHEAD = 5; // number of items that are loaded in advance

const $ = (id) => document.getElementById(id);
const many = new Intl.NumberFormat("en");

let about;
let answers = []; // one letter for each item in this annotator's order; "-": not answered yet
let commands = [];
let lacking = 0;
let shown = null; // number of the item on screen
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
  $("bar").max = all;
  $("bar").value = done;
  $("count").textContent = `${many.format(done)} of ${many.format(all)}`;
  const rate = pace.perMinute();
  $("pace").textContent = rate === null ? "" : `${rate < 10 ? rate.toFixed(1) : Math.round(rate)} a minute`;
  $("left").textContent = done < all ? (pace.left(all - done) ?? "") : "";
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
  progress();
  if (screen === "ask") pace.show(number);
  else go("ask");
  const place = `Item ${number + 1} of ${answers.length}.`;
  say([said, place, found.question === before ? "" : found.question, $("earlier").textContent].filter(Boolean).join(" "));
  preload(number);
}

async function next(from, said) {
  const number = open(from);
  if (number === null) finish();
  else await show(number, said);
}

// Runs one action at a time; on an error, shows the message and stays on the item.
async function alone(task) {
  if (busy) return;
  busy = true;
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
  return alone(async () => {
    const start = performance.now();
    const number = shown;
    const took = pace.seconds(number);
    try {
      await post(`api/items/${number}/answer`, { answer, seconds: took });
    } catch (error) {
      error.message = `Not saved: ${error.message} Your answer was not taken`;
      error.message += error.status === 409 ? "." : "; give it again."; // 409: the page must be reloaded first
      throw error;
    }
    if (answers[number] === "-") pace.answered(took);
    answers[number] = answer[0];
    await next(number, `Saved: ${answer}.`);
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel(); // the message arrives after the frame is painted
      port1.onmessage = () => performance.measure("answer to next item", { start });
      port2.postMessage(null);
    });
  });
}

const back = () => alone(async () => shown > 0 && (await show(shown - 1)));

const forward = () =>
  alone(async () => {
    if (answers[shown] === "-") return;
    if (shown + 1 < answers.length) await show(shown + 1);
    else await next(0);
  });

const review = () => alone(() => show(answers.length - 1));

function finish() {
  go("done");
  progress();
  $("summary").textContent = `You answered all ${many.format(answers.length)} items as ${me.annotator}. Every answer is saved.`;
  const people = lacking === 1 ? "One more person" : `${lacking} more people`;
  $("lacking").textContent = `${people} should answer, too: params.yaml (consensus) asks for several answers an item.`;
  $("lacking").hidden = lacking === 0;
  $("commands").replaceChildren(
    ...commands.map((command) => {
      const [line, code] = [document.createElement("li"), document.createElement("code")];
      code.textContent = command;
      line.append(code);
      return line;
    }),
  );
  $("done").querySelector("h1").focus();
}

// Start ------------------------------------------------------------------------------------------------------------

async function begin() {
  const session = await get("api/session");
  iAm(session.annotator);
  me.shown = session.shown;
  answers = [...session.answers];
  commands = session.commands;
  lacking = session.lacking;
  shown = null;
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
$("help").addEventListener("click", openGuide);
$("start").addEventListener("click", closeGuide);
$("keys").checked = localStorage.getItem("keys") !== "off";
$("keys").addEventListener("change", () => localStorage.setItem("keys", $("keys").checked ? "on" : "off"));

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const onControl = event.target.closest("button, input, a");
  if (screen === "guide" && (event.key === "Escape" || (event.key === "Enter" && !onControl))) closeGuide();
  if (!$("keys").checked) return;
  if (screen === "done" && event.key === "ArrowLeft") review();
  if (screen !== "ask") return;
  const answer = LETTERS[event.key.toLowerCase()];
  if (answer) give(answer);
  else if (event.key === "ArrowLeft") back();
  else if (event.key === "ArrowRight") forward();
  else return;
  event.preventDefault();
});

alone(async () => {
  about = await get("api/about");
  $("title").textContent = about.title;
  document.title = `${about.title}: Crayon`;
  const name = about.annotators.length === 1 ? about.annotators[0] : likely();
  if (name) await enter(name);
  else askName();
}).then(() => screen === "loading" && ($("loading").hidden = true));
