// Requests to the server. Headers carry the annotator's name, the token of the link, and the digest of the items that
// this page was loaded with.

const address = new URL(location.href);

export const me = {
  annotator: "",
  token: remembered("token"),
  shown: "",
};
if (address.searchParams.has("token")) {
  address.searchParams.delete("token");
  history.replaceState(null, "", address); // hide the token in the address bar; the server has set a cookie
}

function remembered(key) {
  const value = address.searchParams.get(key) ?? sessionStorage.getItem(key) ?? "";
  if (!/^[\x21-\x7e]*$/.test(value)) return ""; // no valid header value, so it is no name or token of this server
  if (value) sessionStorage.setItem(key, value);
  return value;
}

// The name in the link, or the last name in this tab; the server has not checked it yet.
export const likely = () => address.searchParams.get("annotator") ?? sessionStorage.getItem("annotator") ?? "";

// The server has accepted this name.
export function iAm(annotator) {
  me.annotator = annotator;
  sessionStorage.setItem("annotator", annotator);
}

// The server has refused the name: forget it, also in the link.
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
    throw new Refused("The server cannot be reached. Keep this page open; if this goes on, tell the person who sent you the link.", 0);
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
