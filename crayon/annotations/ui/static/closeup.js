// A dialog with the enlarged pictures of one item, and the note on it.

import { figure } from "./pictures.js";

const $ = (id) => document.getElementById(id);

let done = () => {};

// Open it. `close` is called with the text of the note when it is closed.
export function open({ question, images, views, note, close, toNote = false }) {
  $("close-up-question").textContent = question;
  const copies = images.map((image) => Object.assign(new Image(), { src: image.src, alt: image.alt }));
  $("enlarged").replaceChildren(...copies.map((image, at) => figure(views[at], image)));
  $("enlarged").style.setProperty("--views", views.length);
  $("note").value = note;
  $("size").value = 1;
  resize();
  done = close;
  $("close-up").showModal();
  $(toNote ? "note" : "enlarged").focus();
}

export const isOpen = () => $("close-up").open;

function resize() {
  $("enlarged").style.setProperty("--size", $("size").value);
}

export function key(event) {
  const step = { "+": 1, "=": 1, "-": -1 }[event.key];
  if (event.target === $("note")) return;
  if (step) {
    $("size").value = Number($("size").value) + step / 2;
    resize();
  } else if (event.key.toLowerCase() === "z") $("close-up").close();
  else if (event.key.toLowerCase() === "c") $("note").focus();
  else return;
  event.preventDefault();
}

$("size").addEventListener("input", resize);
$("close-up").addEventListener("close", () => done($("note").value.replace(/\s+/g, " ").trim()));
