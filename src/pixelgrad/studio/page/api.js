// What the page asks of the server: JSON, pictures, and a job's events; and whether the server is there.

const listeners = new Set();
let lost = 0; // when the connection was lost, in ms; 0 while it is there
const token = takeToken();

/** A refusal of the server: one line, the setting that is meant, the HTTP status (0: no answer). */
export class ApiError extends Error {
  constructor(message, status, field = null) {
    super(message);
    this.status = status;
    this.field = field;
  }
}

/** Call with "lost", "gone" (for long) or "back". */
export function onConnection(listener) {
  listeners.add(listener);
}

function tell(state) {
  for (const listener of listeners) listener(state);
}

function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token") ?? new URLSearchParams(location.search).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname);
  }
  return given ?? sessionStorage.getItem("token");
}

/** Where the server demands a token, exchange it for the cookie that pictures and events are asked with. */
export async function session() {
  if (token) await ask("POST", "/api/session", { token });
}

async function send(method, path, body, headers) {
  const given = token ? { Authorization: `Bearer ${token}`, ...headers } : headers;
  try {
    return await fetch(path, { method, body, headers: given, credentials: "same-origin" });
  } catch {
    missing();
    throw new ApiError("", 0);
  }
}

async function ask(method, path, data, raw = false, headers = {}) {
  const json = data !== undefined && !raw;
  const answer = await send(method, path, json ? JSON.stringify(data) : data,
    json ? { "Content-Type": "application/json" } : headers);
  let body = null;
  try {
    body = answer.status === 204 ? null : await answer.json();
  } catch {
    throw new ApiError(`the server's answer could not be read (${answer.status})`, answer.status);
  }
  if (!answer.ok) throw new ApiError(body?.error ?? `the server refused (${answer.status})`, answer.status, body?.field ?? null);
  return body;
}

export const get = (path) => ask("GET", path);
export const post = (path, data = {}) => ask("POST", path, data);
export const remove = (path) => ask("DELETE", path);
export const upload = (file) =>
  ask("POST", "/api/pictures", file, true, {
    "Content-Type": file.type.startsWith("image/") ? file.type : "application/octet-stream",
    "X-Name": encodeURIComponent(file.name || "picture"),
  });

/** The float32 values of a map. */
export async function values(path) {
  const answer = await send("GET", path);
  if (!answer.ok) throw new ApiError(`no values (${answer.status})`, answer.status);
  return new Float32Array(await answer.arrayBuffer());
}

/** A loaded picture. */
export function image(url) {
  return new Promise((resolve, reject) => {
    const picture = new Image();
    picture.onload = () => resolve(picture);
    picture.onerror = () => reject(new ApiError("a picture could not be loaded", 404));
    picture.src = url;
  });
}

/** Follow a job to its end, over lost connections: `onstate(state)` for every event; resolves with the last state, or
 * with {state: "unknown"} where the server no longer knows the job. `stop()` leaves it. */
export function watch(id, onstate) {
  let source = null;
  let stopped = false;
  let wait = 300;
  let timer = 0;
  const end = new Promise((resolve) => {
    function open() {
      source = new EventSource(`/api/jobs/${id}/events`);
      const take = (event) => {
        wait = 300;
        found();
        onstate(JSON.parse(event.data));
      };
      source.addEventListener("state", take);
      source.addEventListener("end", (event) => {
        source.close();
        take(event);
        resolve(JSON.parse(event.data));
      });
      source.onerror = () => {
        source.close();
        if (!stopped) timer = setTimeout(again, wait);
        wait = Math.min(2 * wait, 3000);
      };
    }
    async function again() {
      try {
        await get(`/api/jobs/${id}`);
        open();
      } catch (error) {
        if (error.status === 404 || error.status === 403) resolve({ id, state: "unknown" });
        else if (!stopped) timer = setTimeout(again, wait);
      }
    }
    open();
  });
  const stop = () => {
    stopped = true;
    clearTimeout(timer);
    source?.close();
  };
  return { end, stop };
}

function missing() {
  if (lost) return;
  lost = performance.now();
  tell("lost");
  setTimeout(look, 1000);
}

async function look() {
  if (!lost) return;
  try {
    if ((await fetch("/api/about", { headers: token ? { Authorization: `Bearer ${token}` } : {} })).ok) return found();
  } catch {
    if (performance.now() - lost > 12000) tell("gone");
  }
  setTimeout(look, 1500);
}

function found() {
  if (!lost) return;
  lost = 0;
  tell("back");
}
