// Loads items and decodes their pictures before they are shown.

import { get, picture } from "./api.js";

const KEPT = 16;

export const CAPTIONS = {
  image: ["Image", "The image"],
  overlaid: ["Highlight overlaid", "The image, bright where the model looks and black where it does not"],
  red: ["Highlight in red", "The image, the redder the more the model looks there"],
  patch: ["Image and patch", "The image with a red rectangle around the part that is asked about"],
};

const loaded = new Map();

export async function figure(view, path, also = "") {
  const [caption, alt] = CAPTIONS[view];
  const image = new Image();
  const url = URL.createObjectURL(await picture(path));
  image.src = url;
  image.alt = also ? `${alt}: ${also}` : alt;
  await image.decode();
  const frame = document.createElement("figure");
  const words = document.createElement("figcaption");
  words.textContent = caption;
  frame.append(image, words);
  return { frame, url };
}

async function load(number, views) {
  const path = `api/items/${number}`;
  const [{ question }, ...figures] = await Promise.all([
    get(path),
    ...views.map((view) => figure(view, `${path}/${view}.png`)),
  ]);
  return { number, question, figures };
}

// The item, from the cache if it is there.
export function item(number, views) {
  let found = loaded.get(number);
  loaded.delete(number);
  if (!found) {
    found = load(number, views);
    found.catch(() => loaded.delete(number)); // so that the next request tries again
  }
  loaded.set(number, found); // moves it to the end: the least recently used item is dropped first
  for (const old of loaded.keys()) {
    if (loaded.size <= KEPT) break;
    const gone = loaded.get(old);
    loaded.delete(old);
    gone.then(({ figures }) => figures.forEach(({ url }) => URL.revokeObjectURL(url))).catch(() => {});
  }
  return found;
}

export function forget() {
  loaded.clear();
}
