// Which keys answer, and the colours. The browser remembers both.

const KEYS = {
  right: { yes: "y", no: "n", unsure: "u" },
  left: { yes: "f", no: "d", unsure: "s", back: "a", forward: "g" },
  off: {},
};

const $ = (id) => document.getElementById(id);

function choice(id, values, change) {
  const select = $(id);
  const stored = localStorage.getItem(id);
  if (values.includes(stored)) select.value = stored;
  select.addEventListener("change", () => {
    localStorage.setItem(id, select.value);
    change(select.value);
  });
  change(select.value);
}

// The action of a key, such as "yes"; undefined if it has none.
export const actionOf = (key) => Object.entries(KEYS[$("keys").value]).find(([, own]) => own === key)?.[0];

export const useKeys = () => $("keys").value !== "off";

export function start() {
  choice("keys", Object.keys(KEYS), (which) => {
    document.body.dataset.keys = which;
    for (const place of document.querySelectorAll("[data-key]")) {
      const own = (KEYS[which][place.dataset.key] ?? KEYS.right[place.dataset.key]).toUpperCase();
      place.textContent = own;
      if (place.parentElement.id === place.dataset.key) place.parentElement.setAttribute("aria-keyshortcuts", own);
    }
  });
  choice("colours", ["system", "light", "dark"], (which) => {
    document.documentElement.dataset.colours = which;
  });
}
