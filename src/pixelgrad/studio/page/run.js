// A job from the button to its end: its place in the queue, step, score, time left; pause and cancel.

import { image, post, remove, watch } from "./api.js";
import { el, figures, percent } from "./dom.js";
import { duration, t } from "./words.js";

export class Run {
  /** `onframe(picture, state)` for the latest picture on the way, `oncurve(points, total, label)` for new points. */
  constructor(spec, { onframe = () => {}, oncurve = () => {}, small = false } = {}) {
    Object.assign(this, { spec, onframe, oncurve, id: null, watched: null, asked: false, newest: null, busy: false });
    this.fill = el("i");
    this.bar = el("div", { className: "progress", role: "progressbar", "aria-label": t("running"), "aria-valuemin": 0 }, this.fill);
    this.words = el("p", { className: "facts" });
    this.spoken = el("span", { className: "unseen", "aria-live": "polite" });
    this.pause = el("button", { type: "button", className: "plain", hidden: true, onclick: () => this.toggle() }, t("pause"));
    this.stop = el("button", { type: "button", className: "plain", onclick: () => this.cancel() }, t("cancel"));
    this.node = el("div", { className: small ? "running small" : "running" }, this.bar,
      el("div", { className: "row" }, this.words, this.spoken, el("span", { className: "buttons" }, this.pause, this.stop)));
  }

  /** Ask for it and follow it. Resolves with its last state; rejects with the server's refusal. */
  async start() {
    this.show({ state: "queued", position: 0, done: 0, total: 0 });
    const { id } = await post("/api/jobs", this.spec);
    this.id = id;
    if (this.asked) return this.cancel(), { id, state: "cancelled" };
    this.watched = watch(id, (state) => this.take(state));
    const left = new Promise((resolve) => (this.leave = resolve));
    const last = await Promise.race([this.watched.end, left]);
    await this.drawn;
    return { ...last, wanted: this.asked };
  }

  take(state) {
    if (this.asked) return;
    if (state.frame) this.frame(state);
    if (state.curve?.length) this.oncurve(state.curve, state.total, state.class);
    this.show(state);
  }

  /** Draw the newest picture; those that come while one is being decoded replace each other. */
  frame(state) {
    this.newest = state;
    if (this.busy) return;
    this.busy = true;
    this.drawn = (async () => {
      while (this.newest) {
        const now = this.newest;
        this.newest = null;
        try {
          const picture = await image(now.frame.url);
          if (!this.asked) this.onframe(picture, now);
        } catch {
          // a damaged frame: the next one comes
        }
      }
      this.busy = false;
    })();
  }

  show(state) {
    this.state = state.state;
    const { done, total } = state;
    this.bar.classList.toggle("open-ended", !total || state.state === "queued");
    this.fill.style.width = `${total ? (100 * done) / total : 0}%`;
    if (total) {
      this.bar.setAttribute("aria-valuemax", total);
      this.bar.setAttribute("aria-valuenow", done);
    }
    this.pause.hidden = !total || state.state === "queued" || !(state.state === "paused" || this.pausable(state));
    this.pause.textContent = t(state.state === "paused" ? "resume" : "pause");
    const place = state.position ? t("queued", { n: state.position }) : t("queued_next");
    const facts = state.state === "queued" ? [place] : [
      state.state === "paused" ? t("paused") : null,
      total > 1 ? this.far(done, total) : t("running"),
      Number.isFinite(state.score) ? t("score", { score: figures(state.score) }) : null,
      Number.isFinite(state.confidence) ? t("confidence", { label: state.class, confidence: percent(state.confidence) }) : null,
      Number.isFinite(state.logit) ? t("logit", { logit: figures(state.logit) }) : null,
      state.state === "running" && state.left ? t("left", { time: duration(state.left) }) : null,
    ].filter(Boolean);
    this.words.replaceChildren(...facts.map((fact) => el("span", {}, fact)));
    const now = performance.now();
    if (state.state !== this.said || now - (this.saidAt ?? 0) > 5000) { // a screen reader is not to be flooded
      this.spoken.textContent = facts.join(", ");
      [this.said, this.saidAt] = [state.state, now];
    }
  }

  /** How far it is: a survey counts pictures, and draws when it has seen all. */
  far(done, total) {
    if (!this.spec.survey) return t("step", { done, total });
    return done < total ? t("pictures_done", { done: done.toLocaleString(), total: total.toLocaleString() }) : t("drawing");
  }

  /** What takes a while can be paused. */
  pausable(state) {
    return this.pause.hidden ? (state.left ?? 0) > 2 : true;
  }

  async toggle() {
    const action = this.state === "paused" ? "resume" : "pause";
    try {
      await post(`/api/jobs/${this.id}/${action}`);
    } catch {
      // it has ended in the meantime, or the connection is lost, which the page says
    }
  }

  /** End it; what comes from it afterwards is ignored. */
  cancel() {
    this.asked = true;
    this.watched?.stop();
    if (this.id) remove(`/api/jobs/${this.id}`).catch(() => {});
    this.leave?.({ id: this.id, state: "cancelled" });
  }
}
