// Shows one screen at a time: one item, or a group of similar ones. After an answer, the next screen, which is loaded
// already, appears at once; the answer is saved meanwhile, and no other is accepted before that.

import { downloads, get, iAm, iAmNobody, likely, me, post } from "./api.js";
import * as closeup from "./closeup.js";
import * as grid from "./grid.js";
import { fill } from "./guide.js";
import * as pace from "./pace.js";
import * as pictures from "./pictures.js";
import * as settings from "./settings.js";

const ANSWERS = { y: "yes", n: "no", u: "unsure" }; // letters in a session's answers
const NAMES = { yes: "Yes", no: "No", unsure: "Unsure" };
const OPPOSITE = { yes: "no", no: "yes" };
const BUSY = "the page was still saving or loading. Wait a moment, then try again.";
const AHEAD = { single: 5, group: 3 }; // number of screens that are loaded in advance

const FOLLOW = 2000; // milliseconds between looks whether further pictures were chosen

const $ = (id) => document.getElementById(id);
const many = new Intl.NumberFormat("en");

let about;
let answers = []; // one letter for each item in this annotator's order; "-": not answered yet
let groups = []; // lists of the numbers of items that belong together; of one item each if there are no groups
let groupOf = []; // number of an item -> its group
let inRounds = false; // further pictures may follow when all are answered
let notes = {}; // number of an item -> note
let apart = new Set(); // items that were taken out of their groups, to be asked about one by one
let goal = 0; // number of answers that are enough for a first try; 0: there is no such number below that of all items
let steps = 0; // number of steps that can be undone
let shown = null; // numbers of the items on screen
let ignored = 0; // presses and clicks that did not count since the last one that did
let waiting; // timer until answers to the items on screen are accepted
let screen = "loading";
let busy = false; // an action that waits for the server runs
let running = Promise.resolve(); // the last of these actions
let saving = false; // an answer is not yet saved

// Screens ----------------------------------------------------------------------------------------------------------

function go(to) {
  const from = screen;
  screen = to;
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== to;
  $("help").hidden = to !== "ask";
  $("progress").hidden = !["ask", "done"].includes(to);
  $("downloads").hidden = !downloads || !["guide", "done"].includes(to);
  $("then").hidden = Boolean(downloads);
  if (to === "ask" && shown !== null) pace.show(named(shown));
  else pace.hide();
  wait();
  if (to === "ask" && from !== "ask" && shown?.length === 1) $("question").focus(); // the button with the focus is hidden now
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

const named = (numbers) => `${numbers[0]} ${numbers.length}`; // name of a screen for `pace`

const place = (numbers) => {
  const [first, last] = [numbers[0], numbers.at(-1)].map((number) => many.format(number + 1));
  return numbers.length === 1 ? `Item ${first}` : `Items ${first} to ${last}`;
};

function progress() {
  const [done, all] = [given(), answers.length];
  const isFirstTry = done < goal;
  const aim = isFirstTry ? goal : all;
  $("place").textContent = screen === "done" ? "" : place(shown);
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

// Dim the buttons until the items have been on screen long enough for an answer.
function wait() {
  clearTimeout(waiting);
  const left = screen === "ask" ? about.shortest - pace.seconds(named(shown)) : 0;
  $("answers").toggleAttribute("data-wait", left > 0);
  if (left > 0) waiting = setTimeout(wait, Math.max(1000 * left, 20));
}

function mark(isSaving) {
  saving = isSaving;
  $("answers").toggleAttribute("data-saving", saving);
  $("saved").textContent = saving ? "Saving …" : "Saved";
  $("undo").disabled = steps === 0;
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

// The screen on which an item without an answer is asked about: alone, or with all such items of its group.
function screenOf(number) {
  if (apart.has(number)) return [number];
  return groups[groupOf[number]].filter((other) => answers[other] === "-" && !apart.has(other));
}

const views = (numbers) => (numbers.length === 1 ? about.views : about.views.slice(-1));

function preload(numbers) {
  let last = numbers.at(-1);
  const isGroup = numbers.length > 1;
  for (let count = 0; count < (isGroup ? AHEAD.group : AHEAD.single); count++) {
    const next = answers.indexOf("-", last + 1);
    if (next < 0) break;
    const coming = screenOf(next);
    pictures.preload(coming, views(coming));
    last = coming.at(-1);
  }
  const group = groupOf[numbers[0]];
  if (group > 0) pictures.preload(groups[group - 1], views(groups[group - 1]));
}

const words = (number) => ANSWERS[answers[number]] ?? "";

// The answers that were given before, as a sentence; empty if there are none.
function earlier(numbers) {
  const own = numbers.map(words).filter(Boolean);
  if (own.length === 0) return "";
  if (numbers.length === 1) return `You answered ${own[0]}. Answer again to change it.`;
  const counts = Object.values(ANSWERS).map((answer) => [own.filter((one) => one === answer).length, answer]);
  return `You answered ${counts.filter(([count]) => count).map((pair) => pair.join(" ")).join(", ")}. Answer again to change all that are left in.`;
}

function display(numbers, { question, images }, said = "", out = []) {
  const before = shown === null ? "" : $("question").textContent;
  const isGroup = numbers.length > 1;
  shown = numbers;
  $("question").textContent = question;
  $("views").hidden = isGroup;
  $("grid").hidden = !isGroup;
  for (const answer of Object.values(ANSWERS)) {
    $(answer).setAttribute("aria-pressed", String(numbers.every((number) => words(number) === answer)));
  }
  $("earlier").textContent = earlier(numbers);
  $("back").disabled = groupOf[numbers[0]] === 0 && numbers.length === groups[0].length;
  $("forward").disabled = numbers.some((number) => answers[number] === "-");
  if (screen === "ask") {
    pace.show(named(numbers));
    wait();
  } else go("ask");
  if (isGroup) {
    $("views").replaceChildren();
    grid.show(images, numbers.map(words), out.map((number) => numbers.indexOf(number)));
  } else {
    if ($("grid").contains(document.activeElement)) $("question").focus({ preventScroll: true });
    $("grid").replaceChildren();
    $("views").replaceChildren(...images.map((image, at) => pictures.figure(about.views[at], image)));
  }
  label();
  progress();
  const where = `${place(numbers)} of ${answers.length}.`;
  say([said, where, question === before ? "" : question, $("earlier").textContent].filter(Boolean).join(" "));
  setTimeout(() => preload(numbers)); // after this screen is painted
}

// The names of the buttons: with pictures taken out, they count.
function label() {
  const [left, out] = shown.length > 1 ? grid.chosen() : [shown, []];
  for (const answer of Object.values(ANSWERS)) {
    const text = $(answer).querySelector("span");
    text.textContent = shown.length > 1 ? `${NAMES[answer]} to ${out.length ? left.length : "all"}` : NAMES[answer];
  }
  $("opposite").hidden = out.length === 0 || left.length === 0;
  $("yes-no").textContent = `Yes to ${left.length}, no to ${out.length}`;
  $("no-yes").textContent = `No to ${left.length}, yes to ${out.length}`;
  for (const at of out) pictures.preload([shown[at]], about.views);
}

async function show(numbers, said, out) {
  display(numbers, await pictures.wait(numbers, views(numbers)), said, out);
}

async function next(from, said) {
  const number = open(from);
  if (number === null) finish(true);
  else await show(screenOf(number), said);
}

// Runs one action at a time; on an error, shows the message and stays on the item. `what` is the name of the press that
// asked for it: if another action runs, the page says that this press did not count.
function alone(task, what = "") {
  if (busy) {
    if (what) refuse(what, BUSY);
    return running;
  }
  running = run(task);
  return running;
}

async function run(task) {
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

// Answer all pictures that are left in; with `isOpposite`, those taken out get the opposite answer.
function give(answer, isOpposite = false, pressed = performance.now()) {
  const name = NAMES[answer];
  const took = pace.seconds(named(shown));
  if (busy || saving) return refuse(name, BUSY);
  if (took < about.shortest) {
    const what = shown.length > 1 ? "the pictures were" : "the picture was";
    return refuse(name, `${what} on screen for less than ${about.shortest} s. Look, then answer.`);
  }
  const numbers = shown;
  const [left, out] = (numbers.length > 1 ? grid.chosen() : [[0], []]).map((own) => own.map((at) => numbers[at]));
  if (left.length === 0) return refuse(name, "all pictures are taken out. Put some back.");
  const said = { [answer]: left };
  if (isOpposite && out.length && answer in OPPOSITE) said[OPPOSITE[answer]] = out;
  else for (const number of out) if (answers[number] === "-") apart.add(number);
  const before = new Map(Object.values(said).flat().map((number) => [number, answers[number]]));
  accept();
  for (const [word, own] of Object.entries(said)) for (const number of own) answers[number] = word[0];
  const isFirst = [...before.values()].includes("-");
  const isChange = [...before].some(([number, letter]) => letter !== answers[number]);
  if (isFirst) pace.answered(took, before.size);
  mark(true);
  const saved = post("api/answers", { answers: said, seconds: took }).then(
    () => {
      if (isChange) steps += 1;
      mark(false);
      allIsWell();
    },
    (error) => {
      for (const [number, letter] of before) answers[number] = letter;
      for (const number of out) apart.delete(number);
      mark(false);
      error.message = `Not saved: ${error.message} Your answer was not taken`;
      error.message += error.status === 409 ? "." : "; give it again."; // 409: the page must be reloaded first
      return error;
    },
  );
  saved.then(async (error) => {
    if (!error) return;
    await running; // it may show the next screen
    await alone(() => show(numbers, "", out));
    complain(error);
  });
  const count = given();
  const isGoal = isFirst && count >= goal && count - [...before.values()].filter((letter) => letter === "-").length < goal;
  const number = open(numbers[0]);
  if (isGoal || number === null) return alone(async () => (await saved) || finish(number === null));
  const coming = screenOf(number);
  const words = `Answered ${answer}.`;
  const found = pictures.ready(coming, views(coming));
  if (!found) return alone(() => show(coming, words)).then(() => measure(pressed));
  display(coming, found, words);
  measure(pressed);
}

// For perf/page.py: the time from a key to the next screen, in the page and on the screen.
function measure(pressed) {
  performance.measure("key to next screen", { start: pressed });
  requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel(); // the message arrives after the frame is painted
    port1.onmessage = () => performance.measure("key to painted screen", { start: pressed });
    port2.postMessage(null);
  });
}

// Take back the last step, and show its items again.
function undo() {
  if (!busy && saving) return refuse("Undo", BUSY);
  if (!busy && steps === 0) return refuse("Undo", "there is nothing to undo since the page was started.");
  return alone(async () => {
    const restored = await post("api/undo", {});
    for (const [number, letter] of Object.entries(restored.answers)) answers[number] = letter;
    steps = restored.undo;
    mark(false);
    const numbers = Object.keys(restored.answers).map(Number).sort((one, other) => one - other);
    if (numbers.length > 1) for (const number of groups[groupOf[numbers[0]]]) apart.delete(number);
    await show(answers[numbers[0]] === "-" ? screenOf(numbers[0]) : numbers, "Undone.");
  }, "Undo");
}

function back() {
  const group = groupOf[shown[0]];
  const isPart = shown.length < groups[group].length;
  if (!busy && group === 0 && !isPart) return refuse("Back", "this is the first item.");
  return alone(() => show(groups[isPart ? group : group - 1]), "Back");
}

function forward() {
  if (!busy && shown.some((number) => answers[number] === "-")) return refuse("Forward", "answer this item first.");
  return alone(() => {
    const group = groupOf[shown[0]];
    const coming = groups[group].some((number) => answers[number] === "-") ? group : group + 1;
    if (coming === groups.length) return next(0);
    const open = groups[coming].find((number) => answers[number] === "-");
    return show(open === undefined ? groups[coming] : screenOf(open));
  }, "Forward");
}

const review = () => alone(() => show(given() < answers.length ? shown : groups.at(-1)));

const goOn = () => alone(() => next(shown[0]));

// Enlarge the item on screen, or the current picture of a group, and show its note.
function lookCloser(toNote) {
  return alone(async () => {
    const number = shown.length > 1 ? shown[grid.at()] : shown[0];
    const { question, images } = await pictures.wait([number], about.views);
    const note = notes[number] ?? "";
    const close = (text) => {
      if (text === note) return;
      post(`api/items/${number}/note`, { note: text }).then(
        (kept) => (notes[number] = kept.note),
        (error) => complain(new Error(`The note was not saved: ${error.message}`)),
      );
    };
    closeup.open({ question, images, views: about.views, note, close, toNote });
  });
}

// After the last item of a round: load the page's state again and again until further items are there.
async function follow() {
  const session = await get("api/session");
  if (session.shown !== me.shown) return begin("Further pictures.");
  const words = {
    choosing: "The next pictures are being chosen with your answers. This page goes on by itself.",
    failed: "The next pictures could not be chosen; the terminal in which this page was started shows why.",
    waiting: "If more pictures follow, this page goes on by itself.",
  };
  if (screen !== "done" || session.further === null) return;
  if ($("close").textContent !== words[session.further]) {
    $("close").textContent = words[session.further];
    say(words[session.further]);
  }
  if (session.further !== "failed") setTimeout(() => screen === "done" && alone(follow), FOLLOW);
}

function finish(isAll) {
  go("done");
  progress();
  $("thanks").textContent = isAll ? "All done. Thank you." : "Enough for a first try. Thank you.";
  const count = isAll ? `all ${many.format(answers.length)}` : `${many.format(given())} of ${many.format(answers.length)}`;
  $("summary").textContent = `You answered ${count} items as ${me.annotator}. Every answer is saved.`;
  $("close").textContent = isAll
    ? "You can close this page."
    : "You can stop here and close this page. You can also go on, now or later with the same link.";
  $("on").hidden = isAll;
  $("thanks").focus();
  if (isAll && inRounds) setTimeout(() => screen === "done" && alone(follow), FOLLOW);
}

// Start ------------------------------------------------------------------------------------------------------------

async function begin(said = "") {
  const session = await get("api/session");
  iAm(session.annotator);
  me.shown = session.shown;
  answers = [...session.answers];
  ({ goal, notes, undo: steps } = session);
  inRounds = Boolean(session.further);
  const sizes = session.sizes.length ? session.sizes : answers.map(() => 1);
  let first = 0;
  groups = sizes.map((size) => Array.from({ length: size }, () => first++));
  groupOf = groups.flatMap((group, number) => group.map(() => number));
  apart = new Set();
  shown = null;
  document.body.dataset.mode = session.sizes.length ? "groups" : "singles";
  $("me").textContent = session.annotator;
  $("me").hidden = false;
  pictures.forget();
  pictures.keep(Math.max(...sizes));
  mark(false);
  document.title = `${about.title}, ${session.annotator}: Crayon`;
  await fill(about);
  const done = given();
  if (done === 0) openGuide();
  else await next(0, said || `Welcome back. ${done} answers are saved.`);
  if (screen === "guide") {
    const coming = screenOf(open(0));
    pictures.preload(coming, views(coming));
    preload(coming);
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

$("naming").addEventListener("submit", (event) => {
  event.preventDefault();
  alone(() => enter($("annotator").value.trim()));
});
for (const answer of Object.values(ANSWERS)) $(answer).addEventListener("click", (event) => give(answer, false, event.timeStamp));
$("yes-no").addEventListener("click", (event) => give("yes", true, event.timeStamp));
$("no-yes").addEventListener("click", (event) => give("no", true, event.timeStamp));
$("back").addEventListener("click", back);
$("undo").addEventListener("click", undo);
$("closer").addEventListener("click", () => lookCloser(false));
$("forward").addEventListener("click", forward);
$("review").addEventListener("click", review);
$("on").addEventListener("click", goOn);
$("help").addEventListener("click", openGuide);
$("start").addEventListener("click", closeGuide);
for (const [which, make] of Object.entries(downloads ?? {})) {
  $(`download-${which}`).addEventListener("click", () => {
    const { name, text } = make();
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(new Blob([text])), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  });
}
grid.onChange(label);
settings.start();

document.addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase();
  const isUndo = (event.ctrlKey || event.metaKey) && !event.shiftKey && key === "z";
  if (closeup.isOpen()) {
    if (!event.altKey && !event.ctrlKey && !event.metaKey) closeup.key(event);
    return;
  }
  if (event.altKey || event.repeat || ((event.ctrlKey || event.metaKey) && !isUndo)) return;
  if (event.target.closest("input, select, textarea") && !isUndo && key !== "escape") return;
  const isEnter = key === "enter" && !event.target.closest("button, a");
  const useKeys = settings.useKeys();
  const action = isUndo ? "undo" : settings.actionOf(key);
  const isGroup = screen === "ask" && shown.length > 1;
  const isBack = action === "back" || key === "backspace" || (!isGroup && key === "arrowleft");
  if (screen === "guide" && (isEnter || key === "escape" || (useKeys && key === "?"))) closeGuide();
  else if (screen === "done" && isEnter && !$("on").hidden) goOn();
  else if (isGroup && grid.move(key)) void 0; // the arrow keys of check boxes are not shortcuts that could be turned off
  else if (action === "undo" && ["ask", "done"].includes(screen)) undo();
  else if (!useKeys) return;
  else if (screen === "done" && isBack) review();
  else if (screen !== "ask") return;
  else if (action in NAMES) give(action, event.shiftKey, event.timeStamp);
  else if (isBack) back();
  else if (action === "forward" || key === "arrowright") forward();
  else if (key === "z") lookCloser(false);
  else if (key === "c") lookCloser(true);
  else if (key === "?") openGuide();
  else return;
  event.preventDefault();
});

addEventListener("beforeunload", (event) => {
  if (saving) event.preventDefault();
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
