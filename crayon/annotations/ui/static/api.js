// The server, as the page sees it. Who answers, the token of the link, and what this page was opened on go along as
// headers.

const address = new URL(location.href);

export const me = {
  annotator: "",
  token: remembered("token"),
  shown: "",
};
if (address.searchParams.has("token")) {
  address.searchParams.delete("token");
  history.replaceState(null, "", address); // or it would be seen over a shoulder; the server left a cookie
}

function remembered(key) {
  const value = address.searchParams.get(key) ?? sessionStorage.getItem(key) ?? "";
  if (!/^[\x21-\x7e]*$/.test(value)) return ""; // no header can hold it, so it is none of ours
  if (value) sessionStorage.setItem(key, value);
  return value;
}

// Who this tab's annotator may be: as the link says, or as it was; nobody has checked it yet.
export const likely = () => address.searchParams.get("annotator") ?? sessionStorage.getItem("annotator") ?? "";

// The server took this name.
export function iAm(annotator) {
  me.annotator = annotator;
  sessionStorage.setItem("annotator", annotator);
}

// The name is refused: neither it nor the link leads here again.
export function iAmNobody() {
  me.annotator = "";
  sessionStorage.removeItem("annotator");
  address.searchParams.delete("annotator");
  history.replaceState(null, "", address);
}

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function call(path, options = {}) {
  const headers = { ...options.headers, "X-Crayon-Annotator": me.annotator };
  if (me.shown) headers["X-Crayon-Shown"] = me.shown;
  if (me.token) headers["X-Crayon-Token"] = me.token;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Refused("The server cannot be reached. Start `crayon annotate` again; then go on here.", 0);
  }
  if (!response.ok) {
    const said = await response.json().catch(() => ({}));
    throw new Refused(said.error ?? `The server says ${response.status}.`, response.status);
  }
  return response;
}

export const get = async (path) => (await call(path)).json();

export const picture = async (path) => (await call(path)).blob();

export const post = async (path, body) =>
  (
    await call(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    })
  ).json();
