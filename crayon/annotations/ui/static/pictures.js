// Loads questions and pictures, and decodes the pictures before they are shown.

import { get, picture } from "./api.js";

export const CAPTIONS = {
  image: ["Image", "The image"],
  overlaid: ["Highlight overlaid", "The image, bright where the model looks and black where it does not"],
  red: ["Highlight in red", "The image, the redder the more the model looks there"],
  patch: ["Image and patch", "The image with a red rectangle around the part that is asked about"],
};

let kept = 100; // number of pictures and questions that are kept
const loaded = new Map(); // path -> { promise, value }; the value is set when the promise is fulfilled

// Keep several screens of so many pictures.
export function keep(pictures) {
  kept = Math.max(100, 8 * pictures);
}

export async function load(path, alt) {
  const image = new Image();
  image.src = URL.createObjectURL(await picture(path));
  image.alt = alt;
  await image.decode();
  return image;
}

function cached(path, make) {
  let found = loaded.get(path);
  loaded.delete(path);
  if (!found) {
    found = { promise: make() };
    found.promise.then(
      (value) => (found.value = value),
      () => loaded.delete(path), // so that the next request tries again
    );
  }
  loaded.set(path, found); // moves it to the end: what was used least recently is dropped first
  for (const [old, gone] of loaded) {
    if (loaded.size <= kept) break;
    loaded.delete(old);
    if (gone.value?.src && !gone.value.isConnected) URL.revokeObjectURL(gone.value.src);
  }
  return found;
}

// What a screen needs: the question, which all its items share, and `views` of each item.
const parts = (numbers, views) => [
  cached(`api/items/${numbers[0]}`, () => get(`api/items/${numbers[0]}`)),
  ...numbers.flatMap((number) =>
    views.map((view) => cached(`api/items/${number}/${view}.png`, () => load(`api/items/${number}/${view}.png`, CAPTIONS[view][1]))),
  ),
];

const content = ([{ question }, ...images]) => ({ question, images });

// The question and the pictures, item by item; null if they are not loaded yet.
export function ready(numbers, views) {
  const found = parts(numbers, views);
  return found.every(({ value }) => value) ? content(found.map(({ value }) => value)) : null;
}

export const wait = async (numbers, views) => content(await Promise.all(parts(numbers, views).map(({ promise }) => promise)));

export const preload = (numbers, views) => void wait(numbers, views).catch(() => {});

export function figure(view, image) {
  const frame = document.createElement("figure");
  const words = document.createElement("figcaption");
  words.textContent = CAPTIONS[view][0];
  frame.append(image, words);
  return frame;
}

export function forget() {
  loaded.clear();
}
