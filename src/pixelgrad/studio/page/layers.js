// The network as a list of layers; a layer's channels on this picture; and what one channel looks for.

import { get, image } from "./api.js";
import { el, fill } from "./dom.js";
import { patched, unit } from "./find.js";
import { Run } from "./run.js";
import { stage } from "./stage.js";
import { named, state } from "./state.js";
import { t } from "./words.js";

const SHOWN = 64; // channels of a layer
let running = [];

/** Leave: what is being computed is not wanted any more. */
export function leave() {
  running.forEach((run) => run.cancel());
  running = [];
}

/** The layers of the model; read again while their receptive fields are still being measured. */
export async function layersOf(model) {
  if (measured(state.layers[model])) return state.layers[model];
  const answer = await get(`/api/models/${encodeURIComponent(model)}/layers`);
  const fields = new Map(answer.map((layer) => [layer.name, layer.field]));
  // the list stays what it was: of a later answer only the fields are new
  return (state.layers[model] = state.layers[model]?.map((layer) => ({ ...layer, field: fields.get(layer.name) })) ?? answer);
}

const measured = (list) => list?.every((layer) => layer.field !== false) ?? false;

/** Show the list in the form's place and, if one is given, a layer's channels. */
export async function layers(form, chosen = null) {
  leave();
  stage.open({ title: t("layers"), summary: t("what_layers"), verb: "layers" });
  stage.empty(t("layers_pick"));
  fill(form, el("p", { className: "quiet" }, t("layers_wait")));
  const model = state.model;
  let list;
  try {
    list = await layersOf(model);
  } catch (error) {
    return void fill(form, el("p", { className: "error", role: "alert" }, error.message));
  }
  if (state.verb !== "layers" || state.model !== model) return;
  const rows = list.filter((layer) => layer.kind !== "Identity").map((layer) => el("li", {}, el("button", { type: "button", "data-layer": layer.name, onclick: () => open(layer) },
    el("span", { className: "name" }, layer.name), el("span", { className: "quiet small" }, about(layer)))));
  const whole = fill(form, el("h2", {}, t("layers")), el("ol", { className: "layers" }, rows)).lastChild;
  if (!measured(list)) measure();
  patched(model).then((names) => rows.forEach(({ firstChild: row }) => names.has(row.dataset.layer) && row.querySelector(".name").append(el("span", { className: "badge" }, t("has_patches")))));

  async function measure() {
    while (!measured(list)) {
      await new Promise((resolve) => setTimeout(resolve, 3000));
      if (!whole.isConnected) return;
      list = await layersOf(model).catch(() => list);
    }
    for (const row of rows) {
      const layer = list.find((one) => one.name === row.firstChild.dataset.layer);
      if (!layer) continue;
      row.firstChild.lastChild.textContent = about(layer);
      if (layer.name === chosen) stage.head.querySelector(".summary").textContent = about(layer);
    }
  }

  async function open(layer) {
    leave();
    chosen = layer.name;
    for (const row of rows) row.firstChild.setAttribute("aria-pressed", String(row.firstChild.dataset.layer === chosen));
    if (!state.picture?.id) return stage.say(t("needs_picture"));
    stage.open({ title: layer.name, summary: about(list.find((one) => one.name === chosen) ?? layer), verb: "layers" });
    fill(stage.pictures);
    const spec = { technique: "show/activations", settings: { layer: layer.name, channels: SHOWN }, model, pictures: [state.picture.id], trust: false };
    const run = new Run(spec);
    const result = await finish(run, stage.status, (words) => stage.say(words));
    if (result && state.verb === "layers" && chosen === layer.name) channels(layer, result);
  }
  const again = list.find((layer) => layer.name === chosen);
  if (again) await open(again);
}

const about = (layer) => [layer.kind, layer.shape.join("×"), sees(layer)].filter(Boolean).join(" · ");

function sees({ field }) {
  if (field === false || field === undefined) return "";
  if (!field) return `${t("sees")} ${t("whole")}`;
  return `${t("sees")} ${field.height === field.width ? field.height : `${field.height}×${field.width}`} px`;
}

/** A job to its result: progress in `place`, an error through `say`; null where there is none. */
async function finish(run, place, say) {
  running.push(run);
  fill(place, run.node);
  try {
    const last = await run.start();
    if (last.wanted) return null;
    if (last.state === "done") return await get(`/api/results/${last.result}`);
    say(last.error ?? t(last.state === "unknown" ? "unknown_job" : "cancelled_lost"));
  } catch (error) {
    if (error.message) say(error.message);
  } finally {
    fill(place);
  }
  return null;
}

/** The tiles of a layer's channels. */
function channels(layer, result) {
  const panels = result.panels.filter((panel) => Number.isInteger(panel.channel));
  if (!panels.length) return void stage.show(result.panels);
  const detail = el("div", { className: "unit", "aria-live": "polite" });
  const tiles = panels.map((panel) => el("button", { type: "button", className: "tile", "aria-label": t("channel", { n: panel.channel }),
    "aria-pressed": "false", onclick: () => press(panel) }, el("img", { src: panel.url, alt: "", loading: "lazy" }), el("span", {}, panel.channel)));
  function press(panel) {
    tiles.forEach((tile, i) => tile.setAttribute("aria-pressed", String(panels[i] === panel)));
    channel(detail, layer, panel);
    detail.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }
  fill(stage.pictures, detail, el("p", { className: "quiet" }, t("channels_of", { layer: layer.name })), el("div", { className: "tiles" }, tiles));
}

/** What one channel looks for, and what it answers to here. */
async function channel(place, layer, panel) {
  leave();
  const own = el("figure", {}, el("figcaption", {}, t("answers")), el("img", { src: panel.url, alt: t("channel", { n: panel.channel }) }));
  const here = { layer: layer.name, channel: panel.channel };
  const raised = { objective: `Channel('${layer.name}', ${panel.channel})`, preset: "quick" };
  const jobs = [
    named("show/deconvnet") && [t("projection"), "show/deconvnet", here, true],
    [t("optimised"), "follow/class-visualization", raised, false],
  ].filter(Boolean).map(([title, technique, settings, wants]) => {
    const status = el("div");
    const picture = el("a", { className: "blank small" });
    return { node: el("figure", {}, el("figcaption", {}, title), picture, status), status, picture, technique, settings, wants, title };
  });
  fill(place, el("h2", {}, t("channel", { n: panel.channel })), el("div", { className: "cards" }, own, jobs.map((job) => job.node), await unit(layer.name, panel.channel)));
  for (const job of jobs) {
    const draw = (url) => {
      job.picture.className = "";
      fill(job.picture, el("img", { src: url, alt: job.title }));
    };
    const spec = { technique: job.technique, settings: job.settings, model: state.model, pictures: job.wants ? [state.picture.id] : [], trust: false };
    const run = new Run(spec, { small: true, onframe: (picture) => draw(picture.src) });
    const say = (words) => fill(job.picture, words);
    finish(run, job.status, say).then((result) => {
      if (!result) return;
      job.picture.href = `/r/${result.id}`;
      const box = result.report.images?.[0]?.[0]?.box;
      if (box) return cut(job.picture, result.panels, box, job.title);
      draw((result.panels.find((p) => p.name !== "original") ?? result.panels[0]).url);
    });
  }
}

/** What a unit answers to, cut out: its pattern over its patch. box: top, left, bottom, right. */
async function cut(place, panels, [top, left, bottom, right], title) {
  const wanted = [panels.find((p) => !["original", "sheet"].includes(p.name)), panels.find((p) => p.name === "original")].filter(Boolean);
  const pictures = await Promise.all(wanted.map((panel) => image(panel.url)));
  place.className = "cuts";
  fill(place, pictures.map((picture) => {
    const canvas = el("canvas", { width: right - left, height: bottom - top, role: "img", "aria-label": title });
    canvas.getContext("2d").drawImage(picture, -left, -top);
    return canvas;
  }));
}
