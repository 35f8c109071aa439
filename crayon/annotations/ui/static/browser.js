// In place of api.js on a web host: what the server does, in the annotator's browser. Answers are kept in localStorage,
// and downloaded as CSV.

import data from "./data.js";
import { me, Refused } from "./who.js";

export * from "./who.js";

const LETTERS = { yes: "y", no: "n", unsure: "u" };

const own = () => data.orders[me.annotator] ?? data.orders[""];

const item = (number) => data.items[own().order[number]];

const key = (annotator) => `crayon ${(data.orders[annotator] ?? data.orders[""]).shown} ${annotator}`;

const now = () => new Date().toISOString().replace(/[.]\d+Z/, "+00:00");

// { answers: item -> row, notes: item -> row, history: [item -> row or null before the step] }
function load(annotator = me.annotator) {
  return JSON.parse(localStorage.getItem(key(annotator))) ?? { answers: {}, notes: {}, history: [] };
}

function save(kept) {
  try {
    localStorage.setItem(key(me.annotator), JSON.stringify(kept));
  } catch {
    throw new Refused("The browser could not keep this: its storage is full or switched off.", 507);
  }
}

function session() {
  if (!own()) throw new Refused(`The annotator is none of ${data.about.annotators.join(", ")}.`, 403);
  const { answers, notes, history } = load();
  const numbers = own().order.map((_, number) => number);
  return {
    annotator: me.annotator,
    shown: own().shown,
    answers: numbers.map((number) => LETTERS[answers[item(number).item]?.answer] ?? "-").join(""),
    goal: data.goal,
    sizes: own().sizes,
    undo: history.length,
    notes: Object.fromEntries(numbers.filter((number) => item(number).item in notes).map((number) => [number, notes[item(number).item].note])),
  };
}

export async function get(path) {
  if (path === "api/about") return data.about;
  if (path === "api/session") return session();
  return { question: item(path.split("/")[2]).question };
}

export async function picture(path) {
  const [, kind, which, view] = path.replace(".png", "").split("/");
  const file = kind === "examples" ? `examples/${which}-${view}.png` : `pictures/${own().order[which]}-${view}.jpg`;
  const response = await fetch(file).catch(() => ({}));
  if (!response.ok) throw new Refused(`The picture ${file} cannot be loaded.`, response.status ?? 0);
  return response.blob();
}

function give({ answers, seconds }) {
  const kept = load();
  const before = {};
  const all = Object.entries(answers).flatMap(([answer, numbers]) => numbers.map((number) => [item(number), answer]));
  for (const [{ item: name, group }, answer] of all) {
    if (kept.answers[name]?.answer === answer) continue;
    before[name] = kept.answers[name] ?? null;
    const given = group === undefined ? "" : JSON.stringify(all.length > 1 ? { group, together: all.length } : { group });
    kept.answers[name] = {
      ...data.same,
      item: name,
      annotator: me.annotator,
      answer,
      seconds: (seconds / all.length).toFixed(2),
      timestamp: now(),
      given,
    };
  }
  if (Object.keys(before).length) kept.history.push(before);
  save(kept);
  return { saved: all.length };
}

function undo() {
  const kept = load();
  const before = kept.history.pop();
  if (!before) throw new Refused("There is nothing to undo.", 400);
  for (const [name, row] of Object.entries(before)) {
    if (row) kept.answers[name] = row;
    else delete kept.answers[name];
  }
  save(kept);
  const numbers = own().order.map((_, number) => number).filter((number) => item(number).item in before);
  const letters = numbers.map((number) => [number, LETTERS[before[item(number).item]?.answer] ?? "-"]);
  return { answers: Object.fromEntries(letters), undo: kept.history.length };
}

function note(number, { note: text }) {
  const kept = load();
  const name = item(number).item;
  if (text) kept.notes[name] = { item: name, annotator: me.annotator, note: text, timestamp: now() };
  else delete kept.notes[name];
  save(kept);
  return { note: text };
}

export async function post(path, body) {
  if (path === "api/answers") return give(body);
  if (path === "api/undo") return undo();
  return note(path.split("/")[2], body);
}

// A cell that a spreadsheet would run as a formula gets an apostrophe in the notes, as the server's file has it.
const harmless = (text) => (/^[=+\-@\t\r\n']/.test(text) ? `'${text}` : text);

const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

// The rows of everybody who answered in this browser.
function csv(which, cell) {
  const columns = data.columns[which];
  let names = data.about.annotators;
  if (names.length === 0) {
    const start = key("");
    names = Object.keys(localStorage).filter((one) => one.startsWith(start)).map((one) => one.slice(start.length));
  }
  const rows = names.flatMap((name) => Object.values(load(name)[which]));
  return [columns, ...rows.map((row) => columns.map((column) => cell(row[column])))].map((row) => `${row.map(quoted).join(",")}\n`).join("");
}

export const downloads = {
  answers: () => ({ name: `${data.file}.csv`, text: csv("answers", (text) => text) }),
  notes: () => ({ name: `${data.file}.notes.csv`, text: csv("notes", harmless) }),
};
