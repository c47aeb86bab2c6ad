// The page: starts, keeps what is chosen and what is shown in step, and runs what is asked for.

import { get, onConnection, session } from "./api.js";
import { compareForm, compareRequest, pick } from "./compare.js";
import { $, el, fill } from "./dom.js";
import { techniqueForm } from "./form.js";
import { before, setField, surveys } from "./find.js";
import { layers, layersOf, leave } from "./layers.js";
import { note, pictures } from "./picture.js";
import { Run } from "./run.js";
import { look } from "./look.js";
import { minutes, stage } from "./stage.js";
import { aims, named, of, request, state, valuesOf } from "./state.js";
import { known, t, told, translate } from "./words.js";

let source = null; // the part with the picture
let form = null;
let run = null; // what is running
const last = {}; // the technique that a verb was left with

const handlers = {
  // a survey has nothing to do with it: one that was asked for before the first picture came goes on
  onpicture: () => state.techniques.length && !state.technique?.survey && refresh(true),
  onguess(label) {
    const verb = state.verb === "compare" ? "show" : state.verb;
    state.targets[verb] = label;
    if (verb === "layers" || verb === "find") go("show", null, false);
    else refresh(false);
  },
  onrecipe({ technique, settings, model }) {
    restore(technique, settings, model);
    go(state.verb, named(technique), true);
  },
};

/** Settings of a recipe or a result become the chosen ones. */
function restore(name, settings, model) {
  const technique = named(name);
  if (state.about.models.some((m) => m.name === model) && model !== state.model) setModel(model);
  if (!technique) return;
  const aim = aims(technique);
  state.verb = technique.verb;
  state.technique = technique;
  state.values[name] = { ...settings };
  state.targets[technique.verb] = (aim && settings[aim.name]) ?? "";
}

function setModel(model) {
  state.model = model;
  $("model").value = model;
  state.targets = {}; // another network has other classes
}

/** Turn to a verb and a technique. */
function go(verb, technique = null, quiet = false) {
  state.verb = verb;
  const some = of(verb);
  state.technique = technique ?? last[verb] ?? some.find((one) => one.name === "show/saliency") ?? some.find((one) => !one.needs_pixels) ?? some[0] ?? null;
  last[verb] = state.technique;
  draw();
  refresh(true, quiet);
}

/** The names to choose from. */
function draw() {
  document.body.dataset.verb = state.verb;
  const verbs = [...new Set(["show", "follow", "find", ...state.techniques.map((one) => one.verb)]), "compare", "layers"];
  fill($("verbs"), verbs.map((verb) => el("button", { type: "button", "aria-current": verb === state.verb ? "page" : null,
    onclick: () => go(verb) }, known(verb) ? t(verb) : verb)));
  fill($("techniques"), of(state.verb).map((one) => el("button", { type: "button", title: told(one.summary),
    "aria-pressed": String(one === state.technique), onclick: () => go(state.verb, one) }, told(one.title))));
  $("techniques").querySelector("[aria-pressed=true]")?.scrollIntoView({ block: "nearest", inline: "center" });
  $("techniques").hidden = !of(state.verb).length;
}

/** Form and stage for what is chosen; what is quick runs by itself. `anew`: the old picture has nothing to do with it. */
function refresh(anew, quiet = false) {
  run?.cancel();
  run = null; // nobody waits for its word
  leave();
  document.title = `${state.technique && of(state.verb).length ? told(state.technique.title) : t(state.verb)} · pixelgrad studio`;
  if (state.verb === "layers") return void layers($("form"), document.querySelector(".layers [aria-pressed=true]")?.dataset.layer);
  if (state.verb === "compare") {
    form = compareForm($("form"), () => start(true));
    stage.open({ title: t("compare"), summary: t("what_compare"), verb: "compare" });
    if (!quiet && state.picture?.id) start(false);
    return;
  }
  const technique = state.technique;
  drawForm();
  stage.open({ ...technique, title: told(technique.title), summary: told(technique.summary) });
  const instant = technique.verb === "show" && technique.available === true;
  if (quiet) return;
  if (instant && (state.picture?.id || !technique.needs_pixels)) start(false);
  else if (anew) idle(technique);
}

function idle(technique) {
  const words = technique?.needs_pixels && !state.picture ? t("needs_picture") : t("press_run");
  stage.empty(words);
  if (technique?.survey) stage.pictures.append(before());
}

function drawForm() {
  const technique = state.technique;
  const values = valuesOf(technique);
  const extra = technique.measurable ? el("label", { className: "check" },
    el("input", { type: "checkbox", checked: state.trust, onchange: (event) => (state.trust = event.target.checked) }),
    el("span", {}, t("trust_ask"), el("span", { className: "help" }, t("trust_help")))) : null;
  form = techniqueForm($("form"), technique, values, {
    model: state.model, layers: state.layers[state.model], free: technique.verb === "follow" && technique.needs_pixels,
    presets: technique.presets?.length > 0, extra,
    onclass: (label) => {
      state.targets[technique.verb] = label;
      if (technique.verb === "show") start(false);
    },
    onrun: () => start(true),
  });
  if (technique.survey) $("form").prepend(setField());
  if (technique.settings.some((s) => s.role === "layer") && !state.layers[state.model]) {
    const model = state.model;
    layersOf(model).then(() => { if (state.technique === technique && state.model === model && !$("form").contains(document.activeElement)) drawForm(); }, () => {});
  }
}

/** Run what is chosen. `asked`: a person pressed the button, and the result becomes an entry of the history. */
async function start(asked) {
  run?.cancel();
  const technique = state.verb === "compare" ? null : state.technique;
  const values = technique ? valuesOf(technique) : null;
  form.error(null, "");
  stage.say("");
  if ((!technique || technique.needs_pixels) && !state.picture?.id) return stage.say(t("needs_picture"));
  const spec = technique ? request(technique, values) : compareRequest();
  const original = technique?.needs_pixels && { url: `/api/pictures/${state.picture.id}.png?model=${encodeURIComponent(state.model)}`, ...sizeOf(state.model) };
  const onframe = technique?.follows ? stage.live(original) : () => {};
  if (technique?.follows) stage.empty("");
  stage.pictures.classList.add("old");
  const mine = (run = new Run(spec, { onframe, oncurve: (...more) => stage.curve?.add(...more) }));
  fill(stage.status, mine.node);
  if (asked && (innerWidth <= 820 || $("stage").getBoundingClientRect().top < 0)) $("stage").scrollIntoView({ behavior: "smooth" });
  try {
    const end = await mine.start();
    if (run !== mine) return;
    if (end.state === "done") await show(end.result, asked, () => run === mine && !mine.asked);
    else if (end.state === "failed") ended(end.error);
    else if (end.state === "unknown") ended(t("unknown_job"));
    else if (end.cut) ended(t("cut_cancelled", { minutes: minutes() }));
    else ended(end.wanted ? t(technique?.survey ? "cancelled_kept" : "cancelled") : t("cancelled_lost"), end.wanted);
  } catch (error) {
    if (run !== mine) return;
    ended(error.field ? "" : error.message);
    if (error.field) form.error(error.field, error.message);
  } finally {
    if (run === mine) run = null;
  }
}

function ended(words, calm = false) {
  fill(stage.status);
  stage.pictures.classList.remove("old");
  if (!stage.viewer) idle(state.technique);
  stage.say(words ?? "", calm);
}

function sizeOf(model) {
  const [height, width] = state.about.models.find((m) => m.name === model)?.size ?? [224, 224];
  return { width, height };
}

/** Show a result, if it is still `wanted()`, and give the page its address. */
async function show(id, asked, wanted) {
  const result = await get(`/api/results/${id}`);
  if (!wanted() || !(await stage.result(result))) return;
  if (location.pathname !== `/r/${id}`) history[asked ? "pushState" : "replaceState"]({}, "", `/r/${id}`);
}

/** The result of an address; false where it is gone. */
async function recall(id) {
  let result;
  try {
    result = await get(`/api/results/${encodeURIComponent(id)}`);
  } catch (error) {
    if (error.status !== 404) throw error;
    return false;
  }
  const photo = result.pictures[0];
  const key = photo?.url.match(/\/api\/pictures\/([\w-]+)\.png/)?.[1] ?? null;
  if (photo) state.picture = { id: key, ...photo };
  if (state.sets.some((set) => set.name === result.data)) state.set = result.data;
  if (named(result.technique)) restore(result.technique, result.settings, result.model);
  else {
    state.verb = "compare";
    state.technique = null;
    state.targets.show = result.settings.target ?? "";
    if (result.compare) pick(result.compare);
    if (result.model !== state.model) setModel(result.model);
  }
  last[state.verb] = state.technique;
  draw();
  refresh(true, true);
  if (photo) source.guesses();
  await stage.result(result);
  return true;
}

async function begin() {
  translate();
  look(() => { translate(); if (state.techniques.length) { draw(); if (state.verb !== "layers") drawAgain(); } });
  onConnection((word) => {
    $("banner").hidden = word === "back";
    $("banner").textContent = t(word);
    if (word === "back" && !state.techniques.length) location.reload();
  });
  await session();
  const rest = Promise.all([get("/api/techniques"), surveys()]); // these wait for the server's libraries, the others do not
  rest.catch(() => {}); // it is told below
  state.about = await get("/api/about");
  $("version").textContent = `pixelgrad ${state.about.version}.`;
  fill($("model"), state.about.models.map((m) => el("option", { value: m.name }, m.name)));
  setModel(state.about.default_model);
  $("model").onchange = () => { setModel($("model").value); if (state.picture) source.guesses(); if (state.techniques.length) refresh(true); };
  source = pictures(handlers);
  fill($("stage"), el("p", { className: "blank" }, t("loading")));
  state.techniques = (await rest).flat();
  await arrive();
  addEventListener("popstate", arrive);
}

/** In another language: everything that is on the page is made again. */
function drawAgain() {
  const id = location.pathname.match(/^\/r\/([\w-]+)$/)?.[1];
  refresh(true, Boolean(id));
  if (id) get(`/api/results/${id}`).then((result) => stage.result(result), () => {});
  if (state.picture) source.guesses();
}

/** What the address says: a result, or the first picture. */
async function arrive() {
  run?.cancel();
  const id = location.pathname.match(/^\/r\/([\w-]+)$/)?.[1];
  if (id && (await recall(id))) return;
  if (id) history.replaceState({}, "", "/");
  draw();
  state.technique ??= named("show/saliency");
  draw();
  if (state.picture) refresh(true);
  else await source.first();
  if (id) note(t("result_gone"));
}

begin().catch((error) => {
  if (error.message) {
    $("banner").hidden = false;
    $("banner").textContent = error.message;
  }
});
