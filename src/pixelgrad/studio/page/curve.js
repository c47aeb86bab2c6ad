// What is followed while a gradient is, step by step, as a curve: the class's confidence and logit, or the score.

import { el, fill, figures, percent } from "./dom.js";
import { t } from "./words.js";

/** A canvas with the curve of points [[step, confidence, logit], …] of a class, or [[step, score], …]. */
export class Curve {
  constructor() {
    this.points = [];
    this.total = 0;
    this.marker = null;
    this.canvas = el("canvas", { role: "img", className: "curve" });
    this.title = el("figcaption", { className: "quiet" });
    this.node = el("figure", { className: "confidence", hidden: true }, this.title, this.canvas);
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    document.addEventListener("themechange", () => this.draw());
  }

  /** More points; `label`: the class, or null where a score is followed. */
  add(points, total, label) {
    this.points.push(...points);
    this.total = Math.max(total, this.points.at(-1)?.[0] ?? 0);
    this.node.hidden = !this.points.length;
    if (points.length && this.label !== label) {
      this.label = label;
      const of = label ? [["first", t("curve_title", { label })], ["second", t("curve_logit")]] : [["first", t("curve_score")]];
      fill(this.title, of.map(([name, words]) => el("span", { className: `key ${name}` }, words)));
    }
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
    const ofClass = this.points[0].length > 2;
    const words = ofClass ? percent : figures;
    this.canvas.setAttribute("aria-label", t("curve", { first: words(this.points[0][1]), last: words(this.points.at(-1)[1]) }));
    Object.assign(this.canvas, { width: width * ratio, height: height * ratio });
    const style = getComputedStyle(this.canvas);
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.font = `11px ${style.fontFamily}`;
    pen.lineWidth = 1;
    const scales = ofClass ? [{ ticks: [0, 0.5, 1], words: (p) => `${100 * p}%` }, scale(this.points, 2)] : [scale(this.points, 1)];
    const room = (one) => 14 + Math.max(...one.ticks.map((tick) => pen.measureText(one.words(tick)).width));
    const [left, right, top, bottom] = [room(scales[0]), width - (ofClass ? room(scales[1]) : 12), 8, height - 20];
    const x = (step) => left + ((right - left) * step) / (this.total || 1);
    const level = ({ ticks }, value) => bottom - ((bottom - top) * (value - ticks[0])) / (ticks.at(-1) - ticks[0]);
    pen.fillStyle = style.color;
    pen.strokeStyle = style.borderTopColor;
    for (const tick of scales[0].ticks) {
      const y = Math.round(level(scales[0], tick)) + 0.5;
      line(pen, [[left, y], [right, y]]);
      write(pen, scales[0].words(tick), left - 8, y + 4, "right");
    }
    for (const tick of scales[1]?.ticks ?? []) write(pen, scales[1].words(tick), right + 8, level(scales[1], tick) + 4, "left");
    write(pen, "0", left, height - 4, "left");
    write(pen, String(this.total), right, height - 4, "right");
    if (this.marker !== null) line(pen, [[x(this.marker), top], [x(this.marker), bottom]]);
    pen.lineJoin = "round";
    const now = this.nearest();
    scales.map((one, k) => [one, k + 1]).reverse().forEach(([one, k]) => { // the first lies above
      pen.strokeStyle = pen.fillStyle = k === 1 ? style.accentColor : style.caretColor;
      pen.lineWidth = k === 1 ? 2 : 1.25;
      line(pen, this.points.map((point) => [x(point[0]), level(one, point[k])]));
      pen.beginPath();
      pen.arc(x(now[0]), level(one, now[k]), k === 1 ? 3.5 : 2.5, 0, 7);
      pen.fill();
    });
  }

  nearest() {
    if (this.marker === null) return this.points.at(-1);
    return this.points.reduce((a, b) => (Math.abs(b[0] - this.marker) < Math.abs(a[0] - this.marker) ? b : a));
  }
}

function line(pen, places) {
  pen.beginPath();
  for (const place of places) pen.lineTo(...place);
  pen.stroke();
}

function write(pen, words, x, y, align) {
  pen.textAlign = align;
  pen.fillText(words, x, y);
}

/** Round numbers that have the values number k of the points between them, and their words. */
function scale(points, k) {
  let [lo, hi] = [Infinity, -Infinity];
  for (const point of points) [lo, hi] = [Math.min(lo, point[k]), Math.max(hi, point[k])];
  const power = 10 ** Math.floor(Math.log10((hi - lo || Math.abs(hi) || 1) / 4));
  const spans = [1, 2, 2.5, 5, 10, 20].map((one) => one * power).map((unit) => ({ unit, start: Math.floor(lo / unit), end: Math.ceil(hi / unit) }));
  const { unit, start, end } = spans.find((one) => one.end - one.start <= 4);
  const count = Math.max(1, end - start);
  const ticks = Array.from({ length: count + 1 }, (_, i) => Number(((start + i) * unit).toPrecision(12)));
  return { ticks, words: figures };
}
