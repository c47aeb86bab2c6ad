// The confidence in the class while a gradient is followed, drawn as a curve.

import { el, percent } from "./dom.js";
import { t } from "./words.js";

/** A canvas with the curve of points [[step, confidence], …]. */
export class Curve {
  constructor() {
    this.points = [];
    this.total = 0;
    this.marker = null;
    this.canvas = el("canvas", { role: "img", className: "curve" });
    this.node = el("figure", { className: "confidence", hidden: true }, el("figcaption", { className: "quiet" }, t("curve_title")), this.canvas);
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    document.addEventListener("themechange", () => this.draw());
  }

  add(points, total) {
    this.points.push(...points.filter(([, p]) => p !== null));
    this.total = Math.max(total, this.points.at(-1)?.[0] ?? 0);
    this.node.hidden = !this.points.length;
    this.draw();
  }

  /** Mark a step. */
  mark(step) {
    this.marker = step;
    this.draw();
  }

  draw() {
    const ratio = devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    if (!width || !this.points.length) return;
    const first = percent(this.points[0][1]);
    const last = percent(this.points.at(-1)[1]);
    this.canvas.setAttribute("aria-label", t("curve", { first, last }));
    Object.assign(this.canvas, { width: width * ratio, height: height * ratio });
    const style = getComputedStyle(this.canvas);
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const [left, right, top, bottom] = [44, width - 12, 8, height - 20];
    const x = (step) => left + ((right - left) * step) / (this.total || 1);
    const y = (p) => bottom - (bottom - top) * p;
    pen.font = `11px ${style.fontFamily}`;
    pen.fillStyle = style.getPropertyValue("--faint-now") || style.color;
    pen.strokeStyle = style.borderTopColor;
    pen.lineWidth = 1;
    for (const p of [0, 0.5, 1]) {
      pen.beginPath();
      pen.moveTo(left, Math.round(y(p)) + 0.5);
      pen.lineTo(right, Math.round(y(p)) + 0.5);
      pen.stroke();
      pen.textAlign = "right";
      pen.fillText(`${100 * p} %`, left - 8, y(p) + 4);
    }
    pen.textAlign = "left";
    pen.fillText("0", left, height - 4);
    pen.textAlign = "right";
    pen.fillText(String(this.total), right, height - 4);
    if (this.marker !== null) {
      pen.beginPath();
      pen.moveTo(x(this.marker), top);
      pen.lineTo(x(this.marker), bottom);
      pen.stroke();
    }
    pen.strokeStyle = pen.fillStyle = style.accentColor === "auto" ? "#b8352a" : style.accentColor;
    pen.lineWidth = 2;
    pen.lineJoin = "round";
    pen.beginPath();
    for (const [step, p] of this.points) pen.lineTo(x(step), y(p));
    pen.stroke();
    const [step, p] = this.nearest();
    pen.beginPath();
    pen.arc(x(step), y(p), 3.5, 0, 7);
    pen.fill();
  }

  nearest() {
    if (this.marker === null) return this.points.at(-1);
    return this.points.reduce((a, b) => (Math.abs(b[0] - this.marker) < Math.abs(a[0] - this.marker) ? b : a));
  }
}
