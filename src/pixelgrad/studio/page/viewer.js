// Panels side by side, or each over the original with a slider or an opacity; zoomed and moved in step.

import { choice, el } from "./dom.js";
import { Panel } from "./panel.js";
import { View } from "./view.js";
import { t } from "./words.js";

const remembered = { mode: "side", opacity: 60, divide: 50 };

/** Shows the panels of a result. `onclick(about)`: a press on a panel. */
export class Viewer {
  constructor(panels, onclick = null) {
    this.panels = panels.map((about) => new Panel(about));
    this.original = this.panels.find((p) => p.about.name === "original") ?? null;
    this.view = new View(() => this.place(), (u, v) => this.panels.forEach((p) => p.say(u, v, this.view)));
    for (const panel of this.panels) {
      const press = onclick && (() => onclick(panel.about));
      this.view.attach(panel.port, press);
      panel.node.classList.toggle("pressable", Boolean(press));
    }
    this.grid = el("div", { className: `panels n${Math.min(this.panels.length, 13)}` }, this.panels.map((p) => p.node));
    this.bar = el("div", { className: "bar" });
    this.divider = el("div", { className: "divider" });
    this.node = el("div", { className: "viewer" }, this.bar, this.grid);
    this.tools();
    this.place();
  }

  /** Load the pictures; resolves when all are drawn. */
  async load() {
    await Promise.all(this.panels.map((panel) => panel.load()));
    this.tools();
    this.mode(remembered.mode);
  }

  named(name) {
    return this.panels.find((panel) => panel.about.name === name);
  }

  /** Those that can lie over the original. */
  others() {
    return this.original ? this.panels.filter((p) => p !== this.original && p.like(this.original)) : [];
  }

  tools() {
    const slide = (name, words, more, onmove) => el("label", { className: "slide", hidden: true },
      el("span", {}, words), el("input", { type: "range", min: 0, max: 100, value: remembered[name], ...more,
        oninput: (event) => { remembered[name] = Number(event.target.value); onmove(); } }));
    this.opacity = slide("opacity", t("opacity"), {}, () => this.compose());
    this.divide = slide("divide", t("divide"), {}, () => this.compose());
    const maps = this.panels.filter((p) => p.mapped && p.values);
    this.range = maps.length ? el("label", { className: "slide" }, el("span", {}, t("range")),
      el("input", { type: "range", min: -3, max: 1, step: 0.05, value: 0,
        oninput: (event) => maps.forEach((p) => p.stretch(2 ** Number(event.target.value))) })) : null;
    const modes = ["side", "slider", "overlay"].map((key) => [key, t(key)]);
    const zoom = el("div", { className: "segments", role: "group" },
      el("button", { type: "button", "aria-label": t("zoom_out"), title: t("zoom_out"), onclick: () => this.view.zoom(1 / 1.5) }, "−"),
      this.percent = el("button", { type: "button", "aria-label": t("zoom_reset"), title: t("zoom_hint"), onclick: () => this.view.reset() }, "100%"),
      el("button", { type: "button", "aria-label": t("zoom_in"), title: t("zoom_in"), onclick: () => this.view.zoom(1.5) }, "+"));
    this.bar.replaceChildren(...[this.others().length ? choice(t("mode"), modes, remembered.mode, (key) => this.mode(key)) : null,
      this.opacity, this.divide, this.range, zoom].filter(Boolean));
    this.place();
  }

  /** "side": alone; "slider": original to the left of a line, result to the right; "overlay": result over a grey original. */
  mode(key) {
    const others = this.others();
    if (!others.length) return;
    remembered.mode = key;
    const laid = key !== "side";
    this.original.node.hidden = laid;
    this.opacity.hidden = key !== "overlay";
    this.divide.hidden = key !== "slider";
    this.grid.className = `panels n${Math.min(laid ? others.length : this.panels.length, 13)}`;
    for (const panel of others) {
      panel.lay(laid ? this.original.top : null);
      panel.base.classList.toggle("grey", key === "overlay");
      panel.port.classList.toggle("divided", key === "slider");
    }
    this.compose();
  }

  compose() {
    const { mode, opacity, divide } = remembered;
    for (const panel of this.others()) {
      panel.over.style.opacity = mode === "overlay" ? opacity / 100 : 1;
      panel.over.style.clipPath = mode === "slider" ? `inset(0 0 0 ${divide}%)` : "none";
      panel.port.style.setProperty("--divide", `${divide}%`);
    }
  }

  place() {
    for (const panel of this.panels) {
      this.view.place(panel.top);
      this.view.place(panel.base);
      panel.port.classList.toggle("zoomed", this.view.scale > 1);
    }
    if (this.percent) this.percent.textContent = `${Math.round(100 * this.view.scale)}%`;
  }
}
