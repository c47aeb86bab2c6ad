// The right-hand part of the page: heading, progress, pictures, step slider, and the words under them.

import { image } from "./api.js";
import { Curve } from "./curve.js";
import { $, el, fill } from "./dom.js";
import { sentences, units } from "./find.js";
import { notes, saves } from "./notes.js";
import { state } from "./state.js";
import { t } from "./words.js";
import { Viewer } from "./viewer.js";

const part = (className, props = {}) => el("div", { className, ...props });

export const stage = {
  head: part("head"), status: part("status"), message: el("p", { className: "error", role: "alert", hidden: true }),
  pictures: part("pictures"), film: part("film"), seen: part("seen"), notes: part("notes"), viewer: null, curve: null,

  /** Begin anew for a technique, compare or layers: heading and what is to be known about it. */
  open({ title, summary, verb, exact }) {
    fill(this.head, el("div", {}, el("h1", {}, title), el("p", { className: "summary" }, summary)), (this.saves = el("div", { className: "saves" })));
    fill(this.status);
    fill(this.film);
    this.viewer = null; // what is still being loaded is not shown any more
    this.say("");
    this.about = { verb, exact };
    fill(this.notes, notes(this.about, null));
    fill($("stage"), this.head, this.message, this.status, fill(this.seen, this.pictures, this.film), this.notes);
    this.seen.classList.remove("lone");
  },

  /** A line for what went wrong (or, calmly, what was done); empty: nothing. */
  say(words, calm = false) {
    this.message.className = calm ? "quiet" : "error";
    this.message.hidden = !words;
    this.message.textContent = words;
  },

  /** Put a viewer in place; a lone panel leaves room beside it for the curve and the step slider. */
  place(viewer) {
    fill(this.pictures, viewer.node);
    this.pictures.classList.remove("old");
    this.seen.classList.toggle("lone", viewer.panels.length === 1 && this.film.childElementCount > 0);
  },

  /** Show panels once they are loaded; the former ones stay until then. False: others were asked for meanwhile. */
  async show(panels, onclick = null) {
    const viewer = new Viewer(panels, onclick);
    this.viewer = viewer;
    await viewer.load();
    if (this.viewer !== viewer) return false;
    this.place(viewer);
    return true;
  },

  /** In place of pictures: some words. */
  empty(words) {
    this.viewer = null;
    fill(this.pictures, el("p", { className: "blank" }, words));
    this.pictures.classList.remove("old");
  },

  /** Get ready for the frames of what follows a gradient: beside the original, if there is one. */
  live(original) {
    const panels = original ? [{ ...original, name: "original", title: "", kind: "image", lo: null, hi: null }] : [];
    this.curve = new Curve();
    fill(this.film, this.curve.node);
    let shown = false;
    return (picture) => {
      if (!shown) {
        shown = true;
        const size = { width: picture.naturalWidth, height: picture.naturalHeight };
        const viewer = new Viewer([...panels, { name: "result", title: "", kind: "image", url: picture.src, lo: null, hi: null, ...size }]);
        this.viewer = viewer;
        this.place(viewer);
        viewer.load();
      }
      this.viewer?.named("result")?.draw(picture);
    };
  },

  /** A finished result, with everything that can be done with it. False: something else was asked for meanwhile. */
  async result(result, onclick = null) {
    if (result.frames < 2 && !result.curve?.length) fill(this.film);
    if (!(await this.show(panelsOf(result), onclick))) return false;
    fill(this.saves, saves(result));
    fill(this.notes, notes(this.about, result));
    fill(this.status);
    if (result.cut) this.say(t("cut_short", { minutes: minutes() }), true);
    this.sheet(result);
    if (result.found) this.pictures.prepend(sentences(result)), this.pictures.append(units(result));
    const curve = new Curve();
    this.curve = curve;
    curve.add(result.curve ?? [], result.curve?.at(-1)?.[0] ?? 0, result.class ?? null);
    fill(this.film, result.frames > 1 ? this.slider(result, curve) : null, curve.node);
    curve.draw();
    return true;
  },

  /** The labelled sheet, where there is more on it than on the panels. */
  sheet(result) {
    const sheet = result.panels.find((panel) => panel.name === "sheet");
    if (!sheet || panelsOf(result).includes(sheet)) return;
    this.pictures.append(el("details", { className: "whole" }, el("summary", {}, t("sheet")), el("img", { src: sheet.url, alt: sheet.title || t("sheet"), loading: "lazy" })));
  },

  /** The step slider: the pictures on the way, the result at its end. */
  slider(result, curve) {
    const panel = this.viewer.named("result");
    if (!panel) return null;
    const last = result.frames; // frames 0 … last − 1, then the result itself
    const total = Math.max(curve.total, result.steps.at(-1) ?? 0);
    const step = (k) => result.steps[k] ?? total;
    const at = (k) => (result.steps.length ? t("step", { done: step(k), total }) : t("picture_of", { k: k + 1, n: last + 1 }));
    const words = el("output", {}, at(last));
    let wanted = last;
    const input = el("input", { type: "range", min: 0, max: last, value: last, "aria-label": t("step_slider"), oninput: () => go(Number(input.value)) });
    async function go(k) {
      wanted = k;
      input.value = k;
      words.textContent = at(k);
      input.setAttribute("aria-valuetext", words.textContent);
      curve.mark(k === last || !result.steps.length ? null : step(k));
      try {
        const picture = await image(k === last ? panel.about.url : `/api/results/${result.id}/frames/${k}.jpg`);
        if (wanted === k) panel.draw(picture);
      } catch {
        // that frame is gone; the picture stays
      }
    }
    let timer = 0;
    const play = el("button", { type: "button", className: "plain", "aria-label": t("play"), onclick: () => {
      if (timer) return void stop();
      let k = Number(input.value) >= last ? 0 : Number(input.value);
      play.textContent = "❚❚";
      timer = setInterval(() => (k > last || !input.isConnected ? stop() : go(k++)), 90);
    } }, "▶");
    const stop = () => { clearInterval(timer); timer = 0; play.textContent = "▶"; };
    return el("div", { className: "steps" }, play, input, words);
  },
};

/** After how many minutes a job ends where others wait. */
export const minutes = () => Math.round(state.about.limits.seconds / 60);

/** The panels of a result that are shown: the labelled sheet only where there is no other than the original. */
function panelsOf({ panels }) {
  const own = panels.filter((panel) => panel.name !== "sheet");
  return own.some((panel) => panel.name !== "original") ? own : panels.filter((panel) => panel.name === "sheet" || panels.length === 1);
}
