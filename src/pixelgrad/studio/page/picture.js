// The picture: samples, choosing, dropping, pasting; and what the network takes it for.

import { get, post, upload } from "./api.js";
import { $, el, fill, percent } from "./dom.js";
import { named, state } from "./state.js";
import { t } from "./words.js";

let round = 0; // the newest picture counts
const ready = new Set(); // networks that have answered

/** Set up the picture's part. handlers: {onpicture(), onrecipe(recipe, name), onguess(label)}. */
export function pictures(handlers) {
  const take = (file) => file && use(() => small(file) && upload(file), handlers);
  fill($("samples"), state.about.samples.map((sample) => el("button", {
    type: "button", "data-id": sample.id, title: sample.name, "aria-label": sample.name, onclick: () => use(() => post("/api/pictures", { sample: sample.id }), handlers),
  }, el("img", { src: sample.url, alt: "", width: 52, height: 52 }))));
  $("choose").onclick = () => $("file").click();
  $("file").onchange = () => { take($("file").files[0]); $("file").value = ""; };
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  let depth = 0;
  addEventListener("dragenter", (event) => { if (carries(event)) { depth++; $("drop").hidden = false; } });
  addEventListener("dragleave", (event) => { if (carries(event) && --depth <= 0) { depth = 0; $("drop").hidden = true; } });
  addEventListener("dragover", (event) => carries(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    depth = 0;
    $("drop").hidden = true;
    take(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])][0];
    if (file) { event.preventDefault(); take(file); }
  });
  if (location.pathname === "/") preview(state.about.samples[0]);
  return { first: () => use(() => post("/api/pictures", { sample: state.about.samples[0].id }), handlers), guesses: () => guesses(handlers) };
}

/** The first picture, small, until the network has its own. */
function preview(sample) {
  Object.assign($("photo"), { src: sample.url, alt: sample.name, hidden: false });
  fill($("guesses"), wait());
}

const wait = () => el("li", { className: "quiet" }, t("loading"));

/** Say something under the picture: words, and nodes. */
export function note(...content) {
  $("picture-note").hidden = !content.length;
  fill($("picture-note"), content);
}

/** Refuse a file that the server would refuse, before it is sent. */
function small(file) {
  const limit = state.about.limits.bytes;
  if (file.size <= limit) return true;
  const size = (bytes) => (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
  throw new Error(t("too_large", { size: size(file.size), limit: size(limit) }));
}

async function use(fetching, handlers) {
  const mine = ++round;
  note();
  let found;
  try {
    found = await fetching();
  } catch (error) {
    if (mine === round && error.message) note(error.message);
    return;
  }
  if (mine !== round) return;
  if (found.recipe && named(found.recipe.technique)) return restore(found, handlers);
  await open(found, handlers);
}

/** Take a picture that the server has. */
export async function open(found, handlers) {
  state.picture = found;
  const done = guesses(handlers);
  handlers.onpicture();
  await done;
}

/** A PNG that carries its recipe: its settings, and its picture where that is a sample. */
function restore(found, handlers) {
  const { recipe, name } = found;
  const image = recipe.images?.[0]?.path ?? null;
  const sample = state.about.samples.find((s) => s.id === image);
  const again = el("button", { type: "button", className: "plain", onclick: () => { note(); open(found, handlers); } }, t("use_as_picture"));
  const about = [t("restored", { technique: recipe.technique, name })];
  if (image && !sample && image !== state.picture?.name) about.push(t("restored_picture", { name: image.split("/").pop() }));
  const say = () => note(el("span", {}, about.join(" ")), again);
  if (sample) use(() => post("/api/pictures", { sample: sample.id }), { ...handlers, onpicture: () => { handlers.onrecipe(recipe); say(); } });
  else { handlers.onrecipe(recipe); say(); }
}

async function guesses(handlers) {
  const { picture, model } = state;
  const photo = $("photo");
  photo.alt = t("as_seen", { name: picture.name });
  photo.title = photo.alt;
  photo.src = picture.id ? `/api/pictures/${picture.id}.png?model=${encodeURIComponent(model)}` : picture.url;
  photo.hidden = false;
  for (const button of $("samples").children) button.setAttribute("aria-pressed", String(button.dataset.id === picture.name || button.title === picture.name));
  if (!picture.id) return void fill($("guesses"));
  if (!ready.has(model)) fill($("guesses"), wait());
  let top;
  try {
    top = await get(`/api/pictures/${picture.id}/top?model=${encodeURIComponent(model)}&k=5`);
  } catch (error) {
    if (state.picture === picture && error.message) {
      fill($("guesses"));
      note(error.status === 404 ? t("picture_gone") : error.message);
    }
    return;
  }
  ready.add(model);
  if (state.picture !== picture || state.model !== model) return;
  fill($("guesses"), top.map((guess) => {
    const bar = el("i");
    bar.style.width = `${100 * guess.probability}%`;
    return el("li", {}, el("button", { type: "button", title: t("look_at", { label: guess.label }), onclick: () => handlers.onguess(guess.label) },
      el("span", { className: "number" }, percent(guess.probability)), el("span", { className: "label" }, guess.label), el("span", { className: "track" }, bar)));
  }));
}
