// Find: surveys of whole data sets, and the units that they, or a report, have pages of.

import { get } from "./api.js";
import { el, fill } from "./dom.js";
import { state } from "./state.js";
import { t, told } from "./words.js";

const START = "pixelgrad studio --data PICTURES";
const REPORT = "pixelgrad find patches PICTURES --out RUN\npixelgrad report RUN\npixelgrad studio --units RUN";
let known = {}; // by model: its layers with pages of units, until another survey is done

/** The surveys, in the words that techniques have; and the data sets that they may go over. */
export async function surveys() {
  const found = await get("/api/surveys");
  state.sets = found.data;
  state.set = found.data[0]?.name ?? null;
  return found.surveys.map((one) => ({ ...one, survey: true }));
}

/** The choice of a data set, for a survey's form. */
export function setField() {
  if (!state.sets.length) return el("div");
  const pictures = (set) => t("pictures", { n: set.pictures.toLocaleString() });
  const input = el("select", { id: "find-set", onchange: () => (state.set = input.value) },
    state.sets.map((set) => el("option", { value: set.name, selected: set.name === state.set }, `${set.name} · ${pictures(set)}`)));
  return el("div", { className: "field" }, el("label", { htmlFor: "find-set" }, t("data_set")), input);
}

/** Under a survey that was not run yet: the units that are known, or how to come to some. */
export function before() {
  const place = el("div");
  layersOf(state.model).then((list) => fill(place, listed(list), ways(list.length > 0)));
  return place;
}

/** What a survey found, in sentences. */
export function sentences(result) {
  if (result.data) known = {};
  return result.found ? el("ul", { className: "found" }, result.found.map((sentence) => el("li", {}, told(sentence)))) : null;
}

/** The units that a survey has pages of. */
export function units(result) {
  const place = el("div");
  if (result.data) get(`/api/units?result=${result.id}`).then((list) => fill(place, listed(list)), () => {});
  return place;
}

/** A unit's patches, with a link to its page; null where there are none. */
export async function unit(layer, index) {
  const entry = (await layersOf(state.model)).find((one) => one.layer === layer);
  const found = entry?.channels.find((one) => one.index === index);
  if (!found) return null;
  const link = (...children) => el("a", { href: found.url, target: "_blank", rel: "noopener" }, children);
  return el("figure", {}, el("figcaption", {}, t("unit")), link(el("img", { src: found.patches, alt: t("unit") })), link(t("unit_open")));
}

/** The names of the layers whose units have patches. */
export async function patched(model) {
  return new Set((await layersOf(model)).filter((one) => one.channels.length).map((one) => one.layer));
}

function layersOf(model) {
  known[model] ??= get(`/api/units?model=${encodeURIComponent(model)}`).catch(() => []);
  return known[model];
}

function listed(list) {
  const layers = list.filter((one) => one.channels.length);
  if (!layers.length) return [];
  const page = (url, text) => el("a", { href: url, target: "_blank", rel: "noopener" }, text);
  return [el("h2", { className: "units-head" }, t("find_units")), ...layers.map(({ layer, url, channels }) => el("details", { className: "units" },
    el("summary", {}, layer, " ", el("span", { className: "quiet" }, t("channels", { n: channels.length }))),
    el("p", {}, page(url, t("layer_open"))), el("p", { className: "numbers" }, channels.map((one) => page(one.url, one.index)))))];
}

/** How to come to what is not there. */
function ways(some) {
  return [
    state.sets.length ? null : [el("p", {}, t("find_start")), el("pre", {}, START)],
    some || state.sets.length ? null : [el("p", {}, t("find_report")), el("pre", {}, REPORT)],
  ].flat().filter(Boolean);
}
