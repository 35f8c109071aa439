// The overview for the operator; it is loaded again every few seconds.

import { get } from "./api.js";

const EVERY = 5000; // milliseconds

const $ = (id) => document.getElementById(id);
const many = new Intl.NumberFormat("en");
const percent = (share) => (share === null ? "–" : `${Math.round(100 * share)}%`);
const decimal = (value, digits) => (value === null ? "–" : value.toFixed(digits));
const local = (time) => (time ? new Date(time).toLocaleString() : "–");

const ANNOTATORS = {
  Annotator: (one) => one.annotator,
  Answers: (one) => many.format(one.answers),
  Left: (one) => many.format(one.left),
  "A minute": (one) => decimal(one.per_minute, 0),
  "Seconds, median": (one) => decimal(one.seconds, 1),
  Yes: (one) => percent(one.yes),
  Unsure: (one) => percent(one.unsure),
  "Like others": (one) => (one.agrees === null ? "–" : `${percent(one.agrees)} of ${many.format(one.shared)}`),
  "Gold items right": (one) => (one.gold ? `${one.gold_right} of ${one.gold}` : "–"),
  "Last answer": (one) => local(one.last),
  Remark: (one) => one.remark,
};

const NOTES = {
  Item: (one) => one.item,
  Annotator: (one) => one.annotator,
  Note: (one) => one.note,
  Time: (one) => local(one.timestamp),
};

const SUMMARY = {
  Items: (all) => many.format(all.items),
  Answers: (all) => many.format(all.answers),
  "Items with enough answers": (all) => `${many.format(all.enough)} (${all.wanted} each)`,
  "Items without an answer": (all) => many.format(all.unanswered),
  "Items on which all agree": (all) => percent(all.agreement),
  "Cohen's kappa": (all) => decimal(all.kappa, 2),
  "Krippendorff's alpha": (all) => decimal(all.alpha, 2),
  "Groups with both yes and no": (all) => `${many.format(all.groups.mixed)} of ${many.format(all.groups.groups)}`,
};

const cell = (text, kind = "td") => Object.assign(document.createElement(kind), { textContent: text });

function fill(table, columns, rows) {
  const heads = Object.keys(columns).map((name) => Object.assign(cell(name, "th"), { scope: "col" }));
  table.tHead.rows[0].replaceChildren(...heads);
  table.tBodies[0].replaceChildren(
    ...rows.map((row) => {
      const line = document.createElement("tr");
      line.append(...Object.values(columns).map((text) => cell(text(row))));
      return line;
    }),
  );
  table.closest(".scrolls").hidden = rows.length === 0;
}

async function load() {
  try {
    const all = await get("api/overview");
    $("title").textContent = all.title;
    $("of").textContent = all.of;
    $("time").textContent = `as of ${new Date().toLocaleTimeString()}`;
    $("summary-of-all").replaceChildren(
      ...Object.entries(SUMMARY).map(([name, text]) => {
        const pair = document.createElement("div");
        pair.append(cell(name, "dt"), cell(text(all), "dd"));
        return pair;
      }),
    );
    fill($("annotators"), ANNOTATORS, all.annotators);
    fill($("all-notes"), NOTES, all.notes);
    $("next").textContent = all.next;
    $("alert").hidden = true;
  } catch (error) {
    $("alert").textContent = error.message;
    $("alert").hidden = false;
  }
  setTimeout(load, EVERY);
}

load();
