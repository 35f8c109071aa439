// Who answers: the name and the token of the link, which the tab remembers.

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
