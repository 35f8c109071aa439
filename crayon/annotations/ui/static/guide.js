// The guide: explains the views, and shows an example of each answer.

import { CAPTIONS, figure, load } from "./pictures.js";

const MEANING = {
  attention: "The highlight shows what a model looks at. Say whether that is what the question names.",
  neurons: "The red rectangle marks the part of the image that excites one part of a model most. Say whether it shows what the question names.",
};

const WORDS = {
  attention: {
    yes: "The strong highlight is mainly on the cup.",
    no: "The strong highlight is mainly elsewhere, here on the window; or there is none at all.",
    unsure: "You cannot tell: it is half on the cup, half beside it. Unsure is an honest answer.",
  },
  neurons: {
    yes: "The rectangle is mainly on the cup.",
    no: "The rectangle is mainly elsewhere, here on the wall.",
    unsure: "You cannot tell: half of it is on the cup. Unsure is an honest answer.",
  },
};

const NAMES = { yes: "Yes", no: "No", unsure: "Unsure" };

export async function fill(about) {
  document.getElementById("meaning").textContent = MEANING[about.kind];
  document.getElementById("asked").textContent = about.question;
  const place = document.getElementById("examples");
  const rows = await Promise.all(
    Object.entries(WORDS[about.kind]).map(async ([answer, words]) => {
      const row = document.createElement("article");
      const heading = document.createElement("h2");
      heading.textContent = NAMES[answer];
      heading.className = answer;
      const text = document.createElement("p");
      text.textContent = words;
      const views = document.createElement("div");
      views.className = "views";
      const images = await Promise.all(
        about.views.map((view) => load(`api/examples/${answer}/${view}.png`, `${CAPTIONS[view][1]}: ${words}`)),
      );
      views.append(...images.map((image, at) => figure(about.views[at], image)));
      row.append(heading, text, views);
      return row;
    }),
  );
  place.classList.toggle("single", about.views.length === 1);
  place.replaceChildren(...rows);
}
