// Several items on one screen: which picture is the current one, and which are taken out.

const LEAST = 96; // pixels of a picture's side
const GAP = 8; // pixels between two pictures
const GAPS = 110; // pixels between the parts of the page, above and below them

const $ = (id) => document.getElementById(id);

let tiles = []; // the check boxes, in the order of the items; a box that is not checked is taken out
let current = 0;
let columns = 1;
let changed = () => {};

export const onChange = (task) => (changed = task);

// Show pictures; `words` are the answers given before, or empty; `out` are the positions of those that are taken out.
export function show(images, words, out) {
  tiles = images.map((image, at) => {
    const tile = document.createElement("button");
    tile.type = "button";
    tile.setAttribute("role", "checkbox");
    tile.setAttribute("aria-checked", String(!out.includes(at)));
    const name = [`Picture ${at + 1} of ${images.length}`, words[at] && `answered ${words[at]}`].filter(Boolean).join(", ");
    tile.setAttribute("aria-label", name);
    const mark = document.createElement("span");
    mark.className = words[at];
    mark.textContent = words[at];
    tile.append(image, mark);
    tile.addEventListener("click", () => {
      goTo(at, false);
      toggle();
    });
    return tile;
  });
  $("grid").replaceChildren(
    ...tiles.map((tile) => {
      const place = document.createElement("li");
      place.append(tile);
      return place;
    }),
  );
  arrange();
  goTo(0);
}

function goTo(at, focus = true) {
  current = Math.min(Math.max(at, 0), tiles.length - 1);
  tiles.forEach((tile, other) => (tile.tabIndex = other === current ? 0 : -1)); // one stop of the Tab key
  if (focus) tiles[current].focus();
}

function toggle() {
  const tile = tiles[current];
  tile.setAttribute("aria-checked", String(tile.getAttribute("aria-checked") !== "true"));
  changed();
}

const isIn = (tile) => tile.getAttribute("aria-checked") === "true";

// Positions of the pictures that are left in, and of those that are taken out.
export const chosen = () => [true, false].map((left) => tiles.flatMap((tile, at) => (isIn(tile) === left ? [at] : [])));

export const at = () => current;

const MOVES = { arrowleft: () => -1, arrowright: () => 1, arrowup: () => -columns, arrowdown: () => columns };

// Whether a key moved to another picture.
export function move(key) {
  if (!(key in MOVES)) return false;
  const to = current + MOVES[key]();
  if (to >= 0 && to < tiles.length) goTo(to);
  else goTo(current);
  return true;
}

// As many columns as make the pictures largest.
function arrange() {
  if (!tiles.length || $("grid").hidden) return;
  const around = ["header", "#question", "#answers", "#ask nav"].map((name) => document.querySelector(name).offsetHeight);
  const width = $("grid").clientWidth;
  const height = innerHeight - around.reduce((sum, one) => sum + one, GAPS);
  let side = 0;
  for (let count = 1; count <= tiles.length; count++) {
    const own = Math.min(width / count, height / Math.ceil(tiles.length / count)) - GAP;
    if (own > side) [side, columns] = [own, count];
  }
  if (side < LEAST) {
    columns = Math.max(1, Math.floor(width / (LEAST + GAP)));
    side = width / columns - GAP;
  }
  $("grid").style.gridTemplateColumns = `repeat(${columns}, ${Math.floor(side)}px)`;
}

addEventListener("resize", arrange);
