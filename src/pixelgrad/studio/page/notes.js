// The words under a result: what is seen, when not to trust it, the trust card, and how to make it again.

import { choice, el, figures, fill } from "./dom.js";
import { state } from "./state.js";
import { known, t, told } from "./words.js";

const KINDS = { png: "PNG", gif: "GIF", mp4: "MP4", csv: "CSV", json: "JSON" };

/** Links that save a result's files. */
export function saves(result) {
  const stem = result.files[0]?.name.replace(/\.\w+$/, "");
  const films = ["gif", state.about.mp4 ? "mp4" : null].filter((kind) => kind && result.frames > 1)
    .map((kind) => ({ name: `${stem}.${kind}`, url: `/api/results/${result.id}/film.${kind}` }));
  return [...result.files, ...films].map(({ name, url }) => {
    const kind = name.split(".").pop();
    const more = name.slice(0, -kind.length - 1).split(`${stem}-`)[1]; // cat-compared.png beside cat.png
    return el("a", { href: url, download: name, className: "plain", title: name }, `${t("save")} ${KINDS[kind] ?? (kind === "safetensors" ? t("raw") : kind)}${more ? ` (${told(more)})` : ""}`);
  });
}

/** What is said under a technique or its result. */
export function notes({ verb, exact }, result) {
  const left = Object.entries(result?.report?.left_out ?? {});
  return [
    result?.trust?.length ? trust(result.trust) : null,
    result ? again(result) : null,
    known(`what_${verb}`) ? el("section", { className: "meaning" },
      el("div", {}, el("h2", {}, t("what")), el("p", {}, t(`what_${verb}`))),
      el("div", {}, el("h2", {}, t("doubt")), el("p", {}, t(`doubt_${verb}`)))) : null,
    left.length ? el("ul", { className: "quiet small" }, left.map(([name, why]) => el("li", {}, `${name}, ${t("left_out", { why })}`))) : null,
    result && !result.compare ? facts(result.report) : null,
    exact ? el("details", {}, el("summary", {}, t("exactly")), el("pre", {}, exact)) : null,
  ];
}

function again(result) {
  const said = el("span", { className: "quiet", role: "status" });
  const copy = (name, text) => el("button", { type: "button", className: "plain", onclick: async () => {
    await put(text);
    said.textContent = t("copied");
    setTimeout(() => (said.textContent = ""), 2000);
  } }, t(name));
  return el("section", { className: "again" }, el("h2", {}, t("again")),
    el("pre", {}, result.command),
    el("div", { className: "buttons" }, copy("copy_command", result.command), copy("copy_python", result.python),
      copy("copy_link", `${location.origin}/r/${result.id}`), said));
}

/** To the clipboard; where the browser gives none (no https), by a selection. */
async function put(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = el("textarea", { value: text, className: "unseen" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/** The trust cards of a result, of which one is shown. */
function trust(cards) {
  const place = el("div");
  const show = (i) => fill(place, card(cards[i]));
  show(0);
  const which = cards.length > 1 ? choice(t("picture"), cards.map(({ picture }, i) => [i, `${i + 1}: ${picture}`]), 0, show) : null;
  return el("section", { className: "trust" }, el("h2", {}, t("trust")), which, place);
}

/** A trust card: each figure beside those of maps that know nothing, and the sentence. */
function card(card) {
  const heads = ["", t("this_map"), t("of_edges"), t("of_random"), ""];
  return el("div", {}, el("p", {}, told(card.words)),
    el("table", {}, el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, card.figures.map((row) => el("tr", {}, el("th", { scope: "row" }, told(row.name)),
        el("td", {}, shown(row.value)), el("td", {}, shown(row.baseline)), el("td", {}, shown(row.random)), el("td", { className: "quiet" }, told(row.words ?? "")))))));
}

function facts(report) {
  const rows = Object.entries(report ?? {}).filter(([key]) => key !== "left_out" && key !== "images");
  const own = report?.images?.length === 1 && report.images[0] && !Array.isArray(report.images[0]) ? Object.entries(report.images[0]) : [];
  if (!rows.length && !own.length) return null;
  return el("details", {}, el("summary", {}, t("facts")), table([...own, ...rows]));
}

function table(rows) {
  return el("table", { className: "report" }, el("tbody", {}, rows.map(([key, value]) =>
    el("tr", {}, el("th", { scope: "row" }, name(key)), el("td", {}, shown(value))))));
}

function name(key) {
  const said = told(key);
  return said === key ? key.replaceAll("_", " ") : said;
}

function shown(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : figures(value);
  if (typeof value === "boolean") return t(value ? "yes" : "no");
  if (Array.isArray(value)) return value.map(shown).join(", ");
  return typeof value === "object" ? Object.entries(value).map(([k, v]) => `${name(k)} ${shown(v)}`).join("; ") : String(value);
}
