// One panel: a picture or a map with its title, its colour scale, and the value under the pointer.

import { image, values } from "./api.js";
import { colour, ramp } from "./colours.js";
import { el, figures } from "./dom.js";
import { named } from "./state.js";
import { known, t, told } from "./words.js";

export class Panel {
  /** about: {name, title, kind, url, values, width, height, lo, hi} as a result has it. */
  constructor(about) {
    this.about = about;
    this.values = null;
    this.lo = about.lo;
    this.hi = about.hi;
    this.mapped = about.kind !== "image" && about.lo !== null && about.hi !== null;
    const size = { width: about.width || 1, height: about.height || 1 };
    this.top = el("canvas", { ...size, className: "layer" });
    this.base = el("canvas", { ...size, className: "layer", hidden: true });
    this.over = el("div", { className: "over" }, this.top);
    this.dot = el("span", { className: "dot", hidden: true });
    this.port = el("div", { className: "port", tabIndex: 0, role: "img", "aria-label": this.title() }, this.base, this.over, this.dot);
    this.shape();
    this.value = el("output", { className: "value" });
    this.scale = this.mapped ? this.legend() : null;
    const words = el("figcaption", {}, el("span", { className: "title" }, this.title()), this.value);
    this.node = el("figure", { className: `panel ${about.name}` }, words, this.port, this.scale);
  }

  title() {
    const { name, title } = this.about;
    if (name === "original") return t("panel_original");
    if (name === "difference") return t("panel_difference");
    if (named(title)) return told(named(title).title);
    return (title && title !== name ? told(title) : "") || (known(`panel_${name}`) ? t(`panel_${name}`) : name);
  }

  shape() {
    const { width, height } = this.top;
    this.port.style.aspectRatio = `${width} / ${height}`;
    this.port.style.maxWidth = `min(100%, ${(68 * width) / height}vh)`;
  }

  legend() {
    this.bar = el("canvas", { className: "ramp", "aria-hidden": "true" });
    ramp(this.bar, this.about.kind);
    this.mark = el("i", { className: "mark", hidden: true });
    this.ends = el("span", { className: "ends" });
    this.label();
    return el("div", { className: "scale" }, el("div", { className: "strip" }, this.bar, this.mark), this.ends);
  }

  label() {
    const signed = this.about.kind === "signed";
    const ends = this.hi === 0 ? ["0"] : signed ? [`≤ ${figures(this.lo)}`, "0", `≥ ${figures(this.hi)}`] : [figures(this.lo), `≥ ${figures(this.hi)}`];
    this.ends.replaceChildren(...ends.map((words) => el("span", {}, words)));
  }

  async load() {
    const [picture, floats] = await Promise.all([
      image(this.about.url),
      this.about.values ? values(this.about.values).catch(() => null) : null,
    ]);
    this.draw(picture);
    if (floats && floats.length === this.about.width * this.about.height) {
      this.values = floats;
      if (this.mapped) this.stretch(1);
    }
  }

  /** Draw a picture in place of what is shown. */
  draw(picture) {
    const [width, height] = [picture.naturalWidth || picture.width, picture.naturalHeight || picture.height];
    if (this.top.width !== width || this.top.height !== height) {
      Object.assign(this.top, { width, height });
      this.shape();
    }
    this.top.getContext("2d", { willReadFrequently: true }).drawImage(picture, 0, 0);
  }

  /** Colour the map up to a share of its highest colour's value. */
  stretch(share) {
    if (!this.mapped || !this.values) return;
    this.hi = this.about.hi * share;
    this.lo = this.about.kind === "signed" ? this.about.lo * share : this.about.lo;
    Object.assign(this.top, { width: this.about.width, height: this.about.height });
    colour(this.top, this.values, this.lo, this.hi, this.about.kind);
    this.label();
  }

  /** Lay the panel over the original (a canvas), or alone (null). */
  lay(original) {
    this.base.hidden = original === null;
    if (original === null) return;
    Object.assign(this.base, { width: original.width, height: original.height });
    this.base.getContext("2d").drawImage(original, 0, 0);
  }

  /** Whether it is of the same shape as another. */
  like(other) {
    return Math.abs(this.top.width / this.top.height - other.top.width / other.top.height) < 0.02;
  }

  /** Say what is at (u, v) in [0, 1] of the picture; null: nothing. */
  say(u, v, view) {
    const inside = u !== null && u >= 0 && v >= 0 && u < 1 && v < 1;
    this.dot.hidden = !inside;
    if (this.mark) this.mark.hidden = true;
    this.value.textContent = "";
    if (!inside) return;
    this.dot.style.left = `${100 * (view.x + u * view.scale)}%`;
    this.dot.style.top = `${100 * (view.y + v * view.scale)}%`;
    const [column, row] = [Math.floor(u * this.top.width), Math.floor(v * this.top.height)];
    if (this.values) {
      const value = this.values[row * this.about.width + column];
      this.value.textContent = figures(value);
      this.value.title = t("at", { row, column });
      if (this.mark && this.hi > this.lo) {
        this.mark.hidden = false;
        this.mark.style.left = `${100 * Math.max(0, Math.min(1, (value - this.lo) / (this.hi - this.lo)))}%`;
      }
    } else {
      const [r, g, b] = this.top.getContext("2d", { willReadFrequently: true }).getImageData(column, row, 1, 1).data;
      this.value.textContent = `${row}, ${column}: ${r} ${g} ${b}`;
    }
  }
}
