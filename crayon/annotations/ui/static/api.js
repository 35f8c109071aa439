// Requests to the server. Headers carry the annotator's name, the token of the link, and the digest of the items that
// this page was loaded with. The page as a folder for a web host has browser.js in place of this file.

import { me, Refused } from "./who.js";

export * from "./who.js";

export const downloads = null; // the server keeps the answers

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
